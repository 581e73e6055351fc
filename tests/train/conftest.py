"""A small world: a word-piece tokenizer of a few words, a teacher that needs no weights, tables with a known rule."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
tokenizers = pytest.importorskip("tokenizers")

from turnout.data import Battles, Outcomes  # noqa: E402
from turnout.training.config import ExpertConfig, MfConfig, Slice  # noqa: E402

WORDS = (
    "[PAD] [UNK] add sum buys apples cost poem story write about river hard easy law cell answer : . ? , 1 2 3 4 5 a b c d ##s "
    "which is right how many each left does the of explain plainly"
).split()


@pytest.fixture(scope="session")
def tokenizer() -> object:
    model = tokenizers.models.WordPiece({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return made


class BagTeacher:
    """Embeds a prompt as its bag of tokens, times a fixed random matrix."""

    def __init__(self, tokenizer: object) -> None:
        self._tokenizer = tokenizer
        self.word_embeddings = np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)

    def embed(self, prompts: list[str], progress: object = None) -> np.ndarray:
        rows = [self.word_embeddings[self._tokenizer.encode(prompt).ids or [0]].mean(axis=0) for prompt in prompts]
        found = np.stack(rows)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def teacher(tokenizer: object) -> BagTeacher:
    return BagTeacher(tokenizer)


def _choice(generator: np.random.Generator, word: str) -> str:
    lines = "\n".join(f"{letter}. {generator.choice(WORDS[2:16])} {generator.choice(WORDS[2:16])}" for letter in "ABCD")
    return f"Which is {word} of the {' '.join(generator.choice(WORDS[2:12], 3))}?\n{lines}\nAnswer:"


@pytest.fixture(scope="session")
def tables() -> list[Outcomes]:
    """In ``gold`` the strong model is better on prompts with "hard"; in ``aux`` weak models fail on them; sums are hard too."""
    generator = np.random.default_rng(1)
    made = []
    for name, models in (("gold", ("big", "small")), ("aux", ("large", "middle"))):
        rows: dict[str, tuple[float, float]] = {}
        while len(rows) < 160:
            hard = generator.random() < 0.5
            rows[_choice(generator, "hard" if hard else "easy")] = (1.0, 0.0 if hard else 1.0)
        scores = np.array(list(rows.values()))
        categories = ["maths" if place % 2 else "law" for place in range(len(rows))]
        made.append(Outcomes(name, list(rows), {m: scores[:, i] for i, m in enumerate(models)}, categories))
    rows = {}
    while len(rows) < 60:
        long = generator.random() < 0.5
        rows[f"How many apples does a b buys? {' '.join(generator.choice(WORDS[19:25], 12 if long else 4))}"] = (
            1.0,
            not long,
        )
    scores = np.array(list(rows.values()), dtype=float)
    made.append(Outcomes("tasks", list(rows), {"large": scores[:, 0], "middle": scores[:, 1]}, ["sums"] * len(rows)))
    return made


@pytest.fixture(scope="session")
def battles() -> Battles:
    generator = np.random.default_rng(2)
    prompts = [f"Write a poem about the {' '.join(generator.choice(WORDS[5:12], 3))}" for _ in range(80)]
    return Battles(prompts, ["big"] * 80, ["large"] * 80, np.full(80, 0.5))


@pytest.fixture(scope="session")
def config() -> MfConfig:
    """The recipe at toy size."""
    return MfConfig(
        strong="big",
        weak="small",
        strong_stand_ins=("large",),
        weak_stand_ins=("middle",),
        choice=ExpertConfig(
            Slice("gold"), ("big",), ("small",), bag_weight=2.0, difficulty_weight=0.5, mean=0.1, spread=0.1, mixed=200
        ),
        word=ExpertConfig(
            Slice("tasks", ("sums",)), ("large",), ("middle",), bag_weight=1.5, length_weight=0.5, mean=0.4, mixed=100
        ),
        difficulties=(Slice("aux", ("*",), ("middle",)),),
        calculation=Slice("aux", ("maths",)),
        fragments=20,
        components=4,
        hidden=8,
        members=2,
        steps=500,
        batch=128,
        factors=4,
        factor_steps=50,
        min_battles=10,
        max_tokens=64,
    )
