"""Changes of a prompt that keep its meaning, so that a router should not mind them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

Change = Callable[[str, random.Random], str]

_WORD = re.compile(r"[A-Za-z]{4,}")


def lower_case(prompt: str, generator: random.Random) -> str:
    """All in lower case."""
    return prompt.lower()


def upper_case(prompt: str, generator: random.Random) -> str:
    """All in upper case."""
    return prompt.upper()


def whitespace(prompt: str, generator: random.Random) -> str:
    """Some spaces doubled, and blank lines around.

    Example:
        >>> whitespace("a b", random.Random(1)).split()
        ['a', 'b']
    """
    spaced = "".join("  " if character == " " and generator.random() < 0.3 else character for character in prompt)
    return f"\n{spaced} \n\n"


def typos(prompt: str, generator: random.Random) -> str:
    """Two neighboring letters swapped inside one word in twenty of four letters or more, in at least one word.

    Example:
        >>> typos("capital", random.Random(0)) != "capital"
        True
    """
    words = list(_WORD.finditer(prompt))
    if not words:
        return prompt
    chosen = {match.start() for match in words if generator.random() < 0.05} or {generator.choice(words).start()}

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        if match.start() not in chosen:
            return word
        index = generator.randrange(1, len(word) - 2)
        return word[:index] + word[index + 1] + word[index] + word[index + 2 :]

    return _WORD.sub(swap, prompt)


def polite_prefix(prompt: str, generator: random.Random) -> str:
    """A polite opening."""
    openings = (
        "Please help me with this: ",
        "Hi! Could you please answer the following? ",
        "I would be grateful for your help. ",
    )
    return generator.choice(openings) + prompt


def thanks_suffix(prompt: str, generator: random.Random) -> str:
    """Thanks at the end."""
    return prompt + "\n\nThank you!"


def answer_suffix(prompt: str, generator: random.Random) -> str:
    """Adds ``Answer:`` at the end, as benchmarks do, or removes it if it is present.

    Example:
        >>> answer_suffix("2 + 2?", random.Random(0)), answer_suffix("2 + 2?\\nAnswer:", random.Random(0))
        ('2 + 2?\\nAnswer:', '2 + 2?')
    """
    bare = prompt.rstrip()
    return bare.removesuffix("Answer:").rstrip() if bare.endswith("Answer:") else f"{bare}\nAnswer:"


#: Changes by the names to show.
CHANGES: dict[str, Change] = {
    "lower case": lower_case,
    "upper case": upper_case,
    "whitespace": whitespace,
    "typos": typos,
    "polite prefix": polite_prefix,
    "thanks": thanks_suffix,
    '"Answer:" suffix': answer_suffix,
}


def paraphrase(table: Mapping[str, str]) -> Change:
    """A change that takes the user's own paraphrases, and leaves prompts without one as they are."""
    return lambda prompt, generator: table.get(prompt, prompt)
