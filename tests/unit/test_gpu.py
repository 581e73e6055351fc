"""What of the way to a GPU can be told without one: options, libraries and caches, precision, the benchmark's refusal."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

import turnout
from turnout.engines import cuda_libraries, engine_cache
from turnout.routers.bert.import_ import import_bert

BERT = Path(__file__).parent.parent / "fixtures" / "networks" / "bert"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_bert(BERT, tmp_path_factory.mktemp("bert") / "artifact")


@pytest.fixture
def folder(imported: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "artifact"
    shutil.copytree(imported, copy)
    return copy


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "router.json").read_text())
    change(manifest)
    (folder / "router.json").write_text(json.dumps(manifest))


def rewrite(folder: Path, change: Callable[[onnx.GraphProto], None]) -> None:
    """Changes the graph and its entry in the manifest."""
    model = onnx.load(str(folder / "model.onnx"))
    change(model.graph)
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(folder, lambda manifest: manifest["files"].update({"model.onnx": entry}))


def test_options_of_gpus_reach_the_device_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(turnout.DeviceError, match="is unavailable"):
        turnout.load(folder, device="cuda:0")
    cache = tmp_path / "cache"
    with pytest.raises(turnout.DeviceError, match="is unavailable"):
        turnout.load(folder, device="tensorrt:0", tensorrt_cache=cache)
    assert not cache.exists()


def test_a_manifest_that_says_float16_is_refused_on_a_cpu(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(graph_precision="float16"))
    with pytest.raises(
        turnout.DeviceError, match=r'model\.onnx: holds float16 weights.*device "cuda:0", or export'
    ) as told:
        turnout.load(folder)
    assert str(folder) in str(told.value)
    with pytest.raises(turnout.DeviceError, match="is unavailable"):
        turnout.load(folder, device="cuda:0")


@pytest.mark.parametrize("device", ["cuda:0", "tensorrt:0"])
def test_int8_is_refused_on_a_gpu_which_would_leave_it_to_the_cpu(folder: Path, device: str, tmp_path: Path) -> None:
    edit(folder, lambda manifest: manifest.update(graph_precision="int8"))
    with pytest.raises(turnout.DeviceError, match=r'model\.onnx: multiplies int8.*device "cpu", or export'):
        turnout.load(folder, device=device, tensorrt_cache=tmp_path if "tensorrt" in device else None)


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
def test_other_precisions_change_nothing(folder: Path, precision: str) -> None:
    expected = turnout.load(folder).win_rate("why?")
    edit(folder, lambda manifest: manifest.update(graph_precision=precision))
    assert turnout.load(folder).win_rate("why?") == expected


def test_an_unknown_precision_is_an_error(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(graph_precision="bfloat16"))
    with pytest.raises(turnout.ArtifactError, match=r"bfloat16.*float32"):
        turnout.load(folder)


def test_float16_in_an_attribute_is_found_too(folder: Path) -> None:
    half = numpy_helper.from_array(np.ones(4, np.float16))
    rewrite(folder, lambda graph: graph.node.insert(0, helper.make_node("Constant", [], ["half"], value=half)))
    with pytest.raises(turnout.DeviceError, match="holds float16 weights"):
        turnout.load(folder)


def test_an_output_in_float16_is_an_error(folder: Path) -> None:
    def cast(graph: onnx.GraphProto) -> None:
        next(node for node in graph.node if "logits" in node.output).output[0] = "wide"
        graph.node.append(helper.make_node("Cast", ["wide"], ["logits"], to=TensorProto.FLOAT16))
        graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16

    rewrite(folder, cast)
    with pytest.raises(turnout.ArtifactError, match=r"logits is .*f16.*expected float32 \[prompts, 2\]"):
        turnout.load(folder)


def test_cuda_libraries_come_after_those_that_they_need(tmp_path: Path) -> None:
    files = [
        "nvidia/cudnn/lib/libcudnn.so.9",
        "nvidia/cu13/lib/libcublas.so.13",
        "nvidia/cu13/lib/libcublasLt.so.13",
        "nvidia/cu13/lib/libcudart.so.13",
        "nvidia/cublas/lib/libcublas.so.12",
        "nvidia/cu13/lib/libnvblas.so.13",
        "tensorrt_libs/libnvinfer.so.10",
    ]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    found = [str(path.relative_to(tmp_path)) for path in cuda_libraries([tmp_path, tmp_path / "absent"])]
    assert sorted(found) == sorted(set(files) - {"nvidia/cu13/lib/libnvblas.so.13"})
    places = [found.index(f"nvidia/cu13/lib/lib{name}.so.13") for name in ("cudart", "cublasLt", "cublas")]
    assert places == sorted(places)
    assert found.index("tensorrt_libs/libnvinfer.so.10") > found.index("nvidia/cudnn/lib/libcudnn.so.9")
    assert cuda_libraries([]) == []


def test_engines_of_tensorrt_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_cache() == tmp_path / "turnout" / "tensorrt"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert engine_cache() == tmp_path / "home" / ".cache" / "turnout" / "tensorrt"


def test_the_benchmark_says_that_there_is_no_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "SHAPES", {"tiny": {"hidden_size": 24, "num_hidden_layers": 1, "intermediate_size": 8}})
    assert gpu.main(["--device", "cuda:0"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "no GPU, nothing measured: device cuda:0 is unavailable" in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cpu"], "--device is 'cpu', expected cuda:N"),
        (["--device", "tensorrt:0"], "expected cuda:N"),
        (["--seconds", "0"], "--seconds is 0.0, expected more than 0"),
    ],
)
def test_the_benchmark_refuses_what_makes_no_sense(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        gpu.main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("tokens", gpu.TOKENS)
def test_prompts_of_the_benchmark_have_their_length(tokens: int) -> None:
    tokenizer = Tokenizer.from_file(str(turnout.router.DEFAULT_ARTIFACT / "tokenizer.json"))
    prompts = gpu.prompts_of(tokenizer, tokens, 32)
    assert len(set(prompts)) == 32
