"""Rules for text that an artifact may declare, as training applies them; the core applies the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from turnout.artifact.courtesy import Courtesy

#: What of a manifest's ``tokenizer`` is a rule for text.
TEXT_RULES = ("truncation", "short_prompts", "courtesy")

_MAX_WORDS, _MAX_BYTES = 3, 128
_SPACES = " \t\n\r"
#: Punctuation of sentences. Signs that carry meaning at the end of a word, as in ``C++``, ``5%`` and ``Answer:``, are not in it.
_PUNCTUATION = ".,!?;'\"…“”„‘’«»¡¿、。！？，；．"

Row = TypeVar("Row", bound=Sequence[Any])


def text_rules(tokenizer: bytes) -> dict[str, Any]:
    """What trained routers declare in their manifest's ``tokenizer``.

    Of a prompt beyond the token limit, beginning and end are read; prompts of at most three words are read without punctuation at their
    ends, in lower case; and polite phrases at the ends of any prompt are not read.

    Args:
        tokenizer: Text of the ``tokenizer.json``.
    """
    from tokenizers import Tokenizer

    courtesy = Courtesy(Tokenizer.from_buffer(tokenizer)).spec
    return {"truncation": "head_tail", "short_prompts": "plain", "courtesy": courtesy}


def plain(prompt: str) -> str:
    """A prompt of at most three words without punctuation at its ends and in lower case; any other as it is.

    Example:
        >>> plain("Hello!"), plain("What is C++?"), plain("This is four words.")
        ('hello', 'what is c++', 'This is four words.')
    """
    if len(prompt.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        return prompt
    if sum(1 for word in prompt.translate(str.maketrans(_SPACES, " " * len(_SPACES))).split(" ") if word) > _MAX_WORDS:
        return prompt
    kept = prompt.strip(_SPACES + _PUNCTUATION)
    return kept.lower() if kept else prompt


def head_tail(ids: Row, max_tokens: int) -> list[Any]:
    """The beginning and the end of a row of token ids that is longer than the limit, half of the limit each.

    Example:
        >>> head_tail([1, 2, 3, 4, 5, 6], 5), head_tail([1, 2], 5)
        ([1, 2, 3, 5, 6], [1, 2])
    """
    if len(ids) <= max_tokens:
        return list(ids)
    tail = max_tokens // 2
    return [*ids[: max_tokens - tail], *ids[len(ids) - tail :]]
