// Win rates of every loaded router, where they fall among calibration scores, and what thresholds would choose.

import { chart, html, svg } from "./dom.js";
import { below, histogram, percent, rate, shareOf } from "./numbers.js";

const BINS = 48;

export class Routers {
  /** @param {(router: object) => void} chosen */
  constructor(fieldset, routers, pair, chosen) {
    this.pair = pair;
    this.cards = new Map(routers.map((router) => [router.name, this.#card(router, chosen)]));
    fieldset.append(...[...this.cards.values()].map((card) => card.element));
  }

  /** Makes a router the chosen one. */
  choose(name) {
    const card = this.cards.get(name);
    card.radio.checked = true;
  }

  setThreshold(name, threshold) {
    const card = this.cards.get(name);
    card.threshold = threshold;
    this.#tell(card);
  }

  threshold(name) {
    return this.cards.get(name).threshold;
  }

  /** Shows a score `{win_rate, decision_us}` or `{error}`, or that there is none. */
  show(name, score) {
    const card = this.cards.get(name);
    card.score = score;
    this.#tell(card);
  }

  /** One sentence for those who do not see the charts. */
  get said() {
    return [...this.cards.values()]
      .filter((card) => card.score)
      .map((card) => (card.score.error ? `${card.router.name}: ${card.score.error}` : `${card.router.name}: win rate ${rate(card.score.win_rate)}, ${this.#side(card)} model.`))
      .join(" ");
  }

  #side(card) {
    return card.score.win_rate >= card.threshold ? "strong" : "weak";
  }

  #card(router, chosen) {
    const radio = html("input", { type: "radio", name: "router", value: router.name, onchange: () => chosen(router) });
    const value = html("span", { class: "value" }, "–");
    const verdict = html("span", { class: "verdict" });
    const words = html("p", { class: "hint" });
    const plot = html("div", { class: "chart" });
    const head = html("label", { class: "head" }, radio, html("span", { class: "name" }, router.name), value, verdict);
    const element = html("div", { class: "card" }, head, plot, words);
    const card = { router, radio, value, verdict, words, element, threshold: router.threshold, score: null, redraw: () => {} };
    card.redraw = chart(plot, (width) => distribution(card, width));
    this.#tell(card);
    return card;
  }

  #tell(card) {
    const { score, threshold, router } = card;
    const isKnown = score !== null && !score.error;
    card.value.textContent = isKnown ? rate(score.win_rate) : "–";
    const side = isKnown ? this.#side(card) : "";
    card.verdict.textContent = side ? `${side}: ${this.pair[side].name}` : "";
    card.verdict.dataset.side = side;
    card.words.textContent = score?.error ?? (isKnown ? sentence(router, score) : router.quantiles.length > 1 ? "Calibration scores of this router; yours will stand among them." : "This router stores no calibration scores.");
    card.words.classList.toggle("error", Boolean(score?.error));
    card.redraw();
  }
}

function sentence(router, score) {
  const rateText = rate(score.win_rate);
  const time = score.decision_us < 1000 ? `${Math.round(score.decision_us)} µs` : `${(score.decision_us / 1000).toFixed(1)} ms`;
  if (router.quantiles.length < 2) return `Strong for thresholds up to ${rateText}, weak above. Scored in ${time}.`;
  return `Higher than ${percent(below(router.quantiles, score.win_rate))} of calibration prompts. Strong for thresholds up to ${rateText} (shares from ${percent(shareOf(router.quantiles, score.win_rate))}), weak above. Scored in ${time}.`;
}

function distribution({ router, threshold, score }, width) {
  const winRate = score && !score.error ? score.win_rate : null;
  const hasScores = router.quantiles.length > 1;
  const inside = hasScores ? [router.quantiles[0], router.quantiles.at(-1)] : [0, 1];
  const shown = [...inside, ...(winRate === null ? [] : [winRate])];
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const span = high - low || 0.01;
  const height = 102;
  // Between the axis and its labels there is room for the marker.
  const frame = { left: 8, right: width - 8, top: 20, bottom: height - 28 };
  const x = (value) => frame.left + (Math.min(Math.max((value - low) / span, 0), 1)) * (frame.right - frame.left);
  const bars = hasScores ? histogram(router.quantiles, low, high, BINS) : [];
  const bar = (from, to, density, side) => {
    const top = frame.bottom - Math.max(density * (frame.bottom - frame.top), density > 0 ? 1 : 0);
    return to > from ? svg("rect", { class: side, x: x(from), y: top, width: Math.max(x(to) - x(from) - 1, 0.5), height: frame.bottom - top }) : null;
  };
  const at = x(threshold);
  const label = [
    hasScores ? `Calibration scores from ${rate(inside[0])} to ${rate(inside[1])}, threshold ${rate(threshold)}` : `Threshold ${rate(threshold)}`,
    winRate === null ? "no prompt yet" : `this prompt ${rate(winRate)}`,
  ].join("; ");
  return svg(
    "svg",
    { width, height, role: "img", "aria-label": label },
    bars.map(({ from, to, density }) => [bar(from, Math.min(to, threshold), density, "weak"), bar(Math.max(from, threshold), to, density, "strong")]),
    svg("line", { class: "axis", x1: frame.left, x2: frame.right, y1: frame.bottom + 0.5, y2: frame.bottom + 0.5 }),
    [low, (low + high) / 2, high].map((tick, place) => svg("text", { class: "tick", x: x(tick), y: height - 4, "text-anchor": ["start", "middle", "end"][place] }, tick.toFixed(2))),
    svg("line", { class: "threshold", x1: at, x2: at, y1: 14, y2: frame.bottom }),
    svg("text", { class: "tick", x: at, y: 10, "text-anchor": at < 60 ? "start" : at > width - 60 ? "end" : "middle" }, `threshold ${rate(threshold)}`),
    winRate === null ? null : [
      svg("line", { class: "here", x1: x(winRate), x2: x(winRate), y1: frame.top, y2: frame.bottom }),
      svg("path", { class: "dot", d: `M${x(winRate)},${frame.bottom}l-6,9h12z` }),
    ],
  );
}
