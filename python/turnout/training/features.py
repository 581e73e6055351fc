"""From token ids to what the router sees: a mean over table rows and logarithms of counts.

``x = concat(mean(token_rows[ids]), log1p(counts))`` with ``counts = sum(count_table[ids])``. The mean forgets how long a prompt
is; the counts bring it back, and with it how many digits, question marks or option letters there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from turnout.artifact.text_rules import head_tail, plain

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
#: Sparse float32 ``[prompts, vocabulary]``.
Bags = Any

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
LENGTH = list(COUNTS).index("tokens")


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Tokens in the order of their ids."""
    tokens = [""] * tokenizer.get_vocab_size()
    for token, place in tokenizer.get_vocab().items():
        tokens[place] = token
    return tokens


def count_table(tokens: Sequence[str]) -> Floats:
    """Counting columns of every token: float32 ``[vocabulary, len(COUNTS)]`` of zeros and ones.

    Special tokens such as ``[UNK]`` count towards the length alone.
    """
    table = np.zeros((len(tokens), len(COUNTS)), dtype=np.float32)
    for place, token in enumerate(tokens):
        special = len(token) > 2 and token.startswith("[") and token.endswith("]")
        for column, (name, counts) in enumerate(COUNTS.items()):
            table[place, column] = name == "tokens" if special else counts(token)
    return table


def encode(tokenizer: Tokenizer, prompts: Sequence[str], max_tokens: int) -> list[Ids]:
    """Token ids without special tokens, as the artifact's rules for short and long prompts have them; int32, one array a prompt."""
    encodings = tokenizer.encode_batch([plain(prompt) for prompt in prompts], add_special_tokens=False)
    return [np.array(head_tail(encoding.ids, max_tokens), dtype=np.int32) for encoding in encodings]


def bags(ids: Sequence[Ids], size: int) -> Bags:
    """How often each token occurs: sparse float32 ``[prompts, size]``."""
    ends = np.cumsum([0, *(len(row) for row in ids)])
    flat = np.concatenate(ids) if len(ids) else np.empty(0, dtype=np.int32)
    counted = sp.csr_matrix((np.ones(len(flat), dtype=np.float32), flat, ends), shape=(len(ids), size))
    counted.sum_duplicates()
    return counted


def mean_bags(counted: Bags) -> Bags:
    """Rows of :func:`bags` divided by the number of tokens; a prompt without tokens stays zero."""
    lengths = np.asarray(counted.sum(axis=1)).ravel()
    return (sp.diags((1.0 / np.maximum(lengths, 1.0)).astype(np.float32)) @ counted).tocsr()


def inverse_frequency(counted: Bags) -> Floats:
    """``ln(prompts / (1 + prompts with the token))``, float32 ``[vocabulary]``, never below zero."""
    prompts_with = np.asarray((counted > 0).sum(axis=0)).ravel()
    return np.maximum(np.log(counted.shape[0] / (1.0 + prompts_with)), 0.0).astype(np.float32)


def inputs(ids: Sequence[Ids], token_rows: Floats, counts: Floats) -> Floats:
    """Inputs of the network: float32 ``[prompts, width + counting columns]``."""
    counted = bags(ids, len(token_rows))
    return np.hstack([mean_bags(counted) @ token_rows, np.log1p(counted @ counts)]).astype(np.float32)
