"""Latency and robustness of a pool: measured on prompts that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from turnout.evaluate.pools.stability import MAX_PROMPTS, latency, unchanged

#: A table whose first part is of another kind than its second.
PROMPTS = [f"short {row}" for row in range(MAX_PROMPTS)] + [f"LONG {row}" for row in range(MAX_PROMPTS)]


class Seen:
    """Sends prompts with a capital letter to the large model, and keeps what it was asked."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def route(self, prompt: str) -> SimpleNamespace:
        self.prompts.append(prompt)
        return SimpleNamespace(model="large" if prompt != prompt.lower() else "small")

    def route_batch(self, prompts: Sequence[str]) -> list[SimpleNamespace]:
        return [self.route(prompt) for prompt in prompts]


def test_the_prompts_of_a_long_table_are_drawn_by_the_seed() -> None:
    first, again, other = Seen(), Seen(), Seen()
    latency(first, PROMPTS, 1)
    unchanged(again, PROMPTS, {}, 1)
    unchanged(other, PROMPTS, {}, 2)
    assert len(set(again.prompts)) == MAX_PROMPTS
    assert set(first.prompts) == set(again.prompts) != set(other.prompts)
    assert 0.4 * MAX_PROMPTS < sum(prompt.startswith("LONG") for prompt in again.prompts) < 0.6 * MAX_PROMPTS


def test_robustness_counts_the_prompts_that_a_change_reaches() -> None:
    changes = {"lower case": lambda prompt, _: prompt.lower(), "none": lambda prompt, _: prompt}
    assert unchanged(Seen(), PROMPTS, changes, 0) == {"lower case": 0.0, "none": None}
