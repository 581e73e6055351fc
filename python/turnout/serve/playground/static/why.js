// Words, tokens, models, battles and nanoseconds behind one win rate.

import { html } from "./dom.js";
import { rate } from "./numbers.js";

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;

/** Shows a hint in place of an explanation. */
export function hint(container, text, isError = false) {
  container.replaceChildren(html("p", { class: isError ? "hint error" : "hint" }, text));
}

/** Shows an explanation as the server gives it. Folds that a person opened stay open. */
export function show(container, router, found) {
  const open = new Set([...container.querySelectorAll("details[open]")].map((one) => one.dataset.name));
  const measured = found.words.filter((word) => word.effect !== null);
  const most = Math.max(...measured.map((word) => Math.abs(word.effect)), 1e-9);
  const fold = (name, title, ...content) => html("details", { "data-name": name, open: open.has(name) }, html("summary", {}, title), ...content);
  container.replaceChildren(
    measured.length ? html("p", { class: "hint" }, `What each word adds to ${router}'s win rate of ${rate(found.win_rate)}: the win rate with it minus the win rate without it.`) : "",
    html("p", { class: "words" }, found.words.map((word) => wordOf(word, most)), found.words_left_out ? html("span", { class: "hint" }, ` and ${found.words_left_out} more`) : null),
    measured.length ? html("dl", { class: "pulls" }, ...pulls(measured)) : "",
    found.neighbors.length ? fold("battles", `Nearest battles (${found.neighbors.length})`, battles(found.neighbors)) : "",
    fold("tokens", `Tokens (${found.token_count})`, html("ol", { class: "tokens" }, found.tokens.map((token) => html("li", {}, token))), found.token_count > found.tokens.length ? html("p", { class: "hint" }, `and ${found.token_count - found.tokens.length} more`) : null),
    fold("models", `Scores of models (${found.model_scores.length})`, html("p", { class: "hint" }, "What the router computes for each model and this prompt. The win rate comes from the strong model's score minus the weak model's; a score alone, or one of another prompt, means nothing."), pairs(["model", "score"], found.model_scores.map(([name, score]) => [name, score.toFixed(3)]))),
    fold("stages", "Stages and numbers", pairs(["stage", "nanoseconds"], found.stages.map(([name, ns]) => [name, ns.toLocaleString("en")])), html("p", { class: "hint" }, `Logit ${found.logit.toFixed(4)}, win rate before calibration ${rate(found.raw_win_rate)}, engine ${found.engine}, artifact ${found.artifact_hash.slice(0, 12)}.`)),
  );
}

function wordOf(word, most) {
  if (word.effect === null) return html("span", {}, word.text);
  const element = html("span", { class: "word", "data-side": word.effect >= 0 ? "strong" : "weak", title: signed(word.effect) }, word.text.trimEnd());
  element.style.setProperty("--pull", Math.abs(word.effect / most).toFixed(3));
  return html("span", {}, element, word.text.slice(word.text.trimEnd().length));
}

function pulls(measured) {
  const line = (name, words) => (words.length ? [html("dt", {}, name), html("dd", {}, words.map((word) => `${word.text.trim()} ${signed(word.effect)}`).join(", "))] : []);
  const ranked = [...measured].sort((a, b) => b.effect - a.effect);
  return [...line("Towards strong", ranked.filter((word) => word.effect > 0).slice(0, 4)), ...line("Towards weak", ranked.filter((word) => word.effect < 0).slice(-4).reverse())];
}

const pairs = (heads, rows) =>
  html("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": heads.join(" and ") }, html("table", {}, html("thead", {}, html("tr", {}, heads.map((head, place) => html("th", { scope: "col", class: place ? "number" : null }, head)))), html("tbody", {}, rows.map(([name, value]) => html("tr", {}, html("th", { scope: "row" }, name), html("td", { class: "number" }, value))))));

const battles = (neighbors) =>
  html("ol", { class: "battles" }, neighbors.map((one) => html("li", {}, html("p", {}, one.prompt), html("p", { class: "hint" }, `similarity ${one.similarity.toFixed(3)}; ${one.model_a} against ${one.model_b}: ${one.outcome}`))));
