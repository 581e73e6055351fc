"""``turnout retrain``: profiles from outcomes and shadow verdicts, taken only where they are not worse on the latest traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.artifact.calibration import logit
from turnout.evaluate.bootstrap import Estimate, ratio
from turnout.evaluate.traffic.weights import verdict_weights
from turnout.pool.profiles import Profile, Profiles
from turnout.profiles.linear import Linear
from turnout.profiles.own import CALIBRATED, Candidate, candidates, pick
from turnout.profiles.predictors import ScoredPrompts
from turnout.training.feedback import Feedback
from turnout.training.held_out_traffic import CLIP, HELD_OUT, losses, not_shown, split, too_few
from turnout.training.own_pool import MIN_OUTCOMES, profiles_from

#: Held-out verdicts from which they count.
FEWEST_VERDICTS = 20


@dataclass(frozen=True)
class Comparison:
    """New profiles beside the running ones on held-out decisions.

    Attributes:
        grades: Log loss of the new ones minus that of the running ones, on scores.
        verdicts: Likewise, on which of two answers is better, weighed by the inverse of their chances; ``None`` for too few verdicts.
        trained: Decisions that the new ones were fitted on.
        held_out: Decisions that both were compared on.
        held_out_verdicts: Verdicts among them.
        moved: Mean change of P(success).
    """

    grades: Estimate
    verdicts: Estimate | None
    trained: int
    held_out: int
    held_out_verdicts: int
    moved: float


@dataclass(frozen=True)
class Retrained:
    """What retraining found.

    Attributes:
        profiles: The new ones; ``None`` where there are too few decisions.
        picked: Name of the candidate, by cross-validation on the decisions that were trained on.
        comparison: With the running ones.
        refused: Why the new ones are not to be used; empty where they are.
    """

    profiles: Profiles | None
    picked: str
    comparison: Comparison | None
    refused: str

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        comparison = None if self.comparison is None else asdict(self.comparison)
        return {
            "accepted": not self.refused,
            "refused": self.refused,
            "picked": self.picked,
            "comparison": comparison,
        }


def retrain(
    feedback: Feedback,
    embeddings: NDArray[np.float32],
    running: Mapping[str, Linear],
    whole: Linear,
    embedding: str,
    *,
    held_out: float = HELD_OUT,
    margin: float = 0.0,
    resamples: int = 1000,
    seed: int = 0,
    output_tokens: Mapping[str, float] | None = None,
) -> Retrained:
    """Fits profiles to the earlier decisions and compares them with the running ones on the later ones.

    New profiles are used if the 95 % interval of the difference of log loss on held-out scores ends at most at the margin, and if they
    predict held-out verdicts of shadow evaluation no worse. Prompts that were trained on, and their near-duplicates,
    are not held out.

    Args:
        feedback: The decisions, in the order of their times.
        embeddings: Of their prompts, float32 ``[decisions, dim]``.
        running: The running profiles by candidate, in the order of the columns.
        whole: The same over one basis.
        embedding: SHA-256 of the router's graph.
        held_out: Part of the decisions that is held out.
        margin: Of both differences, in nats.
        resamples: Of the bootstrap.
        seed: Of folds and bootstrap.
        output_tokens: Mean output tokens of an answer that the running profiles have, by candidate.
    """
    names = list(running)
    is_early, is_late = split(feedback.prompts, held_out)
    early, late = feedback.rows(is_early), feedback.rows(is_late)
    if refused := too_few(len(early.prompts), len(late.prompts), "decisions with outcomes"):
        return Retrained(None, "", None, refused)
    scored = ScoredPrompts(early.prompts, embeddings[is_early], early.scores)
    tried = _tried(scored, names, whole, embedding)
    picked = pick(tried, scored, seed).name
    profiles = profiles_from(tried[picked], scored, names, embedding, "traffic", output_tokens or {})
    found = _compared(profiles, whole, late, embeddings[is_late], len(early.prompts), resamples, seed)
    return Retrained(profiles, picked, found, _refused(found, margin))


def _tried(scored: ScoredPrompts, names: list[str], whole: Linear, embedding: str) -> dict[str, Candidate]:
    """The running profiles, calibrated; and where every model has enough scores, what ``train pool`` tries."""
    models = [Profile(name, one.mean, one.covariance) for name, one in zip(names, whole.models, strict=True)]
    found = candidates(names, Profiles(whole.basis, models, embedding, landmarks=whole.landmarks))
    if ((~np.isnan(scored.scores)).sum(axis=0) < MIN_OUTCOMES).any():
        return {CALIBRATED: found[CALIBRATED]}
    return found


def _compared(
    profiles: Profiles,
    whole: Linear,
    late: Feedback,
    embeddings: NDArray[np.float32],
    trained: int,
    resamples: int,
    seed: int,
) -> Comparison:
    chances = [profiles.success(embeddings), whole.success(embeddings)]
    logits = [logit(one, CLIP) for one in chances]
    new, old = (losses(logit, late.scores) for logit in logits)
    known = (~np.isnan(new)).sum(axis=1)
    grades = ratio(np.nansum(new - old, axis=1), known, late.prompts, resamples=resamples, seed=seed)
    verdicts = None
    if len(late.verdicts) >= FEWEST_VERDICTS:
        rows, other, own = late.verdicts[:, :3].astype(int).T
        values, chances_of_draw = late.verdicts[:, 3:].T
        weights = verdict_weights(values, chances_of_draw)
        new, old = (losses(logit[rows, other] - logit[rows, own], values) for logit in logits)
        prompts = [late.prompts[row] for row in rows.tolist()]
        verdicts = ratio(weights * (new - old), weights, prompts, resamples=resamples, seed=seed)
    moved = float(np.abs(chances[0] - chances[1]).mean())
    return Comparison(grades, verdicts, trained, len(late.prompts), len(late.verdicts), moved)


def _refused(found: Comparison, margin: float) -> str:
    if refused := not_shown(found.grades, f"{found.held_out} later decisions", "profiles", margin):
        return refused
    if found.verdicts is not None and found.verdicts.value > margin:
        return (
            f"worse on {found.held_out_verdicts} later verdicts of shadow evaluation: log loss {found.verdicts.value:+.4f} "
            f"[{found.verdicts.low:+.4f}, {found.verdicts.high:+.4f}], expected at most {margin:g}; outcomes and verdicts disagree"
        )
    return ""
