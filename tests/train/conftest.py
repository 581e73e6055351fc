"""A WordPiece tokenizer of a few words, and a table with a known rule."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")

from turnout.data import Battles, Outcomes  # noqa: E402
from turnout.training.files import TrainingData  # noqa: E402
from turnout.training.pair import Grades, Pair  # noqa: E402

WORDS = (
    "[PAD] [UNK] add sum buys apples cost poem story write about river hard easy law cell answer : . ? , 1 2 3 4 5 a b c d ##s "
    "which is right how many each left does the of explain plainly"
).split()


@pytest.fixture(scope="session")
def tokenizer() -> object:
    model = tokenizers.models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return made


def _choice(generator: np.random.Generator, word: str) -> str:
    lines = "\n".join(f"{letter}. {generator.choice(WORDS[2:16])} {generator.choice(WORDS[2:16])}" for letter in "ABCD")
    return f"Which is {word} of the {' '.join(generator.choice(WORDS[2:12], 3))}?\n{lines}\nAnswer:"


@pytest.fixture(scope="session")
def pair() -> Pair:
    return Pair("big", "small")


@pytest.fixture(scope="session")
def data() -> TrainingData:
    """The strong model is better on prompts with "hard"; two other models have battles on poems."""
    generator = np.random.default_rng(1)
    rows: dict[str, tuple[float, float]] = {}
    while len(rows) < 160:
        hard = generator.random() < 0.5
        rows[_choice(generator, "hard" if hard else "easy")] = (1.0, 0.0 if hard else 1.0)
    scores = np.array(list(rows.values()))
    gold = Outcomes("gold", list(rows), {"big": scores[:, 0], "small": scores[:, 1]})
    poems = [f"Write a poem about the {' '.join(generator.choice(WORDS[5:12], 3))}" for _ in range(80)]
    battles = Battles(poems, ["big"] * 80, ["large"] * 80, np.full(80, 0.5))
    return TrainingData([gold], battles, Grades([], np.empty(0)), [])
