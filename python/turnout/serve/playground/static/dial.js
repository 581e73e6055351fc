// The threshold of the chosen router, as a threshold and as a share, with what it would cost and how good it would be.

import { chart, html, svg } from "./dom.js";
import { interpolated, percent, rate, shareOf } from "./numbers.js";

/** Of the request that costs are told for. */
const INPUT_TOKENS = 1000;
const OUTPUT_TOKENS = 500;

export class Dial {
  /** @param {(threshold: number) => void} changed */
  constructor(container, pair, changed) {
    this.pair = pair;
    this.changed = changed;
    this.table = 0;
    this.share = slider("share", "Share of prompts to the strong model", 0, 100, 1, () => this.#moved(this.router.thresholds[this.share.input.valueAsNumber]));
    this.threshold = slider("threshold", "Threshold on the win rate", 0, 1, 0.001, () => this.#moved(this.threshold.input.valueAsNumber));
    this.model = html("code", { id: "model-name" });
    this.copied = html("span", { role: "status", class: "hint" });
    const copy = html("button", { type: "button", class: "quiet", onclick: () => this.#copy() }, "Copy");
    this.tiles = html("dl", { class: "tiles" });
    this.notes = html("div");
    this.curve = html("div", { class: "chart" });
    this.tables = html("select", { id: "table", onchange: () => this.#chosen() });
    this.tableRow = html("p", { class: "row" }, html("label", { for: "table" }, "Measured on"), this.tables);
    container.replaceChildren(
      this.share.row,
      this.threshold.row,
      html("p", { class: "row" }, html("span", {}, "Ask for model"), this.model, copy, this.copied),
      this.tiles,
      this.tableRow,
      this.curve,
      this.notes,
    );
    this.redraw = chart(this.curve, (width) => this.#curve(width));
  }

  /** Shows a router at a threshold. */
  show(router, threshold) {
    if (router !== this.router) {
      this.router = router;
      this.table = 0;
      this.tables.replaceChildren(...router.evaluation.map((one, place) => html("option", { value: place }, `${one.table}: ${one.strong} and ${one.weak}`)));
    }
    this.value = threshold;
    const hasShare = router.quantiles.length > 1;
    this.share.input.disabled = !hasShare;
    const share = hasShare ? shareOf(router.quantiles, threshold) : null;
    set(this.share, share === null ? 0 : Math.round(share * 100), share === null ? "unknown" : percent(share));
    set(this.threshold, threshold, rate(threshold));
    this.model.textContent = `router-${router.name}-${Number(threshold.toFixed(4))}`;
    this.copied.textContent = "";
    this.#facts(share);
    this.redraw();
  }

  #moved(threshold) {
    this.show(this.router, threshold);
    this.changed(threshold);
  }

  #chosen() {
    this.table = Number(this.tables.value);
    this.show(this.router, this.value);
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.model.textContent);
      this.copied.textContent = "Copied.";
    } catch {
      this.copied.textContent = "Copying is not allowed here: select the name.";
    }
  }

  #facts(share) {
    const tiles = [["Strong calls", share === null ? "unknown" : percent(share), "of prompts like those it was calibrated on"]];
    const notes = [];
    const [strong, weak] = [price(this.pair.strong), price(this.pair.weak)];
    if (share !== null && strong !== null && weak !== null) {
      const cost = share * strong + (1 - share) * weak;
      tiles.push(["Cost per 1,000", money(cost * 1000), strong > 0 ? `${percent(cost / strong)} of all strong, at ${INPUT_TOKENS} + ${OUTPUT_TOKENS} tokens a request` : ""]);
    } else if (strong === null || weak === null) {
      notes.push("No cost: the configuration names no price for both models (input_price and output_price under [models.NAME]).");
    }
    const evaluation = this.router.evaluation[this.table];
    if (evaluation && share !== null) {
      const quality = interpolated(evaluation.curve.shares, evaluation.curve.quality, share);
      const gap = evaluation.strong_quality - evaluation.weak_quality;
      tiles.push(["Expected quality", rate(quality), gap > 0 ? `${percent((quality - evaluation.weak_quality) / gap)} of the gap between the models` : "the strong model is no better there"]);
      notes.push(`Mean score of the routed answers to the ${evaluation.prompts.toLocaleString("en")} prompts of ${evaluation.table}, at that share. Other prompts and other models differ.`);
    } else if (!evaluation) {
      notes.push(`No expected quality: ${this.router.no_evaluation_because}.`);
    }
    if (share === null) notes.push("This router stores no calibration scores, so a threshold says nothing about a share.");
    this.tiles.replaceChildren(...tiles.map(([name, value, hint]) => html("div", {}, html("dt", {}, name), html("dd", {}, html("strong", {}, value), html("span", { class: "hint" }, hint)))));
    this.notes.replaceChildren(...notes.map((note) => html("p", { class: "hint" }, note)));
    this.tableRow.hidden = this.router.evaluation.length < 2;
    this.curve.hidden = !evaluation;
  }

  #curve(width) {
    const evaluation = this.router?.evaluation[this.table];
    if (!evaluation) return svg("svg", { width, height: 0 });
    const { shares, quality } = evaluation.curve;
    const height = 190;
    const frame = { left: 46, right: width - 24, top: 12, bottom: height - 34 };
    const values = [...quality, evaluation.weak_quality, evaluation.strong_quality];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const pad = (high - low) * 0.08 || 0.01;
    const x = (share) => frame.left + share * (frame.right - frame.left);
    const y = (value) => frame.bottom - ((value - low + pad) / (high - low + 2 * pad)) * (frame.bottom - frame.top);
    const line = (points) => points.map(([a, b], place) => `${place ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join("");
    const share = this.router.quantiles.length > 1 ? shareOf(this.router.quantiles, this.value) : null;
    const here = share === null ? null : interpolated(shares, quality, share);
    const label = share === null ? "Quality over the share of strong calls" : `Quality over the share of strong calls: ${rate(here)} at ${percent(share)}, ${rate(evaluation.weak_quality)} with none, ${rate(evaluation.strong_quality)} with all`;
    return svg(
      "svg",
      { width, height, role: "img", "aria-label": label },
      [0, 0.25, 0.5, 0.75, 1].map((tick) => [
        svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: frame.top, y2: frame.bottom }),
        svg("text", { class: "tick", x: x(tick), y: frame.bottom + 15, "text-anchor": "middle" }, percent(tick)),
      ]),
      [evaluation.weak_quality, evaluation.strong_quality].map((value) => svg("text", { class: "tick", x: frame.left - 6, y: y(value) + 4, "text-anchor": "end" }, rate(value))),
      svg("text", { class: "tick", x: (frame.left + frame.right) / 2, y: height - 4, "text-anchor": "middle" }, "share of strong calls"),
      svg("path", { class: "random", d: line([[0, evaluation.weak_quality], [1, evaluation.strong_quality]]) }),
      svg("text", { class: "tick", x: x(0.8), y: y(evaluation.weak_quality + 0.8 * (evaluation.strong_quality - evaluation.weak_quality)) + 18 }, "random"),
      svg("path", { class: "curve", d: line(shares.map((value, place) => [value, quality[place]])) }),
      share === null ? null : [
        svg("line", { class: "here", x1: x(share), x2: x(share), y1: frame.top, y2: frame.bottom }),
        svg("circle", { class: "dot", cx: x(share), cy: y(here), r: 5 }),
      ],
    );
  }
}

function slider(id, label, min, max, step, moved) {
  const output = html("output", { for: id });
  const input = html("input", { id, type: "range", min, max, step, oninput: moved });
  return { input, output, row: html("div", { class: "slider" }, html("label", { for: id }, label), output, input) };
}

function set({ input, output }, value, text) {
  // While it is dragged, the slider stays where the hand has it.
  if (Math.abs(input.valueAsNumber - value) > Number(input.step) / 2 || document.activeElement !== input) input.value = String(value);
  input.setAttribute("aria-valuetext", text);
  output.textContent = text;
}

function price(model) {
  if (model.input_price === null || model.output_price === null) return null;
  return (model.input_price * INPUT_TOKENS + model.output_price * OUTPUT_TOKENS) / 1e6;
}

const money = (value) => `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
