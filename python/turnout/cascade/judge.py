"""P(error) of an answer from its signals and the prompt, and what follows from it: keep the answer, or ask the strong model."""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from operator import mul
from pathlib import Path
from typing import Any, Literal

from turnout._core import ConfigError
from turnout.cascade.answer import Answer
from turnout.cascade.signals import SIGNALS

#: What a file of a judge says that it is.
KIND, VERSION = "turnout-cascade-judge", 1
Action = Literal["cheap", "cascade", "strong"]


@dataclass(frozen=True)
class Form:
    """A logistic model over some signals, with an isotonic map of its result.

    Attributes:
        signals: Names, in the order of the weights.
        weights: One a signal.
        prompt_weight: Of the logit of the prompt's risk.
        intercept: Added.
        x: Corners of the map from the logistic model's chance, rising.
        y: P(error) there.
    """

    signals: Sequence[str]
    weights: Sequence[float]
    prompt_weight: float
    intercept: float
    x: Sequence[float]
    y: Sequence[float]

    def raw(self, risk: float, values: Sequence[float]) -> float:
        """Chance of an error before the isotonic map."""
        score = self.intercept + self.prompt_weight * logit(risk)
        return _sigmoid(score + sum(map(mul, self.weights, values)))

    def p_error(self, risk: float, values: Sequence[float]) -> float:
        """Calibrated chance of an error."""
        raw = self.raw(risk, values)
        at = min(max(bisect_right(self.x, raw), 1), len(self.x) - 1)
        x0, x1, y0, y1 = self.x[at - 1], self.x[at], self.y[at - 1], self.y[at]
        part = min(max((raw - x0) / (x1 - x0), 0.0), 1.0)
        return y0 + part * (y1 - y0)


@dataclass(frozen=True)
class Policy:
    """When to ask which model. Costs and `error_cost` are in the same currency, a call's latency included at its price.

    Attributes:
        cheap_cost: Mean cost of a call of the cheaper model.
        strong_cost: Mean cost of a call of the strong model.
        error_cost: Cost of a wrong answer.
        low: Prompts of a risk below it are answered by the cheaper model, and its answer is not judged.
        high: Prompts of a risk from here on go to the strong model at once.
        strong_error: Intercept and slope of the strong model's P(error), a logistic model over the logit of the prompt's risk.
    """

    cheap_cost: float
    strong_cost: float
    error_cost: float
    low: float = 0.0
    high: float = 1.0
    strong_error: Sequence[float] = (-30.0, 0.0)

    def action(self, risk: float) -> Action:
        """What happens to a prompt before any model is called.

        Args:
            risk: Estimated chance in 0..1 that the cheaper model fails, or the win rate of the strong one.

        Returns:
            ``"cheap"``, ``"cascade"`` or ``"strong"``.

        Example:
            >>> policy = Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=10.0, low=0.3, high=0.8)
            >>> policy.action(0.2), policy.action(0.5), policy.action(0.8)
            ('cheap', 'cascade', 'strong')
        """
        return "cheap" if risk < self.low else "strong" if risk >= self.high else "cascade"

    def threshold(self, risk: float) -> float:
        """P(error) up to which an answer is kept: there the expected costs of keeping and of asking the strong model are equal.

        Args:
            risk: As for :meth:`action`.

        Returns:
            ``strong_cost / error_cost`` + P(error of the strong model); above 1 every answer is kept.

        Example:
            >>> round(Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=10.0).threshold(0.5), 6)
            0.1
        """
        intercept, slope = self.strong_error
        error = _sigmoid(intercept + slope * logit(risk))
        return limit_of(self.strong_cost, error, self.error_cost)


@dataclass(frozen=True)
class Judge:
    """Judges answers of one cheaper model. Immutable; made by ``turnout calibrate --cascade``.

    Attributes:
        forms: Logistic models, the one with most signals first: an answer is judged by the first whose signals it has.
        policy: When to ask which model.
        measured: Figures of the fit.

    Example:
        >>> judge = Judge([Form([], [], 1.0, 0.0, [0.0, 1.0], [0.0, 1.0])], Policy(0.1, 1.0, 4.0))
        >>> round(judge.p_error(0.3, Answer("Paris")), 2), judge.needs()
        (0.3, set())
    """

    forms: Sequence[Form]
    policy: Policy
    measured: Mapping[str, Any] = field(default_factory=dict)

    def form(self, answer: Answer) -> tuple[Form, list[float]]:
        """The form that judges an answer, and the values of its signals.

        Args:
            answer: The answer.

        Returns:
            The first form whose signals the answer has.

        Raises:
            ConfigError: Every form needs what the answer does not have.
        """
        found: dict[str, float | None] = {}
        for form in self.forms:
            values = []
            for name in form.signals:
                value = found[name] if name in found else found.setdefault(name, SIGNALS[name](answer))
                if value is None:
                    break
                values.append(value)
            else:
                return form, values
        needed = sorted({SIGNALS[name].needs for form in self.forms for name in form.signals})
        raise ConfigError(f"no form of the judge fits an answer that lacks some of {', '.join(needed)}")

    def p_error(self, risk: float, answer: Answer) -> float:
        """Chance that an answer is wrong.

        Args:
            risk: Of the prompt, in 0..1.
            answer: The answer.

        Returns:
            In 0..1.

        Raises:
            ConfigError: As :meth:`form`.

        Example:
            >>> form = Form(["mean_logprob"], [-2.0], prompt_weight=0.0, intercept=-1.0, x=[0.0, 1.0], y=[0.0, 1.0])
            >>> judge = Judge([form], Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=4.0))
            >>> round(judge.p_error(0.5, Answer("Paris", logprobs=[-0.1])), 2)
            0.31
        """
        form, values = self.form(answer)
        return form.p_error(risk, values)

    def needs(self) -> set[str]:
        """Fields of :class:`Answer` that the first form reads beside the text.

        Returns:
            Some of ``logprobs``, ``first_top_logprobs``, ``samples``, ``self_check`` and ``score``.
        """
        return {SIGNALS[name].needs for name in self.forms[0].signals} - {"text"}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file.

        Args:
            path: The file.
        """
        document = {"kind": KIND, "version": VERSION, **asdict(self)}
        Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Judge:
        """Reads a file of :meth:`save`.

        Args:
            path: The file.

        Returns:
            The judge.

        Raises:
            ConfigError: It is not such a file, or a value is wrong; the message names the field.
            FileNotFoundError: There is no such file.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if document["kind"] != KIND or document["version"] != VERSION:
                found = f"{document['kind']!r} version {document['version']!r}"
                raise ConfigError(f"{path} is {found}, expected {KIND!r} version {VERSION}")
            forms = [Form(**_known(Form, form)) for form in document["forms"]]
            judge = cls(forms, Policy(**_known(Policy, document["policy"])), document.get("measured", {}))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ConfigError(f"{path} is not a file of a cascade's judge: {type(error).__name__}: {error}") from error
        for message in _wrong(judge):
            raise ConfigError(f"{path}: {message}")
        return judge


def limit_of(next_cost: float, next_error: float, error_cost: float) -> float:
    """P(error) up to which an answer is kept: there keeping it and asking the next model are expected to cost the same.

    Args:
        next_cost: Of a call of the next model.
        next_error: P(error) of its answer.
        error_cost: Cost of a wrong answer, in the same currency.

    Returns:
        ``next_cost / error_cost + next_error``; infinite where errors cost nothing.
    """
    return next_cost / error_cost + next_error if error_cost > 0 else math.inf


def logit(risk: float) -> float:
    """Log-odds of a chance, clipped at one in ten thousand.

    Args:
        risk: In 0..1.

    Returns:
        The logit.

    Example:
        >>> logit(0.5), round(logit(0.0), 2)
        (0.0, -9.21)
    """
    risk = min(max(risk, 1e-4), 1.0 - 1e-4)
    return math.log(risk / (1.0 - risk))


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(value, -500.0), 500.0)))


def _known(of: type, document: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(document) - {one.name for one in fields(of)})
    if unknown:
        raise ConfigError(f"unknown field {unknown[0]!r} of {of.__name__.lower()}")
    return dict(document)


def _wrong(judge: Judge) -> list[str]:
    """What is wrong with the values of a file."""
    found = [] if judge.forms else ["`forms` is empty, expected at least one"]
    for index, form in enumerate(judge.forms):
        at = f"forms.{index}"
        found += [
            f"{at}.signals: unknown signal {name!r}, expected {', '.join(SIGNALS)}"
            for name in form.signals
            if name not in SIGNALS
        ]
        if len(form.weights) != len(form.signals):
            found.append(f"{at}.weights: {len(form.weights)} numbers, expected {len(form.signals)}, one a signal")
        if not _rising(form.x) or len(form.x) < 2 or len(form.x) != len(form.y):
            found.append(f"{at}.x and y: expected as many of both, at least 2, and x rising")
        numbers = [*form.weights, form.prompt_weight, form.intercept, *form.x, *form.y]
        if not all(_is_number(number) for number in numbers):
            found.append(f"{at}: expected finite numbers")
        elif not all(0 <= y <= 1 for y in form.y):
            found.append(f"{at}.y: expected chances in 0..1")
    policy = judge.policy
    for name in ("cheap_cost", "strong_cost", "error_cost"):
        value = getattr(policy, name)
        if not (_is_number(value) and value >= 0):
            found.append(f"policy.{name} is {value!r}, expected a number of 0 or more")
    if not (_is_number(policy.low) and _is_number(policy.high) and 0 <= policy.low <= policy.high):
        found.append(f"policy.low and high are {policy.low!r} and {policy.high!r}, expected 0 <= low <= high")
    if len(policy.strong_error) != 2 or not all(map(_is_number, policy.strong_error)):
        found.append("policy.strong_error: expected an intercept and a slope")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rising(values: Sequence[float]) -> bool:
    return all(_is_number(value) for value in values) and all(a < b for a, b in pairwise(values))
