"""New prompts of a form from prompts that have it: halves of two put together, and questions of another table set in it.

Thousands of them teach the student what its teacher goes by, in place of a list of answers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

_OPTION = re.compile(r"\n([A-J])[.)] ?")
_SHORTEST = 5


def mixed(ids: Sequence[Ids], number: int, generator: np.random.Generator) -> list[Ids]:
    """The start of one prompt and the end of another, some tokens left out; one in five is a single prompt.

    Args:
        ids: Token ids of prompts of one form.
        number: How many to make.
        generator: Source of randomness.
    """
    found = []
    for _ in range(number):
        row, other = (ids[int(at)] for at in generator.integers(len(ids), size=2))
        if generator.random() < 0.8:
            joined = np.concatenate(
                [row[: generator.integers(len(row) + 1)], other[generator.integers(len(other) + 1) :]]
            )
            row = joined if len(joined) >= _SHORTEST else row
        kept = row[generator.random(len(row)) > 0.15 * generator.random()]
        found.append(kept if len(kept) >= _SHORTEST else row)
    return found


def bare_questions(prompts: Sequence[str], options: int, seed: int) -> list[str]:
    """Questions with at least this many lettered options, cut to as many, drawn at random, in the form of MMLU.

    Args:
        prompts: Prompts of any form.
        options: Number of options.
        seed: Of the draw.
    """
    generator = random.Random(seed)
    found = []
    for prompt in prompts:
        stem, *rest = _OPTION.split(prompt)
        texts = [text.strip() for text in rest[1::2]]
        if len(texts) >= options:
            drawn = generator.sample(texts, options)
            lines = "".join(f"{letter}. {text}\n" for letter, text in zip("ABCDEFGHIJ", drawn, strict=False))
            found.append(f"{stem}\n{lines}Answer:")
    return found
