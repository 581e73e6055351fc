"""Folds of outcomes: near-duplicates are learned from together, or left out together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def near_duplicate_key(prompt: str) -> str:
    """What near-duplicates share: the letters, without case, and nothing else but where numbers stand.

    Example:
        >>> near_duplicate_key("Add 12 and 7!") == near_duplicate_key("add 3, and 450")
        True
    """
    return re.sub(r"[\W_]+", " ", re.sub(r"\d+", "0", prompt.lower())).strip()


def groups_of(prompts: Sequence[str], most: float) -> list[str]:
    """What may not be split between learning and measuring: near-duplicates are one group, unless there are too many of them.

    Outcomes of one template predict each other better than they predict a new prompt, so what is measured across such a split is too good.
    But where one template is most of the traffic, it is what comes again: then only copies are one group.

    Args:
        prompts: The prompts.
        most: Rows of a group of near-duplicates at most.

    Returns:
        The group of each prompt.

    Example:
        >>> groups_of(["Add 1.", "Add 2.", "Add 2."], 3), groups_of(["Add 1.", "Add 2.", "Add 2."], 2)
        (['add 0', 'add 0', 'add 0'], ['Add 1.', 'Add 2.', 'Add 2.'])
    """
    keys = [near_duplicate_key(prompt) for prompt in prompts]
    size = Counter(keys)
    return [prompt if size[key] > most else key for prompt, key in zip(prompts, keys, strict=True)]


def folds_of(prompts: Sequence[str], number: int, seed: int) -> NDArray[np.int64]:
    """Fold of each prompt, the same for near-duplicates.

    Near-duplicates that are more than a fold of the prompts are spread over the folds, see :func:`groups_of`.

    Args:
        prompts: The prompts.
        number: Of folds.
        seed: Of the folds.

    Returns:
        int64 ``[prompts]``.

    Example:
        >>> folds = folds_of(["Add 1 and 2.", "Add 3 and 4.", *(f"Spell {word}" for word in "abcdefgh")], 3, 0)
        >>> bool(folds[0] == folds[1])
        True
    """
    groups = groups_of(prompts, len(prompts) / number)
    _, inverse = np.unique(np.array(groups, dtype=object), return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(int(inverse.max()) + 1) % number
    result: NDArray[np.int64] = drawn[inverse].astype(np.int64)
    return result
