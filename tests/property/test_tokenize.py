"""Ids of the router equal those of Python's ``tokenizers`` for any text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import turnout
from turnout.reference.mf import ReferenceRouter

ODD = [
    "\u0085", "\u2028", "\u3000", "\u200b", "\ufeff", "\x00", "\x7f", "\ufffd", "\u00ad", "\u0301", "\u0323", "\u0344", "İ", "ß",
    "ﬃ", "ŉ", "Σ", "é", "e\u0301", "한", "\u1112\u1161\u11ab", "中", "文", "𝒳", "😀", "ａ", "！", "ำ", "\u094d", "[SEP]", "[UNK]",
    "[CLS", "##ing", "x" * 99, "x" * 100, "x" * 101, "é" * 100, "İ" * 100, "ﬃ" * 34, "\u1d15e", "\U0010ffff", "\t", "\r\n",
]  # fmt: skip
FRAGMENTS = st.one_of(
    st.sampled_from(ODD),
    st.sampled_from(["what", "is", "Prove", "the sum", "unprovable", "CAFÉ", "python", " ", "  ", "\n"]),
    st.text(max_size=6),
    st.text(st.characters(max_codepoint=127), max_size=12),
    st.text(st.characters(categories=["Mn", "Mc", "Me", "Lm", "Cf", "Zs", "Pd", "So"]), max_size=3),
)
TEXTS = st.lists(FRAGMENTS, max_size=20).map("".join) | st.text(max_size=200)


@pytest.fixture(scope="module")
def pairs(make_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[turnout.Router, ReferenceRouter]]:
    """Routers beside references: with and without special tokens, with a long and a short limit."""
    folders: list[Path] = [
        make_tiny.write(tmp_path_factory.mktemp("artifacts") / "artifact", post_processor=processor, max_tokens=limit)
        for processor, limit in [(None, 64), (make_tiny.CLS_SEP, 64), (make_tiny.CLS_SEP, 5)]
    ]
    return [(turnout.load(folder), ReferenceRouter(folder)) for folder in folders]


@given(text=TEXTS)
@example(text="")
@example(text="x" * 100 + "\u0301")
@example(text="\u0301" * 200)
@example(text="a [SEP]" * 100)
def test_ids_of_any_text_equal_those_of_tokenizers(
    pairs: list[tuple[turnout.Router, ReferenceRouter]], text: str
) -> None:
    for router, reference in pairs:
        explanation = router.explain(text)
        assert explanation.ids == reference.ids(text)
        assert reference.tokenizer is not None
        assert explanation.tokens == [reference.tokenizer.id_to_token(token) for token in explanation.ids]


@given(unit=TEXTS, times=st.integers(1, 2000), end=TEXTS)
def test_ids_of_long_texts_equal_those_of_tokenizers(
    pairs: list[tuple[turnout.Router, ReferenceRouter]], unit: str, times: int, end: str
) -> None:
    text = unit[:50] * times + end
    for router, reference in pairs:
        assert router.explain(text).ids == reference.ids(text)
