"""Near-duplicates are found, and strangers are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from turnout.data.routellm import contaminated
from turnout.evaluate.contamination import find_contamination, lexical_embeddings, write_contaminated

LONG = "A train leaves the station at noon and travels at sixty miles an hour toward a city two hundred miles away. When does it arrive?"
TRAIN = [LONG, "Write a poem about the sea in autumn.", "What is the capital of France?"]


def test_ngrams_see_through_case_and_punctuation():
    changed = LONG.upper().replace(",", "").replace("?", "!!")
    (match,) = find_contamination(
        [TRAIN], [changed, "Name three uses of copper in modern industry today please."], similarity=None
    )
    assert (match.eval_prompt, match.train_prompt, match.overlap) == (changed, LONG, 1.0)


def test_embeddings_see_a_word_changed_in_every_ngram():
    pytest.importorskip("faiss")
    changed = "The train leaves this station at noon and travels at sixty kilometers an hour toward a city two hundred miles away. When will it arrive?"
    assert find_contamination([TRAIN], [changed], overlap=0.6, similarity=None) == []
    (match,) = find_contamination([TRAIN], [changed], overlap=0.6, similarity=0.75)
    assert match.train_prompt == LONG
    assert match.similarity > 0.75


def test_short_prompts_must_match_as_a_whole():
    found = find_contamination(
        [TRAIN], ["what is the capital of france", "What is the capital of Spain?"], similarity=None
    )
    assert [match.eval_prompt for match in found] == ["what is the capital of france"]


def test_strangers_are_far_apart():
    strangers = lexical_embeddings([*TRAIN, "Explain how vaccines work.", "def f(x): return x + 1"])
    cosines = strangers @ strangers.T
    assert np.abs(cosines[~np.eye(len(cosines), dtype=bool)]).max() < 0.5
    assert np.allclose(np.diag(cosines), 1, atol=1e-5)


def test_the_file_is_routellms_and_is_read_back(tmp_path):
    found = find_contamination(
        [TRAIN], [LONG, "Quite another question about llamas and their wool in spring."], similarity=None
    )
    write_contaminated(tmp_path / "contaminated_prompts.jsonl", found)
    assert [json.loads(line) for line in (tmp_path / "contaminated_prompts.jsonl").read_text().splitlines()] == [
        {"eval_prompt": LONG}
    ]
    assert contaminated(tmp_path) == {LONG}
