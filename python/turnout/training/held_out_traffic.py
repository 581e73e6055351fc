"""Which part of the traffic is learned from and which is held out, and the loss there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turnout.evaluate.bootstrap import Estimate
from turnout.pool.profiles import Doubles
from turnout.profiles.folds import groups_of

#: Decisions that are trained on, and that are held out, at least.
FEWEST_TRAINED, FEWEST_HELD_OUT = 200, 100
#: Part of the decisions, the last ones, that is held out.
HELD_OUT = 0.25
#: Chances are at least this far from 0 and 1.
CLIP = 1e-6


def split(prompts: Sequence[str], held_out: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Decisions to learn from, and later ones to compare on, without prompts that were learned from and their near-duplicates.

    Args:
        prompts: Of decisions, in the order of their times.
        held_out: Part of the decisions that is held out.

    Returns:
        bool ``[decisions]`` each.
    """
    count = len(prompts)
    is_late = np.arange(count) >= round(count * (1.0 - held_out))
    groups = groups_of(prompts, count * held_out)
    known = {group for group, late in zip(groups, is_late, strict=True) if not late}
    is_new = np.array([group not in known for group in groups], dtype=bool)
    return ~is_late, is_late & is_new


def too_few(trained: int, held_out: int, what: str) -> str:
    """Why there is too little to learn from or to compare on; empty where there is enough.

    Args:
        trained: Decisions to learn from.
        held_out: Decisions to compare on.
        what: What they are.
    """
    if trained >= FEWEST_TRAINED and held_out >= FEWEST_HELD_OUT:
        return ""
    return (
        f"too few {what}: {trained} to train on (expected at least {FEWEST_TRAINED}) and "
        f"{held_out} later ones with other prompts (expected at least {FEWEST_HELD_OUT})"
    )


def not_shown(difference: Estimate, what: str, running: str, margin: float) -> str:
    """Why something new is not to be used: its interval on held-out traffic goes beyond the margin. Empty where it does not.

    Args:
        difference: Log loss of the new one minus that of the running one.
        what: What they were compared on, with its number.
        running: The running one.
        margin: In nats.
    """
    if difference.high <= margin:
        return ""
    return (
        f"not shown to be no worse on {what}: log loss {difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}] "
        f"against the running {running}, expected an interval up to {margin:g}"
    )


def losses(logits: Doubles, scores: Doubles) -> Doubles:
    """Log loss of chances on scores in 0..1, in nats.

    Args:
        logits: Of the chances, float64 ``[...]``.
        scores: float64 of the same shape ``[...]``; NaN gives NaN.
    """
    found: Doubles = np.logaddexp(0.0, logits) - scores * logits
    return found
