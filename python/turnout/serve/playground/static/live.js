// The last decisions of this server and the strong share over time.

import { chart, html, svg } from "./dom.js";
import { percent, rate } from "./numbers.js";
import { amount } from "./pool.js";

const KEPT = 300;
const ROWS = 8;
/** Decisions over which the share is taken. */
const WINDOW = 25;

export class Live {
  constructor(container) {
    this.decisions = [];
    this.count = 0;
    this.words = html("p", { class: "hint" });
    this.plot = html("div", { class: "chart" });
    this.rows = html("tbody");
    const heads = [["time"], ["router"], ["model"], ["win rate or P", "number"], ["threshold or cost", "number wide"], ["µs", "number wide"]];
    this.table = html("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Last decisions" }, html("table", {}, html("caption", { class: "unseen" }, "Last decisions, the newest first"), html("thead", {}, html("tr", {}, heads.map(([head, kind]) => html("th", { scope: "col", class: kind }, head)))), this.rows));
    container.replaceChildren(this.words, this.plot, this.table);
    this.redraw = chart(this.plot, (width) => this.#share(width));
    this.#tell();
  }

  /** Takes an event of the server; the first one after connecting replaces what was there. */
  take({ count, decisions }, isFirst) {
    this.count = count;
    const known = new Map((isFirst ? [] : this.decisions).map((one) => [one.number, one]));
    for (const one of decisions) known.set(one.number, one);
    this.decisions = [...known.values()].slice(-KEPT);
    this.#tell();
  }

  #tell() {
    this.pairs = this.decisions.filter((one) => one.is_strong !== null);
    const strong = this.pairs.filter((one) => one.is_strong).length;
    const shares = this.pairs.length ? `${percent(strong / this.pairs.length)} of the last ${this.pairs.length} to the strong model` : byModel(this.decisions);
    this.words.textContent = this.decisions.length
      ? `${this.count.toLocaleString("en")} decisions since the start; ${shares}.`
      : "No request has been routed yet. Chat, or send one to /v1/chat/completions.";
    this.table.hidden = !this.decisions.length;
    this.plot.hidden = !this.pairs.length;
    this.rows.replaceChildren(...this.decisions.slice(-ROWS).reverse().map((one) => row(one)));
    this.redraw();
  }

  #share(width) {
    const height = 120;
    const frame = { left: 48, right: width - 10, top: 10, bottom: height - 20 };
    const shares = running(this.pairs);
    const [from, to] = [this.pairs[0]?.time ?? 0, this.pairs.at(-1)?.time ?? 1];
    const x = (time) => frame.left + ((time - from) / Math.max(to - from, 1e-3)) * (frame.right - frame.left);
    const y = (share) => frame.bottom - share * (frame.bottom - frame.top);
    const points = this.pairs.map((one, place) => `${x(one.time).toFixed(1)},${y(shares[place]).toFixed(1)}`);
    const label = points.length ? `Strong share over the last ${WINDOW} decisions: now ${percent(shares.at(-1))}` : "No decisions yet";
    return svg(
      "svg",
      { width, height, role: "img", "aria-label": label },
      [0, 0.5, 1].map((tick) => [
        svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(tick), y2: y(tick) }),
        svg("text", { class: "tick", x: frame.left - 6, y: y(tick) + 4, "text-anchor": "end" }, percent(tick)),
      ]),
      this.pairs.map((one) => svg("line", { class: one.is_strong ? "strong mark" : "weak mark", x1: x(one.time), x2: x(one.time), y1: one.is_strong ? y(1) - 5 : y(0), y2: one.is_strong ? y(1) : y(0) + 5 })),
      points.length > 1 ? svg("path", { class: "curve", d: `M${points.join("L")}` }) : null,
      points.length ? svg("circle", { class: "dot", cx: points.at(-1).split(",")[0], cy: points.at(-1).split(",")[1], r: 4 }) : null,
      points.length ? [
        svg("text", { class: "tick", x: frame.left, y: height - 3 }, clock(from)),
        svg("text", { class: "tick", x: frame.right, y: height - 3, "text-anchor": "end" }, clock(to)),
      ] : null,
    );
  }
}

/** The models that a pool chose most, with their shares. */
function byModel(decisions) {
  const counts = new Map();
  for (const one of decisions) counts.set(one.model, (counts.get(one.model) ?? 0) + 1);
  const first = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
  return first.map(([model, count]) => `${percent(count / decisions.length)} to ${model}`).join(", ");
}

/** A decision, with the model that answered as soon as that is known, which is another one after a fallback. */
function row(one) {
  const isOther = one.served !== null && one.served !== one.model;
  const isPool = one.is_strong === null;
  const side = isPool ? "" : one.is_strong !== isOther ? "strong" : "weak";
  return html(
    "tr",
    {},
    html("td", { class: "when" }, clock(one.time)),
    html("td", {}, one.router),
    html("td", {}, html("span", { class: "verdict", "data-side": side }, one.served ?? one.model), isOther ? html("span", { class: "hint" }, ` for ${one.model} (${one.fallback})`) : null),
    html("td", { class: "number" }, rate(isPool ? one.success : one.win_rate)),
    html("td", { class: "number wide" }, isPool ? (one.expected_cost === null ? "–" : amount(one.expected_cost)) : rate(one.threshold)),
    html("td", { class: "number wide" }, Math.round(one.decision_us)),
  );
}

/** For each decision, the strong share of it and those before it, `WINDOW` at most. */
function running(decisions) {
  return decisions.map((_, place) => {
    const last = decisions.slice(Math.max(place + 1 - WINDOW, 0), place + 1);
    return last.filter((one) => one.is_strong).length / last.length;
  });
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
