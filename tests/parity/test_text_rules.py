"""What an artifact declares about short and long prompts: the core, the reference and training read the same tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import turnout
from turnout.artifact.courtesy import Courtesy
from turnout.artifact.text_rules import head_tail, plain
from turnout.reference.mf import ReferenceRouter

WORDS = [
    "Hello",
    "hello!",
    "what is",
    "ÉCOLE",
    "İstanbul",
    "ΣΑΣ",
    "ß",
    "C++",
    "«oui»",
    "中文",
    "ok…",
    "?!",
    "",
    "\u2028",
    "\x1f",
]
SHORT = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(st.sampled_from([*WORDS, *" \t\n\r.,!'\"：．"]), max_size=6).map("".join),
)


@pytest.fixture(scope="module")
def ruled(make_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny artifact with both rules and a limit of nine tokens."""
    folder: Path = make_tiny.write(tmp_path_factory.mktemp("artifacts") / "ruled")
    _declare(folder, max_tokens=9, truncation="head_tail", short_prompts="plain")
    return folder


@pytest.fixture(scope="module")
def ruled_network(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the fixtures with both rules."""
    folder = Path(shutil.copytree(network, tmp_path_factory.mktemp("artifacts") / "network"))
    _declare(folder, truncation="head_tail", short_prompts="plain")
    return folder


def _declare(folder: Path, **rules: Any) -> None:
    manifest = json.loads((folder / "router.json").read_text())
    manifest["format_version"] = 2
    manifest["tokenizer"] |= rules
    (folder / "router.json").write_text(json.dumps(manifest))


@given(SHORT)
def test_short_prompts_are_read_as_the_reference_reads_them(prompt: str) -> None:
    assert _ruled_mf().explain(prompt).ids == _reference_mf().ids(prompt)
    assert _reference_mf().ids(plain(prompt)) == _reference_mf().ids(prompt)


PARTS = st.lists(
    st.sampled_from(
        [
            "Please",
            "help me with this",
            ":",
            "Hi!",
            "could you",
            "sum two",
            "请",
            "谢谢",
            "thank you",
            "Answer:",
            "?",
            '"',
        ]
    )
)


@given(PARTS.map(" ".join))
def test_polite_phrases_are_left_out_as_the_reference_and_training_leave_them_out(prompt: str) -> None:
    ids = _ruled_mf().explain(prompt).ids if prompt.strip() else []
    assert ids == (_reference_mf().ids(prompt) if prompt.strip() else [])
    tokenizer = _reference_mf().tokenizer
    if "courtesy" not in _CACHE:
        _CACHE["courtesy"] = Courtesy(tokenizer)
    assert ids == _CACHE["courtesy"].trim(tokenizer.encode(plain(prompt), add_special_tokens=False).ids)


def test_polite_phrases_change_no_decision() -> None:
    router = turnout.load()
    for bare in (
        "How do I prove that the square root of 2 is irrational",
        "如何证明根号2是无理数",
        "Erkläre mir den Satz von Bayes",
    ):
        for written in (
            "Please help me with this: {}",
            "Hi! Could you please answer the following? {}",
            "{}\n\nThank you!",
            "{}\nAnswer:",
            '"{}"',
            "**{}**",
        ):
            assert router.win_rate(written.format(bare)) == router.win_rate(bare), written
    assert router.win_rate("Could you help me?") != router.win_rate("Hello")


_CACHE: dict[str, Any] = {}


def _ruled_mf() -> turnout.Router:
    return _CACHE.setdefault("mf", turnout.load())  # type: ignore[no-any-return]


def _reference_mf() -> ReferenceRouter:
    return _CACHE.setdefault("reference", ReferenceRouter(turnout.load().path))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["mf", "network"])
def test_case_and_punctuation_of_a_short_prompt_change_nothing(name: str, ruled_network: Path) -> None:
    router = turnout.load(ruled_network if name == "network" else name)
    for prompts in (
        ["hello", "hello!", "Hello", " HELLO... "],
        ["Thank you", "thank you!", "“Thank you.”"],
        ["ok", "OK?"],
    ):
        assert len({router.route(prompt).win_rate for prompt in prompts}) == 1
        assert len(set(router.win_rates(prompts).tolist())) == 1
    assert router.win_rate("C++") != router.win_rate("C")


def test_imported_and_older_artifacts_read_prompts_as_they_are(artifact: Path) -> None:
    router = turnout.load(artifact)
    assert router.manifest["format_version"] == 1
    assert router.explain("what is!").tokens == ["what", "is", "!"]
    long = "what is the sum " * 100
    assert router.explain(long).ids == router.explain(long + "prove it").ids


def test_the_end_of_a_long_prompt_is_read(ruled: Path) -> None:
    router, reference = turnout.load(ruled), ReferenceRouter(ruled)
    for middle in ("sum two even ", "中文", "x" * 300, "a\u0301 "):
        for repeat in (0, 1, 50, 20_000):
            prompt = "what is the numbers " + middle * repeat + " prove in python code"
            ids = router.explain(prompt).ids
            assert ids == reference.ids(prompt)
            assert len(ids) <= 9
    tokens = router.explain("what is the numbers " + "sum " * 1000 + " prove in python code").tokens
    assert tokens == ["what", "is", "the", "numbers", "sum", "prove", "in", "python", "code"]


@pytest.mark.parametrize("name", ["mf", "network"])
def test_a_question_counts_before_and_after_a_document(name: str, ruled_network: Path) -> None:
    router = turnout.load(ruled_network if name == "network" else name)
    document = "The committee met on Tuesday and approved the budget of the previous year. " * 200
    questions = ["Prove that the series of reciprocals of the primes diverges.", "What is the capital of France?"]
    after = [router.win_rate(f"{document}\n\n{question}") for question in questions]
    before = [router.win_rate(f"{question}\n\n{document}") for question in questions]
    assert after[0] != after[1]
    assert before[0] != before[1]


@given(st.lists(st.integers(0, 99), max_size=40), st.integers(1, 20))
def test_the_kept_ids_are_the_first_and_the_last(ids: list[int], limit: int) -> None:
    kept = head_tail(ids, limit)
    assert len(kept) == min(len(ids), limit)
    half = limit - limit // 2
    assert kept[:half] == ids[:half]
    if limit > 1 and ids:
        assert kept[-1] == ids[-1]
