"""The native engine against ONNX Runtime, from Python and through the core; engines and devices that cannot be had."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

# Two libraries that sum in single precision in different orders.
ENGINES = 1e-5


def test_the_engines_agree(router: turnout.Router, artifact: Path, prompts: list[str]) -> None:
    other = turnout.load(artifact, engine="onnxruntime")
    assert (router.engine, router.not_native_because, router.is_microseconds) == ("native", None, True)
    assert (other.engine, other.device, other.is_microseconds) == ("onnxruntime", "cpu", False)
    assert other.not_native_because is not None
    assert "was asked for" in other.not_native_because
    np.testing.assert_allclose(other.win_rates(prompts), router.win_rates(prompts), rtol=0, atol=ENGINES)
    for prompt in prompts[:20]:
        one, two = router.explain(prompt), other.explain(prompt)
        assert one.ids == two.ids
        assert two.engine == "onnxruntime"
        assert two.decision.win_rate == pytest.approx(one.decision.win_rate, abs=ENGINES)
        assert list(two.model_scores.values()) == pytest.approx(list(one.model_scores.values()), abs=1e-4)
        np.testing.assert_allclose(other.embed(prompt), router.embed(prompt), rtol=0, atol=ENGINES)
        assert other.win_rate(prompt) == pytest.approx(router.win_rate(prompt), abs=ENGINES)
    assert other.win_rates([]).shape == (0,)


def test_python_onnxruntime_gives_the_same_raw_win_rates(
    router: turnout.Router, artifact: Path, prompts: list[str]
) -> None:
    """In one padded batch: the graph's mask makes padding count for nothing."""
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact / "model.onnx", providers=["CPUExecutionProvider"])
    explanations = [router.explain(prompt) for prompt in prompts]
    width = max(len(explanation.ids) for explanation in explanations)
    ids = np.zeros((len(prompts), width), np.int64)
    mask = np.zeros_like(ids)
    for row, explanation in enumerate(explanations):
        ids[row, : len(explanation.ids)] = explanation.ids
        mask[row, : len(explanation.ids)] = 1
    scalars = {"strong": np.array(0, np.int64), "weak": np.array(1, np.int64)}
    inputs = {"input_ids": ids, "attention_mask": mask, **scalars}
    win_rates, scores = session.run(["win_rate", "model_scores"], inputs)
    np.testing.assert_allclose([e.raw_win_rate for e in explanations], win_rates, rtol=0, atol=ENGINES)
    found = [[*explanation.model_scores.values()] for explanation in explanations]
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-4)


def test_external_embeddings_agree_between_the_engines(external: Path) -> None:
    matrix = np.random.default_rng(5).normal(size=(50, 12)).astype(np.float32)
    native, other = turnout.load(external), turnout.load(external, engine="onnxruntime")
    expected = native.win_rates(embeddings=matrix)
    np.testing.assert_allclose(other.win_rates(embeddings=matrix), expected, rtol=0, atol=ENGINES)
    assert other.route(embedding=matrix[0]).model == native.route(embedding=matrix[0]).model
    for router in (native, other):
        with pytest.raises(turnout.InvalidInputError, match="pass embeddings of length 12, not prompts"):
            router.route("a prompt")


def _with_identity(model: Any) -> None:
    nodes = model.graph.node
    for node in nodes:
        node.output[:] = ["plain_scores" if name == "model_scores" else name for name in node.output]
    nodes.insert(len(nodes) - 4, onnx.helper.make_node("Identity", ["plain_scores"], ["model_scores"]))


def _reordered(model: Any) -> None:
    nodes = list(model.graph.node)
    mask = next(at for at, node in enumerate(nodes) if node.input[0] == "attention_mask")
    nodes.insert(0, nodes.pop(mask))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _with_many_nodes(model: Any) -> None:
    names = ["logit", *(f"logit_{row}" for row in range(300))]
    model.graph.node.extend(onnx.helper.make_node("Identity", [one], [other]) for one, other in pairwise(names))


def _with_many_tensors(model: Any) -> None:
    tensors = (onnx.numpy_helper.from_array(np.ones(3, np.float32), f"more_{row}") for row in range(300))
    model.graph.initializer.extend(tensors)


def _with_floats_one_by_one(model: Any) -> None:
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    values = onnx.numpy_helper.to_array(bias).tolist()
    bias.ClearField("raw_data")
    bias.float_data.extend(values)


def _without_the_pair(model: Any) -> None:
    """A graph that makes scores only, as an importer may write it."""
    for part, names in [(model.graph.input, ("strong", "weak")), (model.graph.output, ("win_rate", "embedding"))]:
        for value in [value for value in part if value.name in names]:
            part.remove(value)
    del model.graph.node[-4:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_with_identity, "node 22 is Identity"),
        (_reordered, "node 0 is Cast"),
        (_with_many_nodes, "more nodes"),
        (_with_many_tensors, "more tensors"),
        (_with_floats_one_by_one, "bias"),
        (_without_the_pair, "graph inputs"),
    ],
)
def test_a_graph_the_core_does_not_know_runs_in_onnx_runtime(
    router: turnout.Router,
    with_graph: Callable[..., Path],
    prompts: list[str],
    change: Callable[[Any], None],
    reason: str,
) -> None:
    folder = with_graph(change)
    other = turnout.load(folder)
    assert other.engine == "onnxruntime"
    assert other.not_native_because is not None
    assert reason in other.not_native_because
    np.testing.assert_allclose(other.win_rates(prompts), router.win_rates(prompts), rtol=0, atol=ENGINES)
    swapped = {"strong": router.weak, "weak": router.strong}
    expected = turnout.load(router.path, **swapped).win_rates(prompts)
    np.testing.assert_allclose(turnout.load(folder, **swapped).win_rates(prompts), expected, rtol=0, atol=ENGINES)
    with pytest.raises(turnout.EngineError, match="does not run this graph natively"):
        turnout.load(folder, engine="native")
    with pytest.raises(turnout.InvalidInputError, match="takes prompts, not embeddings"):
        other.route(embedding=np.zeros(12, np.float32))


def _as_other_scores(operator: str, value: Any, **attributes: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        _with_identity(model)
        node = next(node for node in model.graph.node if node.op_type == "Identity")
        node.op_type = operator
        node.attribute.extend(onnx.helper.make_attribute(*item) for item in attributes.items())
        if operator == "ReduceSum":
            node.input.append("token_axis")
        _without_the_pair(model)
        model.graph.output[0].CopyFrom(value)

    return change


def _removing(part: str, name: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        values = getattr(model.graph, part)
        values.remove(next(value for value in values if value.name == name))

    return change


def _huge_constant(model: Any) -> None:
    _with_identity(model)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 45], np.int64), "shape"))
    model.graph.node.insert(0, onnx.helper.make_node("ConstantOfShape", ["shape"], ["constant"]))
    model.graph.node.insert(1, onnx.helper.make_node("ReduceSum", ["constant"], ["sum"], keepdims=0))
    node = next(node for node in model.graph.node if node.op_type == "Identity")
    node.op_type = "Add"
    node.input.append("sum")


def _in_another_file(model: Any) -> None:
    _with_identity(model)
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _not_numbers(model: Any) -> None:
    _with_identity(model)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(12, np.nan, np.float32), "bias"))


_INT64 = onnx.helper.make_tensor_value_info("model_scores", onnx.TensorProto.INT64, ["prompts", 4])
_VECTOR = onnx.helper.make_tensor_value_info("model_scores", onnx.TensorProto.FLOAT, ["prompts"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: b"", "no graph"),
        (lambda model: model.SerializeToString()[:3000], "bytes"),
        (lambda model: setattr(model.graph.node[0], "op_type", "Unheard"), "ONNX Runtime refused it"),
        (lambda model: model.graph.node[0].input.__setitem__(0, "nowhere"), "ONNX Runtime refused it"),
        (lambda model: model.graph.node[2].input.__setitem__(0, "win_rate"), "ONNX Runtime refused it"),
        (
            lambda model: model.graph.node.extend([onnx.helper.make_node("Relu", ["mean"], ["x"], domain="a.b")]),
            "refused it",
        ),
        (_removing("input", "weak"), "ONNX Runtime refused it"),
        (_removing("output", "model_scores"), "making model_scores"),
        (_as_other_scores("Cast", _INT64, to=7), "expected float32"),
        (_as_other_scores("ReduceSum", _VECTOR, keepdims=0), "expected float32"),
        (_in_another_file, "keeps its elements in another file"),
        (_not_numbers, "expected finite numbers"),
    ],
)
def test_hostile_graphs_are_artifact_errors(
    with_graph: Callable[..., Path], capfd: pytest.CaptureFixture[str], change: Callable[[Any], Any], message: str
) -> None:
    folder = with_graph(change)
    with pytest.raises(turnout.ArtifactError, match=message) as error:
        turnout.load(folder)
    assert str(folder / "model.onnx") in str(error.value)
    assert capfd.readouterr().err == ""


def test_what_only_shows_when_a_graph_runs_is_an_inference_error(
    with_graph: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    def logarithm(model: Any) -> None:
        _with_identity(model)
        next(node for node in model.graph.node if node.op_type == "Identity").op_type = "Log"

    with pytest.raises(turnout.InferenceError, match="no number"):
        turnout.load(with_graph(logarithm)).win_rates(["what is", "the sum"])

    def short_scale(model: Any) -> None:
        _with_identity(model)
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "row_scale")
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[:10], "row_scale"))

    with pytest.raises(turnout.ArtifactError, match="the graph's table has 10 rows"):
        turnout.load(with_graph(short_scale))
    with pytest.raises(turnout.ArtifactError, match="ConstantOfShape makes a tensor"):
        turnout.load(with_graph(_huge_constant))
    assert capfd.readouterr().err == ""


def test_without_onnx_runtime_native_routers_work_and_others_say_what_to_install(
    artifact: Path, with_graph: Callable[..., Path], run_python: Callable[..., str]
) -> None:
    script = """
        import sys
        sys.modules["onnxruntime"] = None
        import turnout
        router = turnout.load(sys.argv[1])
        assert router.engine == "native"
        print(router.route("what is the sum").win_rate)
        for path, options in [(sys.argv[1], {"engine": "onnxruntime"}), (sys.argv[1], {"device": "cuda"}), (sys.argv[2], {})]:
            try:
                turnout.load(path, **options)
            except turnout.EngineError as error:
                assert "pip install turnout[onnx]" in str(error), error
                print(error)
            else:
                raise AssertionError(path)
    """
    told = run_python(script, str(artifact), str(with_graph(_with_identity)), environment={"ORT_DYLIB_PATH": ""})
    assert "node 22 is Identity" in told


@pytest.mark.parametrize("kind", ["missing", "text", "other library"])
def test_a_library_that_is_not_onnx_runtime_is_an_engine_error(
    artifact: Path, tmp_path: Path, run_python: Callable[..., str], kind: str
) -> None:
    text = tmp_path / "libonnxruntime.so"
    text.write_text("not a library")
    library = {"missing": tmp_path / "nowhere.so", "text": text, "other library": Path(turnout._core.__file__)}[kind]
    script = """
        import sys, turnout
        assert turnout.load(sys.argv[1]).engine == "native"
        for attempt in range(2):
            try:
                turnout.load(sys.argv[1], engine="onnxruntime")
            except turnout.EngineError as error:
                assert sys.argv[2] in str(error), error
            else:
                raise AssertionError
    """
    run_python(script, str(artifact), str(library), environment={"ORT_DYLIB_PATH": str(library)})


@pytest.mark.skipif("CUDA" in os.environ.get("TURNOUT_TEST_DEVICES", ""), reason="this machine has the device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7", "cuda:4294967295"])
def test_a_device_that_cannot_be_had_is_a_device_error(artifact: Path, device: str) -> None:
    """Never the CPU in silence."""
    for engine in ("auto", "onnxruntime", "native"):
        with pytest.raises(turnout.DeviceError, match=r"device|cuda"):
            turnout.load(artifact, device=device, engine=engine)


@pytest.mark.parametrize(
    "device", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:99999999999", "\x00"]
)
def test_a_device_that_is_none_is_told_what_there_is(artifact: Path, device: str) -> None:
    with pytest.raises(turnout.DeviceError, match='expected "cpu", "cuda:N" or "tensorrt:N"'):
        turnout.load(artifact, device=device)


def test_the_engines_library_is_found_without_importing_it(run_python: Callable[..., str]) -> None:
    script = """
        import sys
        from turnout.engines import onnxruntime_library
        assert onnxruntime_library() is not None
        assert "onnxruntime" not in sys.modules
    """
    run_python(script)
