"""Which models a cascade asks for a prompt, in turn: the prompt decides before any call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from turnout.cascade.judge import Action, Judge, limit_of


class Candidate(Protocol):
    """A model of a pool, as :meth:`turnout.PoolRouter.rank` returns it."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def success(self) -> float:
        """Chance that its answer is good."""

    @property
    def expected_cost(self) -> float | None:
        """Of the request."""

    @property
    def feasible(self) -> bool:
        """Whether it may serve the request."""


@dataclass(frozen=True)
class Step:
    """A model that is called if the answers before were discarded.

    Attributes:
        model: Its name.
        judge: Judges its answer; ``None`` for the last step, whose answer is final.
        risk: Estimated chance that it fails on the prompt.
        limit: P(error) up to which its answer is kept.
    """

    model: str
    judge: Judge | None = None
    risk: float = 0.0
    limit: float = 1.0


def pair_steps(judge: Judge, risk: float, *, weak: str, strong: str) -> tuple[Action, list[Step]]:
    """The steps of a cascade of two models.

    Args:
        judge: Of the cheaper model's answers.
        risk: Of the prompt.
        weak: The cheaper model.
        strong: The strong model.

    Returns:
        What the prompt's risk decides, and the steps.
    """
    action, limit = judge.policy.action(risk), judge.policy.threshold(risk)
    if action == "strong":
        return action, [Step(strong, None, risk, limit)]
    if action == "cheap":
        return action, [Step(weak, None, risk, limit)]
    return action, [Step(weak, judge, risk, limit), Step(strong, None, risk, limit)]


def pool_steps(
    ranked: Sequence[Candidate], judges: Mapping[str, Judge], *, price: float | None = None
) -> tuple[Action, list[Step]]:
    """The steps of a cascade between the models of a pool, the cheapest first.

    A model is a step if it may serve the request, is more likely to succeed than every cheaper one, and has a judge; the most likely
    model is the last step. A model's risk is one minus its chance of success: by its judge's band the model is left out (`strong`), its
    answer is final (`cheap`), or it is judged. It is kept if that is expected to cost no more than the next step, by the pool's cost
    and chance of success of that one and the judge's ``error_cost``, which is in the pool's currency.

    With a budget, the last step is the budget's choice, and its price says what an error costs.

    Args:
        ranked: Of :meth:`turnout.PoolRouter.rank` for the prompt; with a budget of :meth:`turnout.PoolBudget.explain`.
        judges: By model.
        price: Of a budget of cost: the gain in P(success) that one unit of cost must bring.

    Returns:
        ``cascade`` if an answer is judged; else ``strong`` for what would be the last step, and ``cheap`` for another; and the steps.

    Example:
        >>> from types import SimpleNamespace
        >>> from turnout.cascade import Form, Policy
        >>> ranked = [SimpleNamespace(model=name, success=success, expected_cost=cost, feasible=True)
        ...           for name, success, cost in [("large", 0.9, 1.0), ("small", 0.6, 0.1), ("slow", 0.5, 0.3)]]
        >>> judge = Judge([Form([], [], 1.0, 0.0, [0.0, 1.0], [0.0, 1.0])], Policy(0.1, 1.0, error_cost=5.0))
        >>> action, steps = pool_steps(ranked, {"small": judge, "slow": judge})
        >>> action, [(step.model, round(step.risk, 6), round(step.limit, 6)) for step in steps]
        ('cascade', [('small', 0.4, 0.3), ('large', 0.1, 1.0)])
    """
    frontier: list[Candidate] = []
    for one in sorted((one for one in ranked if one.feasible), key=lambda one: (_cost(one), -one.success)):
        if not frontier or one.success > frontier[-1].success:
            frontier.append(one)
    if price is not None and frontier:
        chosen = next(one.model for one in ranked if one.feasible)
        frontier = frontier[: 1 + next((at for at, one in enumerate(frontier) if one.model == chosen), len(frontier))]
    called: list[tuple[Candidate, Judge | None]] = []
    for one in frontier:
        judge = None if one is frontier[-1] else judges.get(one.model)
        action = "strong" if judge is None else judge.policy.action(1.0 - one.success)
        if one is frontier[-1] or action == "cheap":
            called.append((one, None))
            break
        if action == "cascade":
            called.append((one, judge))
    steps = []
    for at, (one, judge) in enumerate(called):
        limit = 1.0
        if judge is not None:
            after, policy = called[at + 1][0], judge.policy
            cost = policy.strong_cost if after.expected_cost is None else after.expected_cost
            limit = limit_of(cost, 1.0 - after.success, policy.error_cost if price is None else 1.0 / price)
        steps.append(Step(one.model, judge, 1.0 - one.success, limit))
    return action_of(steps, frontier[-1].model if frontier else ""), steps


def action_of(steps: Sequence[Step], best: str) -> Action:
    """What steps amount to: ``cascade`` if an answer is judged; else ``strong`` for the best model, and ``cheap`` for another.

    Args:
        steps: In turn.
        best: The most likely model.
    """
    if len(steps) > 1:
        return "cascade"
    return "strong" if steps and steps[0].model == best else "cheap"


def _cost(one: Candidate) -> float:
    return float("inf") if one.expected_cost is None else one.expected_cost
