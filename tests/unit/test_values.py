"""Decisions, explanations and routers as values: frozen, equal, hashed, printed, matched, pickled."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import turnout


def test_decisions_are_equal_where_all_they_say_is(router: turnout.Router) -> None:
    one, same = router.route("what is"), router.route("what is")
    assert one is not same
    assert one == same
    assert hash(one) == hash(same)
    others = [
        router.route("the sum"),
        router.route("what is", threshold=0.25),
        turnout.Decision("other", one.win_rate, one.threshold),
    ]
    for other in others:
        assert one != other
        assert other != one
    assert len({one, same, *others}) == 4
    for stranger in (None, 5, "x", (one.model, one.win_rate, one.threshold)):
        assert one != stranger
    with pytest.raises(TypeError):
        sorted([one, same])


def test_a_decision_is_printed_with_its_parts(router: turnout.Router) -> None:
    decision = router.route("what is", threshold=0.25)
    assert repr(decision) == f"Decision(model={decision.model!r}, win_rate={decision.win_rate:.4f}, threshold=0.25)"
    assert str(decision) == repr(decision)


def test_a_decision_is_matched_by_its_parts(router: turnout.Router) -> None:
    match router.route("what is", threshold=0.0):
        case turnout.Decision(model, win_rate, threshold):
            assert (model, threshold) == (router.strong, 0.0)
            assert win_rate == router.win_rate("what is")
        case _:
            raise AssertionError
    match router.route("what is", threshold=1.0):
        case turnout.Decision(is_strong=True):
            raise AssertionError
        case turnout.Decision(model=model):
            assert model == router.weak


@pytest.mark.parametrize("name", ["model", "win_rate", "threshold", "is_strong", "anything"])
def test_a_decision_is_frozen(router: turnout.Router, name: str) -> None:
    decision = router.route("what is")
    with pytest.raises(AttributeError):
        setattr(decision, name, 1)
    with pytest.raises(AttributeError):
        delattr(decision, name)


def test_an_explanation_is_frozen_and_its_lists_are_copies(router: turnout.Router) -> None:
    explanation = router.explain("what is the sum")
    names = [name for name, _ in inspect.getmembers(type(explanation)) if not name.startswith("_")]
    assert len(names) == 14
    for name in names:
        with pytest.raises(AttributeError):
            setattr(explanation, name, None)
    explanation.ids.clear()
    explanation.tokens.append("x")
    assert explanation.ids == router.explain("what is the sum").ids
    assert explanation.tokens == ["what", "is", "the", "sum"]
    assert repr(explanation).startswith("Explanation(Decision(model=")


@pytest.mark.parametrize(
    "name", ["strong", "weak", "threshold", "engine", "device", "models", "artifact_hash", "manifest", "path"]
)
def test_a_router_is_frozen(router: turnout.Router, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(router, name, "x")


def test_a_router_is_printed_with_its_options(router: turnout.Router) -> None:
    expected = (
        "Router('tiny', strong='gpt-4-1106-preview', weak='mixtral-8x7b-instruct-v0.1', threshold=0.5, "
        "engine='native', device='cpu')"
    )
    assert repr(router) == expected


def test_decisions_survive_pickling_and_copying(router: turnout.Router) -> None:
    decisions = [router.route(prompt, threshold=0.3) for prompt in ("", "what is", "prove it")]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(decisions, protocol)) == decisions
    for copied in (copy.copy(decisions[0]), copy.deepcopy(decisions[0])):
        assert copied == decisions[0]
        assert copied.is_strong == decisions[0].is_strong


def test_a_made_decision_follows_the_rule() -> None:
    assert turnout.Decision("m", 0.5, 0.5).is_strong
    assert not turnout.Decision("m", 0.25, 0.5).is_strong


def test_routers_survive_pickling_and_copying_by_path(artifact: Path, prompts: list[str]) -> None:
    options: dict[str, Any] = {"strong": "x", "weak": "mixtral-8x7b-instruct-v0.1", "threshold": 0.3, "threads": 2}
    router = turnout.load(artifact, **options)
    pickled = pickle.dumps(router)
    assert len(pickled) < 1000, "weights were pickled"
    for other in (pickle.loads(pickled), copy.copy(router), copy.deepcopy(router)):
        assert type(other) is turnout.Router
        assert (other.strong, other.weak, other.threshold) == ("x", "mixtral-8x7b-instruct-v0.1", 0.3)
        assert other.artifact_hash == router.artifact_hash
        assert other.route_batch(prompts) == router.route_batch(prompts)
    other_engine = pickle.loads(pickle.dumps(turnout.load(artifact, engine="onnxruntime")))
    assert other_engine.engine == "onnxruntime"


def test_a_subclass_of_the_router_survives_pickling(artifact: Path) -> None:
    router = _Counting(artifact)
    copied = pickle.loads(pickle.dumps(router))
    assert type(copied) is _Counting
    assert copied.route("a") == router.route("a")


class _Counting(turnout.Router):
    pass


def test_unpickling_without_the_folder_names_it(make_tiny: Any, tmp_path: Path) -> None:
    folder = make_tiny.write(tmp_path / "gone")
    pickled = pickle.dumps(turnout.load(folder))
    (folder / "router.json").unlink()
    with pytest.raises(turnout.ArtifactError, match=r"gone/router\.json"):
        pickle.loads(pickled)


def test_a_router_of_a_relative_path_survives_pickling_into_another_directory(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artifact.parent)
    router = turnout.load("tiny")
    pickled = pickle.dumps(router)
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickled).artifact_hash == router.artifact_hash


def test_a_decision_is_a_dictionary_of_json_values(router: turnout.Router) -> None:
    decision = router.route("what is", threshold=0.25)
    assert json.loads(json.dumps(decision.to_dict())) == {
        "model": decision.model,
        "win_rate": decision.win_rate,
        "threshold": 0.25,
        "is_strong": decision.is_strong,
    }


def test_the_options_in_use_open_an_equal_router(artifact: Path, prompts: list[str]) -> None:
    router = turnout.load(artifact, strong="x", threshold=0.3, threads=2, max_queue=8)
    options = router.options()
    assert (options["strong"], options["threshold"], options["threads"], options["max_queue"]) == ("x", 0.3, 2, 8)
    again = turnout.load(router.path, **options)
    assert again.options() == options
    assert again.route_batch(prompts) == router.route_batch(prompts)
    parameters = inspect.signature(turnout.load).parameters
    assert set(options) == set(parameters) - {"path", "pool"}


def test_defaults_are_those_of_the_core(artifact: Path) -> None:
    options = turnout.load(artifact).options()
    for name, parameter in inspect.signature(turnout.load).parameters.items():
        if parameter.default is not None:
            assert options[name] == parameter.default, name


@pytest.mark.parametrize("name", [name for name in dir(turnout.Router) if not name.startswith("_")])
def test_every_member_of_a_router_is_documented(name: str) -> None:
    member = getattr(turnout.Router, name)
    text = inspect.getdoc(member) or ""
    assert text.endswith((".", ")", "'", '"', "]", "True", "8", "2)")) or "Example:" in text, text
    if name in ("route", "aroute", "route_batch", "win_rate", "win_rates", "embed", "model_scores", "explain"):
        for section in ("Args:", "Returns:", "Raises:", "Example:"):
            assert section in text, section


def test_the_public_names_are_listed() -> None:
    assert set(turnout.__all__) <= set(dir(turnout))
    for name in turnout.__all__:
        assert getattr(turnout, name) is not None


def test_embeddings_of_many_are_those_of_each(router: turnout.Router, prompts: list[str]) -> None:
    rows = router.embed(prompts)
    assert rows.shape == (len(prompts), router.embedding_dim)
    for row, prompt in zip(rows, prompts, strict=True):
        assert (row == router.embed(prompt)).all()
    assert router.embed([]).shape == (0, router.embedding_dim)
    assert (router.win_rates(embeddings=rows) == router.win_rates(prompts)).all()


async def test_messages_are_routed_by_the_prompt_in_them(router: turnout.Router) -> None:
    messages = [{"role": "user", "content": "what is the sum"}, {"role": "assistant", "content": "Of what?"}]
    expected = router.route("what is the sum")
    assert router.route(messages) == await router.aroute(messages) == expected
    assert router.explain(messages).decision == expected
    for wrong, message in (([], "an empty list"), ([5], r"messages\[0\] is of type int"), ([{"role": "tool"}], "role")):
        with pytest.raises(turnout.InvalidInputError, match=message):
            router.route(wrong)
