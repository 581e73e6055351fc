"""Any text is routed, or refused with a ``RouterError``."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import turnout

# Lone surrogates included, which `st.text()` leaves out.
ANYTHING = st.text(st.characters(categories=None) | st.characters(categories=["Cs", "Cc", "Mn", "Zs", "Lo"]))


def _has_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@given(text=ANYTHING)
def test_any_text_routes_or_is_refused(router: turnout.Router, text: str) -> None:
    try:
        decision = router.route(text)
    except turnout.InvalidInputError:
        assert not _has_utf8(text)
    else:
        assert _has_utf8(text)
        assert 0.0 <= decision.win_rate <= 1.0
        assert decision.is_strong == (decision.win_rate >= decision.threshold)
        assert decision.model == (router.strong if decision.is_strong else router.weak)


@given(texts=st.lists(st.text(), max_size=20), threshold=st.floats(0.0, 1.0))
def test_any_batch_equals_its_prompts(router: turnout.Router, texts: list[str], threshold: float) -> None:
    decisions = router.route_batch(texts, threshold=threshold)
    assert decisions == [router.route(text, threshold=threshold) for text in texts]
    assert router.win_rates(texts).tolist() == [decision.win_rate for decision in decisions]


@given(threshold=st.floats() | st.integers(-3, 3))
def test_any_threshold_is_applied_or_refused(router: turnout.Router, threshold: float) -> None:
    try:
        decision = router.route("what is the sum", threshold=threshold)
    except turnout.InvalidInputError:
        assert not 0 <= threshold <= 1
    else:
        assert decision.threshold == threshold
        assert decision.is_strong == (decision.win_rate >= threshold)


@given(text=st.text(), low=st.floats(0.0, 1.0), high=st.floats(0.0, 1.0))
def test_a_higher_threshold_never_chooses_the_strong_model_more_often(
    router: turnout.Router, text: str, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    assert router.route(text, threshold=low).is_strong >= router.route(text, threshold=high).is_strong


@given(numbers=st.lists(st.floats(width=32), min_size=12, max_size=12))
def test_any_embedding_routes_or_is_refused(router: turnout.Router, numbers: list[float]) -> None:
    embedding = np.array(numbers, np.float32)
    try:
        win_rate = router.win_rate(embedding=embedding)
    except turnout.InvalidInputError:
        assert not np.isfinite(embedding).all()
    except turnout.InferenceError:
        assert np.abs(embedding).max() > 1e30
    else:
        assert np.isfinite(embedding).all()
        assert 0.0 <= win_rate <= 1.0


@given(text=ANYTHING, pieces=st.lists(ANYTHING, max_size=3))
def test_every_method_agrees_on_what_is_a_prompt(router: turnout.Router, text: str, pieces: list[str]) -> None:
    def outcome(call: object) -> str:
        try:
            call()  # type: ignore[operator]
        except turnout.RouterError as error:
            return type(error).__name__
        return "routed"

    methods = [router.route, router.win_rate, router.embed, router.model_scores, router.explain]
    assert len({outcome(lambda method=method: method(text)) for method in methods}) == 1
    batch = [*pieces, text]
    expected = "routed" if all(map(_has_utf8, batch)) else "InvalidInputError"
    assert outcome(lambda: router.route_batch(batch)) == outcome(lambda: router.win_rates(batch)) == expected
