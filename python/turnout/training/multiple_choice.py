"""Multiple-choice prompts taken apart and set again in other words."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

_OPTION = re.compile(r"\n([A-J])[.)] ?")


@dataclass(frozen=True)
class Question:
    """A question with its options.

    Attributes:
        source: The prompt that it came from.
        stem: Text before the options.
        options: Text of each option.
    """

    source: str
    stem: str
    options: tuple[str, ...]


def questions(prompts: Sequence[str], options: int, seed: int) -> list[Question]:
    """Questions with at least this many lettered options, cut to as many, drawn at random."""
    generator = random.Random(seed)
    found = []
    for prompt in prompts:
        stem, *rest = _OPTION.split(prompt)
        texts = [text.strip() for text in rest[1::2]]
        if len(texts) >= options:
            found.append(Question(prompt, stem, tuple(generator.sample(texts, options))))
    return found


def bare(question: Question) -> str:
    """The form of MMLU: lettered lines and ``Answer:``, no instruction."""
    return question.stem + _lines(question, "{letter}. {option}\n") + "Answer:"


def instructed(question: Question, form: int) -> str:
    """One of a few forms that say what to do; the choice expert has no say in these."""
    forms = (
        "Answer the following multiple choice question.\n\nQuestion: {stem}\n\nOptions:{dots}"
        "Give the letter of the correct option and explain briefly.",
        "Here is a question with several choices. Choose the best one.\n{stem}{brackets}",
        "Context: None\nQuestion: {stem}\nOptions:{dots}Provide the correct choice.",
        "{stem}{numbers}Which one is right? Think step by step.",
    )
    return forms[form % len(forms)].format(
        stem=question.stem,
        dots=_lines(question, "{letter}. {option}\n"),
        brackets=_lines(question, "({letter}) {option}\n"),
        numbers=_lines(question, "{number}. {option}\n"),
    )


def _lines(question: Question, form: str) -> str:
    return "\n" + "".join(
        form.format(letter="ABCDEFGHIJ"[place], number=place + 1, option=option)
        for place, option in enumerate(question.options)
    )
