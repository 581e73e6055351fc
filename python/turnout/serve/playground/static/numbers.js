// Calibration scores: a router's quantiles, evenly spaced from 0 to 1 and rising, read as a distribution.

/** The share of calibration prompts whose win rate is below `value`; linear between quantiles. */
export function below(quantiles, value) {
  const last = quantiles.length - 1;
  if (value <= quantiles[0]) return 0;
  if (value > quantiles[last]) return 1;
  let high = 1;
  while (quantiles[high] < value) high += 1;
  const low = quantiles[high - 1];
  return (high - 1 + (value - low) / (quantiles[high] - low)) / last;
}

/** The share of calibration prompts that a threshold sends to the strong model. */
export const shareOf = (quantiles, threshold) => 1 - below(quantiles, threshold);

/** Bins `{from, to, density}` of the distribution between `low` and `high`, the highest density being 1. */
export function histogram(quantiles, low, high, count) {
  const width = (high - low) / count;
  const bins = Array.from({ length: count }, (_, place) => {
    const from = low + place * width;
    return { from, to: from + width, density: below(quantiles, from + width) - below(quantiles, from) };
  });
  const most = Math.max(...bins.map((bin) => bin.density), Number.MIN_VALUE);
  return bins.map((bin) => ({ ...bin, density: bin.density / most }));
}

/** The value at `x` of a line through points with rising xs. */
export function interpolated(xs, ys, x) {
  if (x <= xs[0]) return ys[0];
  let high = 1;
  while (high < xs.length - 1 && xs[high] < x) high += 1;
  const run = xs[high] - xs[high - 1];
  const part = run > 0 ? Math.min((x - xs[high - 1]) / run, 1) : 1;
  return ys[high - 1] + (ys[high] - ys[high - 1]) * part;
}

export const percent = (share) => `${Math.round(share * 100)} %`;
export const rate = (value) => value.toFixed(3);
