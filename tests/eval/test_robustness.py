"""Changes that keep the meaning, flips, and the greedy attack."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.evaluate.attack import find_attack, vocabulary
from turnout.evaluate.perturb import CHANGES, typos, whitespace
from turnout.evaluate.robustness import measure, read_paraphrases


class Trigger:
    """Routes to the strong model where the prompt says so."""

    strong, weak, threshold, is_microseconds = "big", "small", 0.5, True

    def win_rates(self, prompts):
        return np.array([0.9 if "zebra" in p else 0.1 + 0.1 * p.isupper() + 0.01 * p.count("ze") for p in prompts])


@given(st.text(max_size=200), st.integers(0, 1000))
@settings(deadline=None)
def test_changes_keep_what_they_should(prompt, seed):
    generator = random.Random(seed)
    assert whitespace(prompt, generator).split() == prompt.split()
    assert sorted(typos(prompt, random.Random(seed))) == sorted(prompt)
    for change in CHANGES.values():
        assert change(prompt, random.Random(seed)) == change(prompt, random.Random(seed))


def test_a_router_blind_to_a_change_never_flips():
    found = measure(Trigger(), ["what is this", "prove that zebra"] * 20, 0.5, attack_words=0)
    flips = {one.change: one for one in found.changes}
    assert flips["whitespace"].flips == 0
    assert flips["whitespace"].high < 0.1
    assert flips["upper case"].to_weak == pytest.approx(0.5)
    assert flips["upper case"].to_strong == 0


def test_the_attack_finds_the_word_that_opens_the_door():
    prompts = [f"ordinary question {row}" for row in range(40)]
    words = ["the", "zeal", "zebra", "and", "of"]
    attack = find_attack(Trigger(), prompts, 0.5, "prefix", words=words, length=3)
    assert attack.text == "zebra"
    assert attack.applied("why?") == "zebra why?"


def test_damage_is_measured_on_prompts_that_were_not_searched():
    prompts = ["a zebra question", *(f"ordinary question {row}" for row in range(39))]
    outcomes = (np.ones(40), np.zeros(40))
    found = measure(Trigger(), prompts, 0.5, outcomes=outcomes)
    assert {one.place for one in found.attacks} == {"prefix", "suffix"}
    for damage in found.attacks:
        assert damage.prompts == 20
        assert damage.share_after == damage.quality_after
        # Only words of the prompts are known here, and zebra is one of them.
        assert damage.share_after == 1
        assert "zebra" in damage.text


def test_the_vocabulary_is_the_tokenizers(tiny):
    words = vocabulary(tiny, [])
    assert "prove" in words
    assert not any(word.startswith("##") or word == "[CLS]" for word in words)
    assert len(vocabulary(tiny, [], limit=10)) == 10


def test_paraphrases_are_read_and_used(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("prompt,paraphrase\nwhat is this,which zebra is this\n")
    table = read_paraphrases(file)
    found = measure(Trigger(), ["what is this", "no paraphrase"], 0.5, paraphrases=table, attack_words=0)
    own = {one.change: one for one in found.changes}["your paraphrases"]
    assert (own.prompts, own.flips, own.to_strong) == (1, 1.0, 1.0)
