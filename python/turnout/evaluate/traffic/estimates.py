"""Costs and grades with intervals, from traffic.

Every interval resamples prompts. What the data cannot say is ``None``, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.evaluate.bootstrap import Estimate, bootstrap, interval, ratio
from turnout.evaluate.metrics import Floats
from turnout.evaluate.traffic.traffic import Traffic
from turnout.evaluate.traffic.weights import effective_size, verdict_weights
from turnout.token_prices import TokenPrices

Counts = NDArray[np.int64]

#: Decisions from which an interval is stated: a bootstrap of fewer is too narrow.
FEWEST = 20
#: Effective sample size from which a counterfactual is stated. A higher one would keep the estimates of those models that a learning
#: router tried often, which are the lucky ones, and cover less.
LEAST_EFFECTIVE = 5.0


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Attributes:
        resamples: How many.
        seed: Of the generator.
    """

    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Mean:
    """A mean over the decisions for which it is known.

    Attributes:
        estimate: With its interval.
        known: Decisions that it is of.
    """

    estimate: Estimate
    known: int


def ratio_of(top: Floats, bottom: Floats, traffic: Traffic, how: Resampling, keep: NDArray[np.bool_]) -> Mean | None:
    """The sum of one column divided by that of another one, with its interval.

    Args:
        top: float64 ``[rows]``.
        bottom: float64 ``[rows]``.
        traffic: Has the prompts.
        how: Resampling.
        keep: bool ``[rows]``, rows that count.

    Returns:
        ``None`` for fewer than :data:`FEWEST` rows or a sum of zero.
    """
    top, bottom = top[keep], bottom[keep]
    if len(top) < FEWEST or not bottom.sum():
        return None
    prompts = [prompt for prompt, is_kept in zip(traffic.prompts, keep, strict=True) if is_kept]
    return Mean(ratio(top, bottom, prompts, resamples=how.resamples, seed=how.seed), len(top))


def mean_of(values: Floats, traffic: Traffic, how: Resampling, keep: NDArray[np.bool_] | None = None) -> Mean | None:
    """The mean of the values that are known.

    Args:
        values: float64 ``[rows]``, NaN where unknown.
        traffic: Has the prompts.
        how: Resampling.
        keep: bool ``[rows]``, rows that count.

    Returns:
        ``None`` for fewer than :data:`FEWEST` of them.
    """
    known = ~np.isnan(values) & (True if keep is None else keep)
    return ratio_of(values, np.ones(len(values)), traffic, how, known)


def bounds(values: Floats) -> tuple[float, float]:
    """The least and the largest mean that grades may have, whatever the unknown ones are.

    Args:
        values: float64 ``[rows]`` in ``[0, 1]``, NaN where unknown.

    Returns:
        Both.

    Example:
        >>> bounds(np.array([1.0, np.nan, 1.0, 0.0]))
        (0.5, 0.75)
    """
    known = np.nansum(values)
    return float(known / len(values)), float((known + np.isnan(values).sum()) / len(values))


def savings(traffic: Traffic, model: str, prices: TokenPrices, how: Resampling) -> Mean | None:
    """The part of the cost of one model for all decisions that routing saved: 0.6 where it cost 40 % of that.

    Args:
        traffic: Decisions.
        model: The model.
        prices: Its prices.
        how: Resampling.
    """
    always = traffic.cost_of(model, prices)
    known = ~np.isnan(traffic.cost) & ~np.isnan(always)
    return ratio_of(always - traffic.cost, always, traffic, how, known)


@dataclass(frozen=True)
class Counterfactual:
    """The grade that one model would have for all decisions, compared with the routed answers.

    Intervals are wider than those of the bootstrap, for few resampled decisions vary too little: by the first term of the expansion of Student's
    quantile with ``effective - 1`` degrees of freedom over the normal one, which is 1.30 in place of 1.42 at an effective size of 5.

    Attributes:
        model: The model.
        ips: By inverse propensity, self-normalized.
        doubly_robust: With a linear model of the grade in the win rate, fitted by inverse propensity in every resample.
        gain: ``doubly_robust`` minus the mean of the routed answers, on the same resamples.
        known: Decisions with a grade and propensities.
        effective: How many decisions with equal propensities would say as much of the model (Kish's effective sample size).
    """

    model: str
    ips: Estimate
    doubly_robust: Estimate
    gain: Estimate
    known: int
    effective: float


def counterfactual(traffic: Traffic, grades: Floats, model: str, how: Resampling) -> Counterfactual | None:
    """Estimates the grade of one model for all decisions, from those in which it was chosen by chance.

    Args:
        traffic: Decisions.
        grades: float64 ``[rows]``, NaN where there is none.
        model: The model.
        how: Resampling.

    Returns:
        ``None`` where receipts have no propensities, where the model had no chance in some of them, or was chosen too seldom: fewer than
        :data:`FEWEST` times, or so unevenly that the effective sample size is below :data:`LEAST_EFFECTIVE`.
    """
    chances = traffic.propensities.get(model)
    if chances is None:
        return None
    keep = ~np.isnan(chances) & ~np.isnan(grades)
    is_chosen = (traffic.chosen == model) & keep
    if is_chosen.sum() < FEWEST or (chances[keep] <= 0).any():
        return None
    grade, weight = grades[keep], (is_chosen[keep] / chances[keep])
    effective = effective_size(weight)
    if effective < LEAST_EFFECTIVE:
        return None
    feature = _known(traffic.win_rate[keep])

    def figures(counts: Counts) -> dict[str, Floats]:
        rows = counts.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ips = (counts @ (weight * grade)) / (counts @ weight)
        robust = _robust(counts, feature, grade, weight)
        return {"ips": ips, "robust": robust, "gain": robust - (counts @ grade) / rows}

    prompts = [prompt for prompt, is_kept in zip(traffic.prompts, keep, strict=True) if is_kept]
    found = bootstrap(figures, prompts, resamples=how.resamples, seed=how.seed)
    values = {name: float(one[0]) for name, one in figures(np.ones((1, len(grade)), dtype=np.int64)).items()}
    estimates = {name: _widened(interval(values[name], found[name]), effective) for name in values}
    return Counterfactual(model, estimates["ips"], estimates["robust"], estimates["gain"], int(keep.sum()), effective)


def _widened(found: Estimate, effective: float) -> Estimate:
    """A wider interval: Student's quantile over the normal one, to the first order in ``1 / (effective - 1)``.

    Example:
        >>> print(_widened(Estimate(0.0, -1.0, 1.0), 5))
        0.000 [-1.303, 1.303]
    """
    factor = 1 + (1.96**2 + 1) / (4 * (effective - 1))
    low, high = (found.value + factor * (end - found.value) for end in (found.low, found.high))
    return Estimate(found.value, low, high)


def _known(win_rate: Floats) -> Floats:
    """Win rates minus their mean; 0 where one is unknown."""
    if np.isnan(win_rate).all():
        return np.zeros(len(win_rate))
    return np.nan_to_num(win_rate - np.nanmean(win_rate), nan=0.0)


def _robust(counts: Counts, feature: Floats, grade: Floats, weight: Floats) -> Floats:
    """The mean over all rows of a weighted least-squares line, fitted in each resample.

    The line has a constant, so its weighted residuals add up to 0 and the doubly robust correction is already in it. A line that was
    fitted once would make all resamples agree too well.
    """
    total, every = counts @ weight, counts @ feature / counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = counts @ (weight * feature) / total, counts @ (weight * grade) / total
        spread = counts @ (weight * feature**2) / total - x**2
        slope = (counts @ (weight * feature * grade) / total - x * y) / spread
    # If all win rates are equal, no line can be fitted: the weighted mean is used.
    found: Floats = np.clip(y + np.where(spread > 1e-9, slope, 0.0) * (every - x), 0.0, 1.0)
    return found


@dataclass(frozen=True)
class Shadowed:
    """How much better the answers of another model are, where a judge compared both.

    Attributes:
        model: The other model.
        gain: Its share of better answers minus that of worse ones, over the decisions that other models answered. Verdicts of shadow evaluation
            count by the inverse of their propensity; others count only where there are none of these.
        overall: The same over all decisions, where its own answers gain nothing.
        bounds: Of ``gain``, whatever the verdicts of those comparisons are that were drawn and have none; ``None`` where receipts do not say
            what was drawn.
        known: Decisions with a verdict.
        drawn: Decisions for which shadow evaluation drew the model.
    """

    model: str
    gain: Estimate
    overall: Estimate
    bounds: tuple[float, float] | None
    known: int
    drawn: int


def shadowed(traffic: Traffic, model: str, how: Resampling) -> Shadowed | None:
    """What shadow evaluation says of a model.

    Args:
        traffic: Decisions, with verdicts: 1 where the other answer is better, 0.5 for a tie, 0 where it is worse.
        model: The model.
        how: Resampling.

    Returns:
        ``None`` for fewer than :data:`FEWEST` verdicts.
    """
    if model not in traffic.verdicts:
        return None
    weight = verdict_weights(traffic.verdicts[model], traffic.verdict_propensities[model])
    known = weight > 0.0
    if known.sum() < FEWEST:
        return None
    gained = np.where(known, 2.0 * traffic.verdicts[model] - 1.0, 0.0)
    is_other = (traffic.served != model).astype(np.float64)

    def figures(counts: Counts) -> dict[str, Floats]:
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (counts @ (weight * gained)) / (counts @ weight)
        return {"gain": gain, "overall": gain * (counts @ is_other) / counts.sum(axis=1)}

    found = bootstrap(figures, traffic.prompts, resamples=how.resamples, seed=how.seed)
    values = {name: float(one[0]) for name, one in figures(np.ones((1, len(traffic)), dtype=np.int64)).items()}
    gain, overall = (interval(values[name], found[name]) for name in ("gain", "overall"))
    is_drawn = traffic.drawn == model
    # A decision that was drawn and has no verdict may be anything.
    missing = float((1.0 / traffic.drawn_propensities[is_drawn & ~known]).sum())
    total = weight.sum() + missing
    ends = ((weight @ gained - missing) / total, (weight @ gained + missing) / total)
    limits = (float(ends[0]), float(ends[1])) if is_drawn.any() else None
    return Shadowed(model, gain, overall, limits, int(known.sum()), int(is_drawn.sum()))


def by_model(traffic: Traffic, measure: Callable[[NDArray[np.bool_]], Mean | None]) -> Mapping[str, Mean | None]:
    """A figure of the decisions that each model answered.

    Args:
        traffic: Decisions.
        measure: From rows that count to the figure.
    """
    return {str(model): measure(traffic.served == model) for model in sorted(set(traffic.served))}
