"""A threshold for an average cost per request or per month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from turnout._core import InvalidInputError
from turnout.calibrate.choice import Choice, Floats, cuts


@dataclass(frozen=True)
class CostModel:
    """Prices, and how long prompts and answers are.

    Attributes:
        strong_in_per_mtok: Price of a million prompt tokens of the strong model.
        strong_out_per_mtok: Price of a million answer tokens of the strong model.
        weak_in_per_mtok: Of the weak model.
        weak_out_per_mtok: Of the weak model.
        strong_answer_tokens: Mean length of the strong model's answers.
        weak_answer_tokens: Mean length of the weak model's answers.
        characters_per_token: Turns the length of a prompt into tokens where its tokens are not given.
    """

    strong_in_per_mtok: float
    strong_out_per_mtok: float
    weak_in_per_mtok: float
    weak_out_per_mtok: float
    strong_answer_tokens: float = 300.0
    weak_answer_tokens: float = 300.0
    characters_per_token: float = 4.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0 or self.characters_per_token <= 0:
            raise InvalidInputError(f"{self}: expected prices and lengths of 0 or more")

    def costs(self, prompts: Sequence[str], prompt_tokens: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Cost of each prompt with the strong and with the weak model.

        Args:
            prompts: The prompts.
            prompt_tokens: Their lengths in tokens; by default characters over ``characters_per_token``.
        """
        if prompt_tokens is None:
            tokens = np.array([len(prompt) for prompt in prompts]) / self.characters_per_token
        else:
            tokens = np.asarray(prompt_tokens, dtype=np.float64)
        strong = (tokens * self.strong_in_per_mtok + self.strong_answer_tokens * self.strong_out_per_mtok) / 1e6
        weak = (tokens * self.weak_in_per_mtok + self.weak_answer_tokens * self.weak_out_per_mtok) / 1e6
        return strong, weak


def threshold_for_cost(
    win_rates: ArrayLike,
    strong_cost: ArrayLike,
    weak_cost: ArrayLike,
    *,
    per_request: float | None = None,
    per_month: float | None = None,
    requests_per_month: float | None = None,
    resamples: int = 1000,
    precision: float = 0.05,
    seed: int = 0,
) -> Choice:
    """Chooses the lowest threshold (the most strong calls) whose mean cost on these prompts stays within the budget.

    The interval is the bootstrap's for the mean cost at this threshold of further samples of this size: prompts are
    resampled, with
    their own costs, since long prompts tend to be both dear and routed to the strong model.

    Args:
        win_rates: Of prompts like those to come.
        strong_cost: Cost of each with the strong model; see :meth:`CostModel.costs`.
        weak_cost: Cost of each with the weak model.
        per_request: Budget per request; or
        per_month: budget per month, with ``requests_per_month``.
        requests_per_month: Requests expected.
        resamples: Of the bootstrap.
        precision: Half width of the interval, as a part of the cost, that is precise enough.
        seed: Of the resamples.

    Raises:
        InvalidInputError: The weak model alone costs more than the budget; the message has the numbers.
    """
    if (per_request is None) == (per_month is None):
        raise InvalidInputError("give a budget either per request or per month")
    if per_request is None:
        if per_month is None or requests_per_month is None or requests_per_month <= 0:
            raise InvalidInputError("a budget per month needs requests_per_month, more than 0")
        per_request = per_month / requests_per_month
    made = cuts(win_rates)
    strong, weak = np.asarray(strong_cost, dtype=np.float64), np.asarray(weak_cost, dtype=np.float64)
    count = len(made.order)
    if strong.shape != (count,) or weak.shape != (count,):
        raise InvalidInputError(f"costs have shapes {strong.shape} and {weak.shape}, expected ({count},)")
    extra = np.concatenate([[0.0], np.cumsum((strong - weak)[made.order])])[made.calls]
    means = (weak.sum() + extra) / count
    within = np.flatnonzero(means <= per_request * (1 + 1e-12))
    if not len(within):
        raise InvalidInputError(
            f"the budget is {per_request:.6g} per request, and no threshold costs less than {means.min():.6g} on these prompts"
        )
    place = int(within[np.argmax(made.calls[within])])
    threshold = float(made.thresholds[place])
    chosen = np.zeros(count, dtype=bool)
    chosen[made.order[: made.calls[place]]] = True
    costs = np.where(chosen, strong, weak)
    low, high = _bootstrap_mean(costs, resamples, seed)
    achieved = float(costs.mean())
    warnings = []
    half = (high - low) / 2
    if achieved > 0 and half > precision * achieved:
        needed = int(np.ceil(count * (half / (precision * achieved)) ** 2))
        warnings.append(
            f"{count} prompts give the cost to within {half / achieved:.1%}, {precision:.0%} was asked: "
            f"that takes about {needed:,} prompts"
        )
    if place == len(made.calls) - 1:
        warnings.append(f"the budget pays for the strong model on every prompt ({achieved:.6g} per request)")
    elif per_request - achieved > 0.02 * per_request:
        step = float(means[place + 1])
        warnings.append(
            f"equal win rates: the mean cost is {achieved:.6g} here and {step:.6g} at the next threshold, with nothing in between"
        )
    details = {"strong_alone": float(strong.mean()), "weak_alone": float(weak.mean())}
    if requests_per_month:
        details["per_month"] = achieved * requests_per_month
    share = float(made.shares[place])
    return Choice("cost_per_request", per_request, threshold, achieved, low, high, share, count, warnings, details)


def _bootstrap_mean(values: Floats, resamples: int, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    means = np.array([values[generator.integers(0, len(values), len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
