"""The core against the NumPy reference, and the core against itself: alone, in a batch, on threads, from an embedding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout
from turnout.reference.mf import ReferenceRouter, calibrate

# The core sums in single precision, the reference in double: a few units in the last place of numbers below one.
NATIVE = 1e-6

CALIBRATIONS = {
    "identity": {"kind": "identity"},
    "platt": {"kind": "platt", "slope": 1.7, "intercept": -0.4},
    "isotonic": {"kind": "isotonic", "x": [0.1, 0.35, 0.5, 0.9], "y": [0.05, 0.2, 0.2, 0.97]},
}


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("views", [False, True])
def test_native_win_rates_equal_the_reference(
    make_tiny: Any, tmp_path: Path, prompts: list[str], activation: str, calibration: str, views: bool
) -> None:
    variant = {"activation": activation, "calibration": CALIBRATIONS[calibration], "views": views}
    folder = make_tiny.write(tmp_path / "artifact", **variant)
    router, reference = turnout.load(folder, engine="native"), ReferenceRouter(folder)
    assert router.engine == "native"
    found = router.win_rates(prompts)
    expected = np.array([reference.win_rate(prompt) for prompt in prompts])
    assert len(np.unique(expected)) > 10, "too much alike to tell prompts apart"
    np.testing.assert_allclose(found, expected, rtol=0, atol=NATIVE)


@pytest.mark.parametrize(("special", "max_tokens"), [(False, 1), (False, 7), (True, 2), (True, 3), (True, 64)])
@pytest.mark.parametrize("views", [False, True])
def test_special_tokens_and_small_limits_equal_the_reference(
    make_tiny: Any, tmp_path: Path, prompts: list[str], special: bool, max_tokens: int, views: bool
) -> None:
    variant = {"post_processor": make_tiny.CLS_SEP if special else None, "max_tokens": max_tokens, "views": views}
    folder = make_tiny.write(tmp_path / "artifact", **variant)
    router, reference = turnout.load(folder), ReferenceRouter(folder)
    for prompt in prompts:
        assert router.explain(prompt).ids == reference.ids(prompt), prompt
    expected = [reference.win_rate(prompt) for prompt in prompts]
    np.testing.assert_allclose(router.win_rates(prompts), expected, rtol=0, atol=NATIVE)


def test_model_scores_equal_the_reference_and_their_difference_is_the_logit(
    router: turnout.Router, artifact: Path, prompts: list[str]
) -> None:
    reference = ReferenceRouter(artifact)
    for prompt in prompts:
        scores = router.model_scores(prompt)
        assert list(scores) == router.models
        np.testing.assert_allclose([*scores.values()], reference.model_scores(prompt), rtol=0, atol=1e-5)
        assert router.explain(prompt).logit == pytest.approx(scores[router.strong] - scores[router.weak], abs=1e-5)


def test_a_batch_equals_its_prompts_bit_for_bit(artifact: Path, prompts: list[str]) -> None:
    many = [f"{prompt} {row}" for row, prompt in enumerate(prompts * 12)]
    one, two = turnout.load(artifact, threads=1), turnout.load(artifact, threads=2)
    alone = np.array([one.win_rate(prompt) for prompt in many], np.float32)
    for router in (one, two, turnout.load(artifact)):
        assert router.win_rates(many).dtype == np.float32
        assert np.array_equal(router.win_rates(many), alone)
        assert router.route_batch(many, threshold=0.4) == [one.route(prompt, threshold=0.4) for prompt in many]


def test_an_embedding_of_the_router_decides_as_its_prompt(router: turnout.Router, prompts: list[str]) -> None:
    matrix = np.stack([router.embed(prompt) for prompt in prompts])
    assert matrix.shape == (len(prompts), router.embedding_dim)
    assert matrix.dtype == np.float32
    assert [router.route(embedding=row) for row in matrix] == [router.route(prompt) for prompt in prompts]
    assert np.array_equal(router.win_rates(embeddings=matrix), router.win_rates(prompts))
    assert router.win_rate(embedding=matrix[3]) == router.win_rate(prompts[3])


def test_an_explanation_agrees_with_the_decision(router: turnout.Router, prompts: list[str]) -> None:
    for prompt in prompts:
        explanation = router.explain(prompt, threshold=0.4)
        assert explanation.decision == router.route(prompt, threshold=0.4)
        assert len(explanation.tokens) == len(explanation.ids) <= 64
        assert list(explanation.model_scores.items()) == list(router.model_scores(prompt).items())
        assert explanation.model_scores is explanation.model_scores
        assert explanation.raw_win_rate == pytest.approx(1 / (1 + np.exp(-explanation.logit)), abs=NATIVE)
        calibrated = calibrate(explanation.logit, router.manifest["calibration"])
        assert explanation.decision.win_rate == pytest.approx(float(calibrated), abs=NATIVE)
        assert [name for name, _ in explanation.stages] == ["tokenize", "score", "decide"]
        assert (explanation.engine, explanation.device) == (router.engine, router.device)
        assert explanation.artifact_hash == router.artifact_hash


def test_the_reversed_pair_has_the_other_chance(make_tiny: Any, tmp_path: Path, prompts: list[str]) -> None:
    folder = make_tiny.write(tmp_path / "artifact", calibration=CALIBRATIONS["identity"])
    names = turnout.load(folder).models
    for strong, weak in [(0, 1), (2, 3), (3, 0)]:
        forward = turnout.load(folder, strong=names[strong], weak=names[weak])
        backward = turnout.load(folder, strong=names[weak], weak=names[strong])
        np.testing.assert_allclose(forward.win_rates(prompts), 1 - backward.win_rates(prompts), rtol=0, atol=NATIVE)
        reference = ReferenceRouter(folder, strong=names[strong], weak=names[weak])
        expected = [reference.win_rate(prompt) for prompt in prompts]
        np.testing.assert_allclose(forward.win_rates(prompts), expected, rtol=0, atol=NATIVE)


def test_unknown_names_are_labels_on_the_trained_pair(
    router: turnout.Router, artifact: Path, prompts: list[str]
) -> None:
    for names in [
        {"strong": "x", "weak": "y"},
        {"strong": "x"},
        {"weak": "y"},
    ]:
        renamed = turnout.load(artifact, **names)
        assert np.array_equal(renamed.win_rates(prompts), router.win_rates(prompts))
        chosen = {renamed.route(prompt, threshold=threshold).model for prompt in prompts for threshold in (0.0, 1.0)}
        assert chosen == {names.get("strong", router.strong), names.get("weak", router.weak)}


def test_a_known_name_beside_a_label_is_scored_as_itself(
    router: turnout.Router, artifact: Path, prompts: list[str]
) -> None:
    for names in [{"strong": router.models[2], "weak": "y"}, {"strong": "x", "weak": router.models[3]}]:
        reference = ReferenceRouter(artifact, **names)
        expected = [reference.win_rate(prompt) for prompt in prompts]
        np.testing.assert_allclose(turnout.load(artifact, **names).win_rates(prompts), expected, rtol=0, atol=NATIVE)


def test_embeddings_from_the_caller_equal_the_reference(external: Path) -> None:
    router, reference = turnout.load(external), ReferenceRouter(external)
    assert router.engine == "native"
    matrix = np.random.default_rng(3).normal(size=(500, router.embedding_dim)).astype(np.float32)
    expected = reference.win_rates_of_embeddings(matrix)
    np.testing.assert_allclose(router.win_rates(embeddings=matrix), expected, rtol=0, atol=NATIVE)
    assert [router.win_rate(embedding=row) for row in matrix] == router.win_rates(embeddings=matrix).tolist()


def test_the_default_threshold_and_manifest_are_those_of_the_file(router: turnout.Router, artifact: Path) -> None:
    manifest = json.loads((artifact / "router.json").read_text(encoding="utf-8"))
    assert router.manifest == manifest
    assert router.threshold == manifest["thresholds"]["default"]
    assert (router.strong, router.weak) == (manifest["pair"]["strong"], manifest["pair"]["weak"])
    assert router.path == artifact


def test_a_manifest_written_by_python_is_read_by_the_core(
    make_tiny: Any, tmp_path: Path, edit_manifest: Callable[..., None]
) -> None:
    """Non-ASCII names, provenance of any shape: what one side writes the other reads."""
    folder = make_tiny.write(tmp_path / "artifact")

    def change(manifest: dict[str, Any]) -> None:
        manifest["models"] = ["stärk 中", 'q"uote\\', "a\tb", "\U0001f600"]
        manifest["pair"] = {"strong": "stärk 中", "weak": 'q"uote\\'}
        manifest["provenance"] = {"nested": [{"x": None, "y": [1.5, "é"]}]}

    edit_manifest(folder, change)
    router = turnout.load(folder)
    assert router.models == ["stärk 中", 'q"uote\\', "a\tb", "\U0001f600"]
    assert router.route("", threshold=0.0).model == "stärk 中"


def test_the_tiny_artifact_is_what_its_script_makes(make_tiny: Any, tmp_path: Path, artifact: Path) -> None:
    """Weights and manifest; the bytes of the graph depend on the version of the onnx package."""
    from onnx import load, numpy_helper

    folder = make_tiny.write(tmp_path / "artifact")
    assert (folder / "tokenizer.json").read_bytes() == (artifact / "tokenizer.json").read_bytes()
    made, stored = (load(path / "model.onnx") for path in (folder, artifact))
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in stored.graph.node]
    assert made.opset_import == stored.opset_import
    for one, other in zip(made.graph.initializer, stored.graph.initializer, strict=True):
        assert one.name == other.name
        assert np.array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
    manifests = [json.loads((path / "router.json").read_text(encoding="utf-8")) for path in (folder, artifact)]
    for manifest in manifests:
        del manifest["files"]["model.onnx"]
    assert manifests[0] == manifests[1]
