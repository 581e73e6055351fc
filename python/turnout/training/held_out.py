"""Which rows are held out: all of a prompt or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turnout.errors import ConfigError


def split_by_prompt(
    prompts: Sequence[str], fraction: float, seed: int, rows: str = "prompts"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the rows to train on and of those to hold out.

    Args:
        prompts: The prompt of each row.
        fraction: Share of the prompts to hold out.
        seed: Seed of the draw.
        rows: What a row is, for the message.

    Returns:
        Both in ascending order, int64.

    Raises:
        ConfigError: One of the two would be empty.

    Example:
        >>> train, held = split_by_prompt(["a", "b", "a", "c"], fraction=0.5, seed=0)
        >>> bool(set(train) & set(held))
        False
    """
    generator = np.random.default_rng(seed)
    held_prompts = {prompt for prompt in sorted(set(prompts)) if generator.random() < fraction}
    held = np.array([prompt in held_prompts for prompt in prompts], dtype=bool)
    if held.all() or not held.any():
        raise ConfigError(f"{(~held).sum()} {rows} to train on and {held.sum()} to hold out, expected some of each")
    return np.flatnonzero(~held), np.flatnonzero(held)
