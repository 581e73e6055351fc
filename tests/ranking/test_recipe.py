"""The battles of the shipped `sw_ranking`: which outcomes are battles, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from recipes.graded.near_duplicates import NearDuplicates
from recipes.sw_ranking.battles import (
    SIMILAR,
    BattleConfig,
    Fight,
    Source,
    as_battles,
    balanced,
    class_of,
    drawn,
    implied,
)

from turnout.data import Outcomes

STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (STRONG, "strong"), ("meta-llama-3-70b-instruct", "strong"), ("o3-mini", "strong"),
        (WEAK, "weak"), ("gpt-4o-mini-2024-07-18", "weak"), ("llama-3.1-8b-instruct", "weak"), ("llama-2-70b-chat", "weak"),
        ("opt-7b", None), ("dpr-fid", None),
    ],
)  # fmt: skip
def test_models_belong_to_classes_by_name(model: str, expected: str | None) -> None:
    assert class_of(model) == expected


def test_one_right_answer_is_a_win_two_are_a_tie_and_none_is_no_battle() -> None:
    prompts = ["won", "lost", "both right", "both wrong", "unknown", "half right"]
    scores = {
        STRONG: np.array([1, 0, 1, 0, 1, 0.5]),
        WEAK: np.array([0, 1, 1, 0, np.nan, 0]),
        "dpr-fid": np.zeros(6),
    }
    (source,) = implied(Outcomes("exam", prompts, scores))
    assert source.name == "exam"
    fights = [fight for prompt in source.prompts for fight in source.fights(prompt)]
    assert [(fight.prompt, fight.outcome) for fight in fights] == [("won", 1.0), ("lost", 0.0), ("both right", 0.5)]


@pytest.mark.parametrize("wins", [90, 20])
def test_the_strong_models_win_the_same_share_of_every_source(wins: int) -> None:
    fights = [Fight(f"prompt {n}", STRONG, WEAK, 1.0 if n < wins else 0.5 if n < wins + 5 else 0.0) for n in range(100)]
    left = balanced(fights, 0.6, np.random.default_rng(0))
    assert set(left) < set(fights)
    assert np.mean([fight.outcome for fight in left]) == pytest.approx(0.6, abs=0.03)


def test_held_out_prompts_and_those_nearly_like_them_have_no_battles() -> None:
    held_out = "What is the boiling point of water at sea level, in degrees Celsius?"
    seen = NearDuplicates(SIMILAR)
    seen.add(held_out)
    near = held_out.replace("What is", "what's").upper()
    other = "Name three rivers of Europe that end in the Black Sea."

    def fights(prompt: str) -> list[Fight]:
        return [Fight(prompt, STRONG, WEAK, outcome) for outcome in (1.0, 0.5, 0.0)]

    source = Source("exam", [held_out, near, other, "short"], fights)
    config = BattleConfig(per_prompt=2, strong_share=0.5)
    found = drawn(source, 10, config, {near, other, "short"}, seen, np.random.default_rng(0))
    assert {fight.prompt for fight in found} == {other}
    assert len(found) <= 2


def test_models_of_a_class_stand_in_for_the_pair() -> None:
    fights = [Fight("first", STRONG, "gpt-3.5-turbo", 1.0), Fight("second", "gpt-4o", WEAK, 1.0)]
    battles = as_battles(fights, STRONG, WEAK)
    assert battles.model_a == [STRONG, WEAK]
    assert battles.model_b == [WEAK, STRONG]
    assert battles.outcome.tolist() == [1.0, 0.0]
