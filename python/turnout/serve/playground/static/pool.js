// All models of a pool, ranked for the prompt that is typed, and the dial between cost and quality.

import { html, svg } from "./dom.js";
import { percent, rate } from "./numbers.js";

const BAR = 96;
/** Costs of a bad answer that the slider reaches, as powers of ten. */
const [LOWEST, HIGHEST] = [-5, 1];

const OBJECTIVES = {
  target: {
    label: "Chance of success that the model must reach; the cheapest one that does answers",
    range: [0, 1, 0.01],
    value: (place) => place,
    place: (value) => value,
    text: (value) => percent(value),
    name: "target",
    initial: 0.8,
  },
  error_cost: {
    label: "What a bad answer costs you; the least expected cost in all answers",
    range: [LOWEST, HIGHEST, 0.05],
    value: (place) => 10 ** place,
    place: (value) => Math.log10(Math.min(Math.max(value, 10 ** LOWEST), 10 ** HIGHEST)),
    text: (value, currency) => `${amount(value)} ${currency}`,
    name: "error-cost",
    initial: 0.05,
  },
};

export class Pool {
  /** @param {() => void} changed  called when the objective, the value or the router changes */
  constructor(container, pools, changed) {
    this.pools = pools;
    this.pool = pools[0];
    this.changed = changed;
    this.router = html("select", { id: "pool-router", onchange: () => this.#choose(Number(this.router.value)) }, pools.map((pool, place) => html("option", { value: place }, pool.name)));
    const routers = html("p", { class: "row" }, html("label", { for: "pool-router" }, "Chances of success by router"), this.router);
    routers.hidden = pools.length < 2;
    const radio = (name, text) => html("label", { class: "row" }, html("input", { type: "radio", name: "objective", value: name, onchange: () => this.#aim(name, OBJECTIVES[name].initial) }), text);
    this.radios = { target: radio("target", "Reach a chance of success"), error_cost: radio("error_cost", "Weigh cost against failure") };
    this.output = html("output", { for: "pool-dial" });
    this.input = html("input", { id: "pool-dial", type: "range", oninput: () => this.#moved() });
    this.label = html("label", { for: "pool-dial" });
    this.model = html("code", { id: "pool-model-name" });
    this.words = html("p", { class: "hint" });
    this.verdict = html("p", { class: "row", id: "pool-verdict" });
    this.rows = html("tbody");
    const heads = [["model"], ["P(success), 90 % interval"], ["expected cost", "number"], ["price in / out", "number wide"], ["latency", "number wide"]];
    const table = html("table", { id: "pool-models" }, html("caption", { class: "unseen" }, "Models of the pool, the chosen one first"), html("thead", {}, html("tr", {}, heads.map(([head, kind]) => html("th", { scope: "col", class: kind }, head)))), this.rows);
    container.replaceChildren(
      routers,
      html("div", { role: "radiogroup", "aria-label": "Objective", class: "row" }, Object.values(this.radios)),
      html("div", { class: "slider" }, this.label, this.output, this.input),
      html("p", { class: "row" }, html("span", {}, "Ask for model"), this.model),
      this.verdict,
      html("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Models of the pool" }, table),
      this.words,
    );
    this.#choose(0);
  }

  /** The body of a request for ranks. */
  question(prompt) {
    return { router: this.pool.name, [this.objective]: this.value, rank: true, prompt };
  }

  /** One sentence for those who do not see the table. */
  get said() {
    return this.decision ? `Pool: ${this.decision.model}, chance of success ${rate(this.decision.success)}.` : "";
  }

  /** Shows a decision with its ranks; `null` without a prompt. */
  show(decision) {
    this.decision = decision;
    const ranked = decision?.ranked ?? this.pool.models.map((one) => ({ model: one.name, feasible: true }));
    this.verdict.replaceChildren(...(decision ? [html("span", { class: "verdict", "data-side": "strong" }, decision.model), html("span", { class: "hint" }, decision.reason)] : []));
    this.rows.replaceChildren(...ranked.map((one) => this.#row(one)));
    this.#tell(decision ? `Decided in ${Math.round(decision.decision_us)} µs. Costs are of the expected answer, in ${this.pool.currency}; prices of a million tokens.` : `Prices in ${this.pool.currency} for a million tokens. Type a prompt to rank the models.`);
  }

  /** Says why there is no decision. */
  fail(message) {
    this.show(null);
    this.#tell(message, true);
  }

  #choose(place) {
    this.pool = this.pools[place];
    const [[name, value]] = Object.entries(this.pool.objective);
    this.#aim(name in OBJECTIVES ? name : "target", name in OBJECTIVES ? value : OBJECTIVES.target.initial);
  }

  #aim(objective, value) {
    this.objective = objective;
    const { label, range, place } = OBJECTIVES[objective];
    this.radios[objective].querySelector("input").checked = true;
    this.label.textContent = label;
    [this.input.min, this.input.max, this.input.step] = range.map(String);
    this.input.value = String(place(value));
    this.#set(value);
  }

  #moved() {
    this.#set(Number(OBJECTIVES[this.objective].value(this.input.valueAsNumber).toPrecision(3)));
  }

  #set(value) {
    const { text, name } = OBJECTIVES[this.objective];
    this.value = value;
    this.output.textContent = text(value, this.pool.currency);
    this.input.setAttribute("aria-valuetext", this.output.textContent);
    this.model.textContent = `router-${this.pool.name}-${name}-${value}`;
    this.changed();
  }

  #tell(text, isError = false) {
    this.words.textContent = text;
    this.words.classList.toggle("error", isError);
  }

  #row(one) {
    const priced = this.pool.models.find((model) => model.name === one.model);
    const isKnown = one.success !== undefined;
    const chance = isKnown ? [bar(one), html("span", { class: "chance" }, rate(one.success)), html("span", { class: "hint" }, ` ${rate(one.success_low)} to ${rate(one.success_high)}`)] : "–";
    const isChosen = one.model === this.decision?.model;
    return html(
      "tr",
      { class: one.feasible || isChosen ? null : "excluded", "aria-current": isChosen ? "true" : null },
      html("th", { scope: "row" }, isChosen ? html("strong", {}, one.model) : one.model, one.feasible ? null : html("span", { class: "hint" }, ` ${one.reason}`)),
      html("td", {}, chance),
      html("td", { class: "number" }, isKnown && one.expected_cost !== null ? amount(one.expected_cost) : "–"),
      html("td", { class: "number wide" }, priced?.input_price == null || priced.output_price == null ? "–" : `${priced.input_price} / ${priced.output_price}`),
      html("td", { class: "number wide" }, one.latency_ms == null ? "–" : `${(one.latency_ms / 1000).toFixed(1)} s`),
    );
  }
}

/** The chance as a bar, with the ends of its interval. */
function bar({ success, success_low, success_high }) {
  return svg(
    "svg",
    { class: "bar", width: BAR, height: 14, "aria-hidden": "true" },
    svg("rect", { class: "track", width: BAR, height: 10, y: 2 }),
    svg("rect", { class: "weak", width: success * BAR, height: 10, y: 2 }),
    svg("line", { class: "here", x1: success_low * BAR, x2: Math.max(success_high * BAR, success_low * BAR + 1), y1: 7, y2: 7 }),
  );
}

/** Money to three places that count. */
export function amount(value) {
  if (value === 0) return "0";
  return value >= 0.001 ? String(Number(value.toPrecision(3))) : value.toFixed(Math.min(2 - Math.floor(Math.log10(value)), 12));
}
