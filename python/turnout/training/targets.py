"""What a gain means to a classifier and to a language model: who wins a prompt, and a score for the weak model's answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

#: Classes in the order of a classifier's logits, as RouteLLM has them.
CLASSES = ("strong", "tie", "weak")
#: A gain above these has the score 1, 2, 3 or 4, any other 5. From 4 on the weak model suffices.
_SCORE_BOUNDS = (0.75, 0.4, 0.1, -0.1)


def class_targets(gain: Doubles) -> Doubles:
    """Probabilities of :data:`CLASSES`: a gain of 0.3 is a win in three of ten and otherwise a tie; ``[prompts, 3]``.

    Example:
        >>> class_targets(np.array([1.0, 0.0, -0.25])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.75, 0.25]]
    """
    wins, losses = np.maximum(gain, 0.0), np.maximum(-gain, 0.0)
    return np.stack([wins, 1.0 - wins - losses, losses], axis=1)


def balanced_weights(targets: Doubles, weight: Doubles) -> Doubles:
    """Weight of each class so that all weigh the same in the loss, ``[classes]``; a class that never occurs weighs 0."""
    mass = (targets * weight[:, None]).sum(axis=0)
    share = mass / mass.sum()
    present = share > 0
    return np.where(present, 1.0 / np.maximum(share, 1e-12) / present.sum(), 0.0)


def scores(gain: Doubles) -> NDArray[np.int64]:
    """Scores 1 to 5 of the weak model's answer, int64 ``[prompts]``; from 4 on it suffices.

    Example:
        >>> scores(np.array([1.0, 0.5, 0.2, 0.0, -1.0])).tolist()
        [1, 2, 3, 4, 5]
    """
    bounds = np.asarray(_SCORE_BOUNDS)
    return np.asarray(1 + (gain[:, None] <= bounds).sum(axis=1), dtype=np.int64)
