"""Token ids of prompts, and the counting columns of tokens: how many digits, question marks or option letters a prompt has."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnout.artifact.courtesy import Courtesy
from turnout.artifact.text_rules import head_tail, plain

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]

_DIGITS = re.compile(r"(##)?\d+")


def _words(text: str) -> Callable[[str], bool]:
    words = frozenset(text.split())
    return lambda token: token in words


#: Name of a counting column and whether a token counts in it.
COUNTS: dict[str, Callable[[str], bool]] = {
    "tokens": lambda token: True,
    "digits": lambda token: _DIGITS.fullmatch(token) is not None,
    "math": _words("+ - * / = < > ^ $ \\ | % ∑ √ π × ÷ ± ≤ ≥ ∞ ∫ frac sqrt ² ³ ½"),
    "code": _words(
        "{ } [ ] _ # ` ; & @ ~ def return import print python function code int str assert list array string algorithm sql "
        "html java ##script"
    ),
    "questions": _words("?"),
    "options": _words("a b c d e f g h i j"),
    "answer": _words("answer answers"),
    "continuations": lambda token: token.startswith("##") and _DIGITS.fullmatch(token) is None,
    "commas": _words(","),
    "stops": _words(". ! :"),
    "number words": _words(
        "one two three four five six seven eight nine ten eleven twelve twenty thirty fifty hundred thousand million half third "
        "quarter twice double triple"
    ),
    "arithmetic": _words(
        "each per total more than times many much every left remaining percent % $ cost costs price altogether how twice half if "
        "after then rest average sum difference"
    ),
    "negations": _words("not no never except least false incorrect none neither nor cannot without"),
    "requests": _words(
        "you your my me i we our us write explain describe create imagine please give tell list compose draft suggest story "
        "email blog poem essay"
    ),
}


def count_table(tokens: Sequence[str]) -> Floats:
    """Counting columns of every token: float32 ``[vocabulary, len(COUNTS)]`` of zeros and ones.

    Special tokens such as ``[UNK]`` count towards the length alone.
    """
    table = np.zeros((len(tokens), len(COUNTS)), dtype=np.float32)
    for row, token in enumerate(tokens):
        special = len(token) > 2 and token.startswith("[") and token.endswith("]")
        for column, (name, counts) in enumerate(COUNTS.items()):
            table[row, column] = name == "tokens" if special else counts(token)
    return table


def encode(tokenizer: Tokenizer, prompts: Sequence[str], max_tokens: int) -> list[Ids]:
    """Token ids without special tokens, as the artifact's rules for text have them; int32, one array a prompt."""
    encodings = tokenizer.encode_batch([plain(prompt) for prompt in prompts], add_special_tokens=False)
    courtesy = Courtesy(tokenizer)
    rows = (courtesy.trim(head_tail(encoding.ids, max_tokens)) for encoding in encodings)
    return [np.array(row, dtype=np.int32) for row in rows]
