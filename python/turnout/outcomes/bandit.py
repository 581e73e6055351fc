"""Learning which model to choose: Thompson sampling on the error of the chances of success that a router predicts.

Every model has a linear model of its residual, the outcome minus the predicted chance. Without outcomes the residual is 0 and the
baseline decides. The chance with which each model is chosen is exact, so that receipts allow unbiased estimates later.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from turnout.errors import ConfigError, InvalidInputError
from turnout.outcomes.draw import uniform

Floats = NDArray[np.float64]

#: Standard deviation of an outcome in ``[0, 1]`` around its chance, at most.
NOISE = 0.5
#: A constant, the model's own chance, the mean chance of all models.
FEATURES = 3
#: Saved losses at most, in utility: how many requests' worth of exploration may come at once.
MOST_CREDIT = 25.0
#: Cells of the integral over the best model's utility, and standard deviations beyond which a model's utility is not looked for.
_CELLS, _REACH = 512, 8.0


@dataclass(frozen=True)
class BanditSettings:
    """How a bandit learns.

    Attributes:
        max_loss: The most that exploring may cost per request, in utility below the baseline, by the pessimistic end of the intervals.
        prior_std: Standard deviation of a residual before any outcome: how far the predicted chances may be wrong.
        decay: Weight of an outcome for each outcome that comes after it; 0.999 remembers about a thousand.
        width: Half width of an interval in standard deviations.
        seed: Of the choices.

    Example:
        >>> BanditSettings(max_loss=0.05).decay
        0.999
    """

    max_loss: float = 0.02
    prior_std: float = 0.15
    decay: float = 0.999
    width: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (("max_loss", 0, 1), ("prior_std", 1e-3, 1), ("decay", 0.5, 1), ("width", 0, 10)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{name} is {value}, expected a number in {least}..={most}", option=name)


class Choice(NamedTuple):
    """A decision of a bandit.

    Attributes:
        model: Index of the model.
        propensities: float64 ``[models]``, the chances with which each was chosen; they add up to 1.
        features: float64 ``[features]`` of the chosen model, for :meth:`Bandit.learn`.
        number: Of the decision, from 0.
        state: SHA-256 of the state that decided, 64 hexadecimal digits.
    """

    model: int
    propensities: Floats
    features: Floats
    number: int
    state: str


class Bandit:
    """Chooses among models and learns from outcomes. Not safe to share between threads.

    Args:
        models: Names, in the order of all arrays.
        settings: How it learns.

    Raises:
        ConfigError: No model, or a name twice.

    Example:
        >>> bandit = Bandit(["large", "small"], BanditSettings(max_loss=0.05))
        >>> choice = bandit.choose(np.array([0.9, 0.7]), np.array([0.1, 0.0]), baseline=0)
        >>> choice.model, choice.propensities.round(3).tolist()
        (0, [0.934, 0.066])
        >>> bandit.learn(choice.model, 1.0, 0.9, choice.features)
    """

    def __init__(self, models: Sequence[str], settings: BanditSettings | None = None) -> None:
        self.models = tuple(models)
        if not self.models or len(set(self.models)) < len(self.models):
            raise ConfigError(f"models are {list(self.models)}, expected at least one, each once", option="models")
        self.settings = settings or BanditSettings()
        count = len(self.models)
        self._prior = np.full(count, (NOISE / self.settings.prior_std) ** 2)
        self._gram = np.zeros((count, FEATURES, FEATURES))
        self._moment = np.zeros((count, FEATURES))
        self._credit = 0.0
        self._number = 0
        self._refresh()

    def set_prior_std(self, model: int, prior_std: float) -> None:
        """Says how far the predicted chances of one model may be wrong: 0.5 for a new model of which nothing is known.

        Args:
            model: Its index.
            prior_std: Standard deviation of its residual.
        """
        self._prior[model] = (NOISE / prior_std) ** 2
        self._refresh()

    @property
    def state(self) -> str:
        """SHA-256 of everything that decides, 64 hexadecimal digits."""
        learned = hashlib.sha256(repr((self.models, asdict(self.settings))).encode())
        for part in (self._prior, self._gram, self._moment, np.array([self._credit, self._number])):
            learned.update(np.ascontiguousarray(part, dtype="<f8").tobytes())
        return learned.hexdigest()

    def choose(
        self,
        success: Floats,
        cost: Floats,
        baseline: int,
        allowed: NDArray[np.bool_] | None = None,
        name: str | None = None,
    ) -> Choice:
        """Chooses a model for one request.

        The choice is the baseline's, except with a chance that keeps the expected loss within ``max_loss`` per request; there it is a
        model with the chance that it is the best one.

        Args:
            success: float64 ``[models]``, the predicted chances of success.
            cost: float64 ``[models]``, what each costs, in utility: the value of a success is 1.
            baseline: The model that the router chooses.
            allowed: bool ``[models]``, models that may serve the request; all by default.
            name: Of the decision, which with the seed gives the draw: the same name is the same draw. By default its number.

        Returns:
            The choice.

        Raises:
            InvalidInputError: Arrays of another length, numbers that are not finite, or a baseline that is not allowed.
        """
        allowed = np.ones(len(self.models), dtype=bool) if allowed is None else allowed
        self._check(success, cost, baseline, allowed)
        state, number = self.state, self._number
        features = features_of(success)
        mean = np.clip(success + (features * self._weights).sum(1), 0.0, 1.0) - cost
        std = np.sqrt(np.einsum("md,mde,me->m", features, self._covariance, features))
        best = np.zeros(len(self.models))
        best[allowed] = _chance_of_best(mean[allowed], std[allowed])
        share = self._share(best, mean, std, cost, baseline)
        chances = share * best
        chances[baseline] += 1.0 - share
        chances /= chances.sum()
        draw = uniform(self.settings.seed, number if name is None else name)
        drawn = int(np.searchsorted(np.cumsum(chances), draw, side="right"))
        index = min(drawn, int(np.flatnonzero(chances)[-1]))
        self._number += 1
        return Choice(index, chances, features[index], number, state)

    def learn(self, model: int, outcome: float, success: float, features: Floats) -> None:
        """Takes an outcome.

        Args:
            model: Index of the model whose answer it is about.
            outcome: In ``[0, 1]``.
            success: The chance that was predicted.
            features: float64 ``[features]``, of the choice.

        Raises:
            InvalidInputError: The outcome is out of range.
        """
        if not 0 <= outcome <= 1:
            raise InvalidInputError(f"outcome is {outcome}, expected a number in 0..=1", argument="outcome")
        # All models forget: one that is no longer chosen becomes uncertain, and is tried again.
        self._gram *= self.settings.decay
        self._moment *= self.settings.decay
        self._gram[model] += np.outer(features, features)
        self._moment[model] += (outcome - success) * features
        self._refresh()

    def to_dict(self) -> dict[str, Any]:
        """The whole state as plain values; :meth:`from_dict` makes the same bandit of it, bit for bit."""
        arrays = {"prior": self._prior, "gram": self._gram, "moment": self._moment}
        return {
            "models": list(self.models),
            "settings": asdict(self.settings),
            **{name: array.tolist() for name, array in arrays.items()},
            "credit": self._credit,
            "number": self._number,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Bandit:
        """A bandit from :meth:`to_dict`.

        Args:
            values: Plain values.

        Raises:
            ConfigError: A field is missing or of another shape.
        """
        try:
            found = cls(values["models"], BanditSettings(**values["settings"]))
            for name, array in (("prior", found._prior), ("gram", found._gram), ("moment", found._moment)):
                read = np.array(values[name], dtype=np.float64)
                if read.shape != array.shape or not np.isfinite(read).all():
                    raise ConfigError(f"{name} has the shape {read.shape}, expected {array.shape} of finite numbers")
                array[...] = read
            found._credit, found._number = float(values["credit"]), int(values["number"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"not the state of a bandit: {error!r}") from error
        found._refresh()
        return found

    def _share(self, best: Floats, mean: Floats, std: Floats, cost: Floats, baseline: int) -> float:
        """How often the baseline may be left, so that the pessimistic loss stays within what is saved and this request's ``max_loss``."""
        wide = self.settings.width * std
        loss = (mean[baseline] + wide[baseline]) - (mean - wide)
        loss = np.minimum(loss, 1.0 + cost - cost[baseline])
        loss[baseline] = 0.0
        expected = float(best @ loss)
        budget = self._credit + self.settings.max_loss
        share = 1.0 if expected <= budget else max(budget, 0.0) / expected
        self._credit = min(budget - share * expected, MOST_CREDIT)
        return share

    def _refresh(self) -> None:
        gram = self._gram + self._prior[:, None, None] * np.eye(FEATURES)
        inverse = np.linalg.inv(gram)
        self._weights = np.einsum("mde,me->md", inverse, self._moment)
        self._covariance = NOISE**2 * inverse

    def _check(self, success: Floats, cost: Floats, baseline: int, allowed: NDArray[np.bool_]) -> None:
        shape = (len(self.models),)
        for name, array in (("success", success), ("cost", cost), ("allowed", allowed)):
            if array.shape != shape or not np.isfinite(array).all():
                raise InvalidInputError(
                    f"{name} has the shape {array.shape}, expected {shape} of finite numbers", argument=name
                )
        if not allowed[baseline]:
            raise InvalidInputError(f"the baseline {self.models[baseline]} is not allowed", argument="baseline")


def features_of(success: Floats) -> Floats:
    """What a residual is linear in.

    Args:
        success: float64 ``[models]``, the predicted chances of success.

    Returns:
        float64 ``[models, features]``.
    """
    centered = success - 0.5
    return np.stack([np.ones(len(success)), centered, np.full(len(success), centered.mean())], axis=1)


def _chance_of_best(mean: Floats, std: Floats) -> Floats:
    """The chance that each of independent normal utilities is the largest."""
    if len(mean) == 1:
        return np.ones(1)
    std = np.maximum(std, 1e-12)
    # Below the lower end, one model is better almost surely.
    ends = np.linspace((mean - _REACH * std).max(), (mean + _REACH * std).max(), _CELLS + 1)
    mass = np.diff(_normal_cdf((ends[:, None] - mean) / std), axis=0)
    below = np.log(np.maximum(_normal_cdf((0.5 * (ends[1:] + ends[:-1])[:, None] - mean) / std), 1e-300))
    # All others are below a cell: the sum over all models without its own, so that the work grows with the models and not their square.
    others = np.exp(below.sum(axis=1, keepdims=True) - below)
    found: Floats = (np.maximum(mass, 0.0) * others).sum(axis=0)
    found /= found.sum()
    return found


def _normal_cdf(values: Floats) -> Floats:
    """Within 1e-7 (Abramowitz and Stegun 7.1.26)."""
    scaled = np.abs(values) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * scaled)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * poly * np.exp(-(scaled**2))
    found: Floats = np.where(values < 0, tail, 1 - tail)
    return found
