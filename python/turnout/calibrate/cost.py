"""A threshold for an average cost per request or per month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from turnout._core import InvalidInputError
from turnout.calibrate.choice import Choice, Floats, candidate_thresholds


@dataclass(frozen=True)
class CostModel:
    """Prices, and lengths of prompts and answers. Costs are in the currency of the prices.

    Attributes:
        strong_in_per_mtok: Price of a million prompt tokens of the strong model.
        strong_out_per_mtok: Price of a million answer tokens of the strong model.
        weak_in_per_mtok: Price of a million prompt tokens of the weak model.
        weak_out_per_mtok: Price of a million answer tokens of the weak model.
        strong_answer_tokens: Mean length of the strong model's answers, in tokens.
        weak_answer_tokens: Mean length of the weak model's answers, in tokens.
        characters_per_token: Converts the length of a prompt to tokens if its number of tokens is not given.

    Raises:
        InvalidInputError: A price or length is negative.

    Example:
        >>> model = CostModel(10.0, 30.0, 0.5, 1.5, strong_answer_tokens=100, weak_answer_tokens=100)
        >>> strong, weak = model.costs(["What is 2 + 2?"], prompt_tokens=[8])
        >>> round(float(strong[0]), 6), round(float(weak[0]), 6)
        (0.00308, 0.000154)
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
            prompt_tokens: Lengths of the prompts in tokens, float ``[prompts]``; by default their characters divided by
                ``characters_per_token``.

        Returns:
            Costs with the strong and with the weak model, both float64 ``[prompts]``.
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

    The interval is a bootstrap interval for the mean cost at this threshold of further samples of this size. Prompts are resampled
    together with their costs, because long prompts tend to cost more and to be routed to the strong model.

    Args:
        win_rates: Win rates of a sample of your prompts, float ``[prompts]``.
        strong_cost: Cost of each prompt with the strong model, float ``[prompts]``; see :meth:`CostModel.costs`.
        weak_cost: Cost of each prompt with the weak model, float ``[prompts]``.
        per_request: Budget per request, in the currency of the costs. Give this or ``per_month``.
        per_month: Budget per month; needs ``requests_per_month``.
        requests_per_month: Expected number of requests per month.
        resamples: Number of bootstrap resamples.
        precision: Largest half width of the interval, relative to the cost, that gives no warning.
        seed: Seed of the resamples.

    Returns:
        The choice; ``achieved`` is the mean cost per request.

    Raises:
        InvalidInputError: The weak model alone costs more than the budget, both budgets or none are given, or arrays differ in shape.

    Example:
        >>> choice = threshold_for_cost([0.2, 0.8], [3.0, 3.0], [1.0, 1.0], per_request=2.0)
        >>> round(choice.threshold, 2), choice.achieved
        (0.5, 2.0)
    """
    if (per_request is None) == (per_month is None):
        raise InvalidInputError("give a budget either per request or per month")
    if per_request is None:
        if per_month is None or requests_per_month is None or requests_per_month <= 0:
            raise InvalidInputError("a budget per month needs requests_per_month, more than 0")
        per_request = per_month / requests_per_month
    made = candidate_thresholds(win_rates)
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
    index = int(within[np.argmax(made.calls[within])])
    threshold = float(made.thresholds[index])
    chosen = np.zeros(count, dtype=bool)
    chosen[made.order[: made.calls[index]]] = True
    costs = np.where(chosen, strong, weak)
    low, high = _bootstrap_mean(costs, resamples, seed)
    achieved = float(costs.mean())
    warnings = []
    half = (high - low) / 2
    if achieved > 0 and half > precision * achieved:
        needed = int(np.ceil(count * (half / (precision * achieved)) ** 2))
        warnings.append(
            f"{count} prompts give the cost to within {half / achieved:.1%}; "
            f"{precision:.0%} needs about {needed:,} prompts"
        )
    if index == len(made.calls) - 1:
        warnings.append(f"the budget pays for the strong model on every prompt ({achieved:.6g} per request)")
    elif per_request - achieved > 0.02 * per_request:
        step = float(means[index + 1])
        warnings.append(
            f"equal win rates: the mean cost is {achieved:.6g} here and {step:.6g} at the next threshold, with nothing in between"
        )
    details = {"strong_alone": float(strong.mean()), "weak_alone": float(weak.mean())}
    if requests_per_month:
        details["per_month"] = achieved * requests_per_month
    share = float(made.shares[index])
    return Choice("cost_per_request", per_request, threshold, achieved, low, high, share, count, warnings, details)


def _bootstrap_mean(values: Floats, resamples: int, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    means = np.array([values[generator.integers(0, len(values), len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
