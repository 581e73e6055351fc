"""A threshold for quality: the fewest strong calls that recover a given part of the gap between the two models."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from turnout._core import InvalidInputError, choose_strong
from turnout.calibrate.choice import Choice, Floats, candidate_thresholds


def threshold_for_quality(
    win_rates: ArrayLike,
    strong: ArrayLike,
    weak: ArrayLike,
    *,
    recovered: float = 0.95,
    resamples: int = 1000,
    precision: float = 0.1,
    seed: int = 0,
) -> Choice:
    """Chooses the highest threshold (the fewest strong calls) at which at least this part of the gap is recovered.

    The recovered part is PGR of "RouteLLM: Learning to Route LLMs with Preference Data" (arXiv 2406.18665, section 3.2). The interval
    is a bootstrap that repeats the *choice* on each resample and measures PGR on the prompts that the resample leaves out. An interval
    at a fixed threshold would be too optimistic, because the threshold was selected on the same sample.

    Args:
        win_rates: Win rates, float ``[prompts]``.
        strong: Scores of the strong model, float ``[prompts]``.
        weak: Scores of the weak model, float ``[prompts]``.
        recovered: Part of the gap to recover; 1 is the strong model's quality.
        resamples: Number of bootstrap resamples.
        precision: Largest half width of the interval that gives no warning.
        seed: Seed of the resamples.

    Returns:
        The choice; ``achieved`` is PGR on this sample, ``details`` has the mean PGR on prompts left out.

    Raises:
        InvalidInputError: The strong model is not better on these prompts, or arrays differ in shape.

    Example:
        >>> choice = threshold_for_quality([0.1, 0.2, 0.8, 0.9], [1, 1, 1, 1], [1, 1, 0, 0], recovered=1.0, resamples=20)
        >>> round(choice.threshold, 2), choice.strong_share
        (0.5, 0.5)
    """
    from turnout.evaluate.bootstrap import bootstrap, interval

    rates = np.asarray(win_rates, dtype=np.float64)
    s, w = np.asarray(strong, dtype=np.float64), np.asarray(weak, dtype=np.float64)
    if not (rates.shape == s.shape == w.shape):
        raise InvalidInputError(
            f"win rates and scores have shapes {rates.shape}, {s.shape} and {w.shape}, expected the same"
        )
    if s.mean() <= w.mean():
        raise InvalidInputError(
            f"the strong model scores {s.mean():.4f} and the weak one {w.mean():.4f}: there is no gap to recover"
        )
    threshold = _choose(rates, s, w, recovered)
    chosen = choose_strong(rates, threshold)
    achieved = _pgr(chosen, s, w)
    outside = bootstrap(
        lambda counts: {"pgr": np.array([_outside(rates, s, w, count, recovered) for count in counts])},
        [str(row) for row in range(len(rates))],
        resamples=resamples,
        seed=seed,
    )
    nothing = np.empty(0)
    spread = interval(achieved, outside.get("pgr", nothing))
    warnings = []
    half = (spread.high - spread.low) / 2
    if half > precision:
        needed = int(np.ceil(len(rates) * (half / precision) ** 2))
        warnings.append(
            f"{len(rates)} prompts give PGR to within {half:.2f}; {precision:g} needs about {needed:,} prompts"
        )
    expected = float(np.nanmean(outside["pgr"])) if len(outside.get("pgr", nothing)) else achieved
    if expected < recovered - 0.01:
        warnings.append(
            f"on prompts left out of the choice PGR is {expected:.3f} on average: "
            f"ask for more than {recovered:g} to be safe"
        )
    details = {"expected_on_further_prompts": expected, "quality": float(np.where(chosen, s, w).mean())}
    share = float(chosen.mean())
    return Choice(
        "quality", recovered, threshold, achieved, spread.low, spread.high, share, len(rates), warnings, details
    )


def _choose(rates: Floats, strong: Floats, weak: Floats, recovered: float) -> float:
    made = candidate_thresholds(rates)
    gain = np.concatenate([[0.0], np.cumsum((strong - weak)[made.order])])[made.calls]
    reached = gain >= recovered * (strong - weak).sum() - 1e-9
    return float(made.thresholds[np.argmax(reached)]) if reached.any() else 0.0


def _pgr(chosen: ArrayLike, strong: Floats, weak: Floats) -> float:
    gap = float(strong.mean() - weak.mean())
    return float((np.where(chosen, strong, weak).mean() - weak.mean()) / gap) if gap > 0 else float("nan")


def _outside(rates: Floats, strong: Floats, weak: Floats, count: ArrayLike, recovered: float) -> float:
    drawn = np.repeat(np.arange(len(rates)), np.asarray(count))
    left = np.asarray(count) == 0
    if not left.any() or strong[drawn].sum() <= weak[drawn].sum():
        return float("nan")
    threshold = _choose(rates[drawn], strong[drawn], weak[drawn], recovered)
    return _pgr(choose_strong(rates[left], threshold), strong[left], weak[left])
