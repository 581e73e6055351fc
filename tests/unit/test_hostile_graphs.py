"""Graphs that would not end, or would grow without bound, are refused before ONNX Runtime sees them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout

onnx = pytest.importorskip("onnx")
helper = onnx.helper
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def functions(depth: int, calls: int, recursive: bool = False) -> Any:
    """Functions each of which calls the next ``calls`` times; the last one may call the first."""
    made = []
    for level in range(depth):
        is_last = level + 1 == depth
        if is_last and not recursive:
            nodes = [helper.make_node("Neg", ["x"], ["y"])]
        else:
            called = "F0" if is_last else f"F{level + 1}"
            names = ["x", *(f"a{call}" for call in range(calls - 1)), "y"]
            nodes = [helper.make_node(called, [names[call]], [names[call + 1]], domain="d") for call in range(calls)]
        operators = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
        made.append(helper.make_function("d", f"F{level}", ["x"], ["y"], nodes, operators))
    return model([helper.make_node("F0", ["embedding"], ["model_scores"], domain="d")], functions=made)


def model(nodes: list[Any], constants: dict[str, Any] | None = None, functions: list[Any] = ()) -> Any:  # type: ignore[assignment]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input_ids", INT64, ["prompts", "tokens"])],
        [helper.make_tensor_value_info("model_scores", FLOAT, ["prompts", 2])],
        [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    operators = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=operators, ir_version=8)


def loop() -> Any:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("d", onnx.TensorProto.BOOL, [])],
    )
    inner = helper.make_node("Loop", ["n", "t"], [], body=body)
    return model([inner])


def hidden_in_a_branch() -> Any:
    branch = helper.make_graph(loop().graph.node, "branch", [], [])
    return model([helper.make_node("If", ["c"], [], then_branch=branch, else_branch=branch)])


def huge(op: str) -> Any:
    shape = np.array([1 << 20, 1 << 10], np.int64)
    inputs = ["shape"] if op == "ConstantOfShape" else ["one", "shape"]
    return model([helper.make_node(op, inputs, ["big"])], {"shape": shape, "one": np.ones(1, np.float32)})


def huge_by_a_node() -> Any:
    constant = helper.make_node("Constant", [], ["shape"], value_ints=[1 << 30])
    return model([constant, helper.make_node("ConstantOfShape", ["shape"], ["big"])])


def huge_in_a_typed_field() -> Any:
    made = model([helper.make_node("ConstantOfShape", ["shape"], ["big"])])
    made.graph.initializer.append(helper.make_tensor("shape", INT64, [2], [1 << 20, 1 << 20]))
    return made


def random_numbers() -> Any:
    return model([helper.make_node("RandomUniform", [], ["big"], shape=[1 << 30])])


def declared_larger_than_it_is() -> Any:
    made = model([])
    tensor = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    tensor.dims[:] = [1 << 30]
    made.graph.initializer.append(tensor)
    return made


def sparse() -> Any:
    made = model([])
    values = helper.make_tensor("w", FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", INT64, [1], [0])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 30]))
    return made


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: functions(14, 2), r"functions become \d+ nodes by 16383 calls"),
        (lambda: functions(60, 16), "functions become"),
        (lambda: functions(3, 1, recursive=True), "calls itself"),
        (loop, "holds the operator Loop"),
        (hidden_in_a_branch, "holds the operator Loop"),
        (lambda: huge("ConstantOfShape"), "ConstantOfShape makes a tensor of the shape"),
        (lambda: huge("Expand"), "Expand makes a tensor of the shape"),
        (lambda: huge("Tile"), "Tile makes a tensor of the shape"),
        (huge_by_a_node, "ConstantOfShape makes a tensor"),
        (huge_in_a_typed_field, "ConstantOfShape makes a tensor"),
        (random_numbers, "RandomUniform makes a tensor"),
        (declared_larger_than_it_is, r"'?\"w\"'? of shape \[1073741824\] holds 2 elements"),
        (sparse, "sparse tensor"),
    ],
)
def test_what_has_no_bound_is_refused(make: Callable[[], Any], match: str, artifact: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(artifact, tmp_path / "router"))
    content = make().SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    manifest = json.loads((folder / "router.json").read_text())
    manifest["files"]["model.onnx"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "router.json").write_text(json.dumps(manifest))
    for engine in ("auto", "onnxruntime"):
        with pytest.raises(turnout.ArtifactError, match=match):
            turnout.load(folder, engine=engine)


def test_threads_that_the_system_does_not_give_are_an_error(run_python: Callable[..., str], network: Path) -> None:
    script = """
        import resource, sys
        import turnout
        turnout.load(sys.argv[1], threads=1).win_rate("hello")
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + (256 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            turnout.load(sys.argv[1], threads=1024)
        except turnout.EngineError as error:
            print(error)
    """
    assert "threads cannot be started" in run_python(script, str(network))
