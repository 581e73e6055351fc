"""``turnout retrain --pair``: the calibration of a router's win rates, from shadow verdicts on the answers of both models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from turnout._core import InvalidInputError
from turnout.artifact.calibration import calibrate, logit
from turnout.calibrate.win_rate import Calibration, fit_calibration
from turnout.evaluate.bootstrap import Estimate, ratio
from turnout.evaluate.traffic.weights import effective_size, verdict_weights
from turnout.pool.profiles import Doubles
from turnout.training.feedback import Feedback
from turnout.training.held_out_traffic import CLIP, HELD_OUT, losses, not_shown, split, too_few

#: Verdicts on answers of each model, at least: a map that has seen the easy prompts alone says nothing of the others.
FEWEST_OF_EACH = 20


@dataclass(frozen=True)
class PairVerdicts:
    """Verdicts of shadow evaluation between two models, in the order of their times.

    Attributes:
        prompts: Of the decisions.
        wins: 1 where the strong model's answer is better, 0 where it is worse, .5 for a tie; float64 ``[verdicts]``.
        weights: The inverse of the chance with which each was drawn; float64 ``[verdicts]``.
        is_strong: Whether the strong model's answer was delivered; bool ``[verdicts]``.
    """

    prompts: Sequence[str]
    wins: Doubles
    weights: Doubles
    is_strong: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, feedback: Feedback) -> PairVerdicts:
        """Those among the feedback on a pair.

        Args:
            feedback: Its models are the strong one and the weak one, in this order.
        """
        rows, other, own, value, chance = feedback.verdicts.T
        wins = np.where(other == 0, value, 1.0 - value)
        prompts = [feedback.prompts[row] for row in rows.astype(int).tolist()]
        return cls(prompts, wins, verdict_weights(wins, chance), own == 0)


@dataclass(frozen=True)
class PairComparison:
    """A new calibration beside the running one on held-out verdicts.

    Attributes:
        verdicts: Log loss of the new one minus that of the running one.
        trained: Verdicts that the new one was fitted on.
        held_out: Verdicts that both were compared on.
        moved: Mean change of the win rate.
    """

    verdicts: Estimate
    trained: int
    held_out: int
    moved: float


@dataclass(frozen=True)
class RetrainedPair:
    """What retraining found.

    Attributes:
        calibration: The new one; ``None`` where none was fitted.
        comparison: With the running one.
        refused: Why the new one is not to be used; empty where it is.
    """

    calibration: Calibration | None
    comparison: PairComparison | None
    refused: str

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "accepted": not self.refused,
            "refused": self.refused,
            "calibration": None if self.calibration is None else self.calibration.manifest,
            "comparison": None if self.comparison is None else asdict(self.comparison),
        }


def retrain_pair(
    verdicts: PairVerdicts,
    raw: Doubles,
    running: Mapping[str, Any],
    *,
    held_out: float = HELD_OUT,
    margin: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
) -> RetrainedPair:
    """Fits a calibration to the earlier verdicts and compares it with the running one on the later ones.

    Verdicts count by the inverse of the chance with which they were drawn, as in the report, so that a time or a model with a larger share of
    shadow evaluation counts no more than others. It is used if the 95 % interval of the difference of log loss ends at most at the margin.

    Args:
        verdicts: In the order of their times.
        raw: Win rates of their prompts before calibration, float64 ``[verdicts]``.
        running: The running calibration, as in ``router.json``.
        held_out: Part of the verdicts that is held out.
        margin: Of the difference, in nats.
        resamples: Of the bootstrap.
        seed: Of folds and bootstrap.
    """
    early, late = split(verdicts.prompts, held_out)
    sizes = [round(effective_size(verdicts.weights[part])) for part in (early, late)]
    is_even = sizes == [early.sum(), late.sum()]
    if refused := too_few(sizes[0], sizes[1], "verdicts" if is_even else "verdicts (counted by their chances)"):
        return RetrainedPair(None, None, refused)
    strong = int(verdicts.is_strong[early].sum())
    if min(strong, int(early.sum()) - strong) < FEWEST_OF_EACH:
        return RetrainedPair(
            None,
            None,
            f"earlier verdicts are on {strong} answers of the strong model and {int(early.sum()) - strong} of the weak one, expected at"
            f" least {FEWEST_OF_EACH} of each: [shadow] models needs both",
        )
    try:
        found = fit_calibration(raw[early], verdicts.wins[early], weights=verdicts.weights[early], seed=seed)
    except InvalidInputError as error:
        return RetrainedPair(None, None, str(error))
    rates = [found.apply(raw[late]), calibrate(logit(raw[late]), running)]
    new, old = (losses(logit(one, CLIP), verdicts.wins[late]) for one in rates)
    prompts = [prompt for prompt, is_late in zip(verdicts.prompts, late, strict=True) if is_late]
    weights = verdicts.weights[late]
    difference = ratio(weights * (new - old), weights, prompts, resamples=resamples, seed=seed)
    moved = float(np.average(np.abs(rates[0] - rates[1]), weights=weights))
    compared = PairComparison(difference, int(early.sum()), int(late.sum()), moved)
    refused = not_shown(difference, f"{compared.held_out} later verdicts", "win rates", margin)
    return RetrainedPair(found, compared, refused)
