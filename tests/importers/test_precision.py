"""Networks in float16, int8 and int4: what is rounded, what is not, and what the report says of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file, save_file

import turnout
from turnout.cli import main
from turnout.evaluate.precision import SAMPLE, precision_report
from turnout.graphs import network
from turnout.graphs.int4 import BLOCK, packed_blocks
from turnout.reference.network import ReferenceNetwork
from turnout.routers.bert.import_ import import_bert
from turnout.routers.causal_llm.import_ import import_causal_llm

NETWORKS = Path(__file__).parent.parent / "fixtures" / "networks"
ALL = ["bert", "distilbert", "electra", "modernbert", "xlm-roberta", "causal_llm"]
BERT_FAMILY = ["bert", "distilbert", "electra", "xlm-roberta"]
#: The layers that decide, which stay float32.
DECIDES = {
    "bert": "classifier",
    "distilbert": "classifier",
    "electra": "classifier.out_proj",
    "xlm-roberta": "classifier.out_proj",
}
REDUCED = ["float16", "int8", "int4"]
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def convert(name: str, out: Path, checkpoint: Path | None = None, **options: object) -> Path:
    convert_one = import_causal_llm if name == "causal_llm" else import_bert
    return convert_one(checkpoint or NETWORKS / name, out, **options)


def encodings_of(name: str) -> list[list[int]]:
    cases = json.loads((NETWORKS / name / "cases.json").read_text(encoding="utf-8"))
    return [case["ids"] for case in cases]


def reweighted(name: str, out: Path, change: object) -> Path:
    """A copy of a checkpoint with other tensors."""
    shutil.copytree(NETWORKS / name, out)
    tensors = load_file(out / "model.safetensors")
    changed = {key: np.ascontiguousarray(change(key, value)) for key, value in tensors.items()}
    save_file(changed, out / "model.safetensors")
    return out


def typed(graph_file: Path) -> tuple[onnx.GraphProto, dict[str, int]]:
    """The graph, and the element type of each of its values."""
    model = onnx.shape_inference.infer_shapes(onnx.load(graph_file), strict_mode=True)
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return model.graph, types | {weight.name: weight.data_type for weight in model.graph.initializer}


def unpacked(weight: np.ndarray) -> np.ndarray:
    """What 4 bits keep of a matrix, read from the packed bytes."""
    packed, scales, zeros = packed_blocks(weight)
    blocks = scales.shape[1]
    values = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(weight), blocks, BLOCK).astype(np.float32)
    zero = np.stack([zeros & 15, zeros >> 4], axis=-1).reshape(len(weight), -1)[:, :blocks].astype(np.float32)
    return ((values - zero[..., None]) * scales[..., None]).reshape(len(weight), -1)[:, : weight.shape[1]]


def rounded_table(table: np.ndarray) -> np.ndarray:
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    return (np.rint(table / scale) * scale).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 16, 32, 33, 100])
def test_int4_keeps_each_weight_to_half_a_step_of_its_block(columns):
    weight = np.random.default_rng(0).normal(size=(7, columns)).astype(np.float32)
    weight[3] = 0
    weight[4] = np.abs(weight[4])
    blocks = -(-columns // BLOCK)
    padded = np.pad(weight, ((0, 0), (0, blocks * BLOCK - columns))).reshape(7, blocks, BLOCK)
    step = (np.maximum(padded.max(axis=-1), 0) - np.minimum(padded.min(axis=-1), 0)) / 15
    # Half a step for the weight, and half for the zero point, which is an integer too.
    error = np.pad(np.abs(unpacked(weight) - weight), ((0, 0), (0, blocks * BLOCK - columns))).reshape(padded.shape)
    assert (error <= step[..., None] * 1.0001 + 1e-12).all()
    assert (unpacked(weight)[3] == 0).all()


@pytest.mark.parametrize("name", [*BERT_FAMILY, "causal_llm"])
def test_int4_is_float32_over_the_rounded_weights(name, tmp_path):
    def rounded(key: str, value: np.ndarray) -> np.ndarray:
        decides = key == f"{DECIDES.get(name)}.weight"
        if decides or value.ndim == 1 or "position" in key or "token_type" in key:
            return value
        if "embed" in key and "project" not in key:
            return rounded_table(value)
        kept = unpacked(value)
        if key == "lm_head.weight":
            kept[score_tokens()] = value[score_tokens()]
        return kept

    plain = convert(name, tmp_path / "a", reweighted(name, tmp_path / "rounded", rounded))
    packed = convert(name, tmp_path / "b", precision="int4")
    encodings = encodings_of(name)
    np.testing.assert_allclose(
        ReferenceNetwork(packed).logits(encodings), ReferenceNetwork(plain).logits(encodings), rtol=0, atol=1e-4
    )


def score_tokens() -> list[int]:
    added = json.loads((NETWORKS / "causal_llm" / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return [token["id"] for token in added if token["content"].startswith("[[")]


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("name", ALL)
def test_the_core_reads_logits_as_the_reference_does(name, precision, tmp_path):
    folder = convert(name, tmp_path / "out", precision=precision)
    router, reference = turnout.load(folder), ReferenceNetwork(folder)
    prompts = [case["prompt"] for case in json.loads((NETWORKS / name / "cases.json").read_text(encoding="utf-8"))]
    found = [router.win_rate(prompt) for prompt in prompts]
    expected = [reference.win_rates([ids])[0] for ids in encodings_of(name)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["distilbert", "xlm-roberta", "causal_llm"])
def test_the_reference_gives_nothing_for_no_prompts_and_reads_one_without_tokens(name, tmp_path):
    reference = ReferenceNetwork(convert(name, tmp_path / "out"))
    width = {"distilbert": 1, "xlm-roberta": 3, "causal_llm": 310}[name]
    assert (reference.logits([]).shape, reference.win_rates([]).shape) == ((0, width), (0,))
    assert np.isfinite(reference.logits([[]])).all()


@pytest.mark.parametrize("name", ALL)
def test_float16_stays_close_where_every_step_is_rounded(name, tmp_path):
    exact = ReferenceNetwork(convert(name, tmp_path / "a"))
    folder = convert(name, tmp_path / "b", precision="float16")
    # NumPy rounds after each operator, as a GPU does; ONNX Runtime on the CPU leaves float16 only where it must.
    numpy = ReferenceEvaluator(str(folder / "model.onnx"))
    for ids in encodings_of(name)[3:]:
        (logits,) = numpy.run(
            ["logits"], {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        )
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, exact.logits([ids]), rtol=0, atol=0.03)


@pytest.mark.parametrize("name", ALL)
def test_float16_never_meets_what_would_overflow(name, tmp_path):
    graph, types = typed(convert(name, tmp_path / "out", precision="float16") / "model.onnx")
    weights = {weight.name: weight for weight in graph.initializer}
    for node in graph.node:
        taken = [types[value] for value in node.input]
        if node.op_type in ("LayerNormalization", "ReduceMean", "ReduceSum", "Softmax", "Sqrt", "Div"):
            assert FLOAT16 not in taken, node.op_type
        if node.op_type == "MatMul":
            assert taken[0] == taken[1]
            # Products of activations, as in attention, and of linear layers; never the layer that decides.
            small = [name for name in node.input if name in weights and min(weights[name].dims) <= 5]
            assert taken[0] == (FLOAT if small else FLOAT16)
    assert {output.type.tensor_type.elem_type for output in graph.output} == {FLOAT}


@pytest.mark.parametrize("name", BERT_FAMILY)
def test_layers_with_their_bias_are_float16_as_a_whole(name, tmp_path):
    graph, types = typed(convert(name, tmp_path / "out", precision="float16") / "model.onnx")
    weights = {weight.name: weight for weight in graph.initializer}
    layers = [node for node in graph.node if node.op_type == "Gemm"]
    # Queries, keys and values stand in one layer, in the last of them in two; then the head's.
    blocks = json.loads((NETWORKS / name / "config.json").read_text(encoding="utf-8"))
    count = blocks.get("num_hidden_layers", blocks.get("n_layers"))
    assert len(layers) == 4 * count + 1 + 1 + ("embedding_size" in blocks)
    for node in layers:
        x, matrix, bias = node.input
        assert {types[x], types[matrix], types[bias], types[node.output[0]]} == {FLOAT16}
        assert list(weights[bias].dims) == list(weights[matrix].dims)[1:]
    # Whatever is cast is cast once.
    casts = [(node.input[0], node.attribute[0].i) for node in graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("name", BERT_FAMILY)
def test_integers_leave_one_product_with_a_float_matrix_which_decides(name, precision, tmp_path):
    graph = onnx.load(convert(name, tmp_path / "out", precision=precision) / "model.onnx").graph
    weights = {weight.name: weight for weight in graph.initializer}
    kept = [
        value for node in graph.node if node.op_type in ("MatMul", "Gemm") for value in node.input if value in weights
    ]
    decides = load_file(NETWORKS / name / "model.safetensors")[f"{DECIDES[name]}.weight"]
    (matrix,) = (onnx.numpy_helper.to_array(weights[value]) for value in kept)
    np.testing.assert_array_equal(matrix, decides.T)


def test_float16_bears_sums_over_layers_beyond_its_range(tmp_path):
    # The embedding's numbers are around a million, their squares beyond 65,504 even before they are added up.
    loud = reweighted("causal_llm", tmp_path / "loud", lambda key, value: value * (3e4 if "embed" in key else 1))
    exact = ReferenceNetwork(convert("causal_llm", tmp_path / "a", loud))
    numpy = ReferenceEvaluator(str(convert("causal_llm", tmp_path / "b", loud, precision="float16") / "model.onnx"))
    ids = encodings_of("causal_llm")[4]
    (logits,) = numpy.run(
        ["logits"], {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
    )
    np.testing.assert_allclose(logits, exact.logits([ids]), rtol=0, atol=0.03)


def test_a_weight_beyond_float16_is_refused(tmp_path):
    huge = reweighted(
        "bert", tmp_path / "huge", lambda key, value: value * (1e6 if "layer.0.output.dense" in key else 1)
    )
    with pytest.raises(turnout.ConfigError, match="beyond float16's 65504: choose another precision"):
        convert("bert", tmp_path / "out", huge, precision="float16")
    assert not (tmp_path / "out" / "router.json").exists()


@pytest.mark.parametrize("precision", REDUCED)
def test_the_rows_of_the_five_scores_stay_exact(precision, tmp_path):
    folder = convert("causal_llm", tmp_path / "out", precision=precision)
    graph, _ = typed(folder / "model.onnx")
    head = load_file(NETWORKS / "causal_llm" / "model.safetensors")["lm_head.weight"][score_tokens()].T
    stored = [
        onnx.numpy_helper.to_array(weight) for weight in graph.initializer if list(weight.dims) == list(head.shape)
    ]
    assert any(weight.dtype == np.float32 and np.array_equal(weight, head) for weight in stored)


@pytest.mark.parametrize("precision", REDUCED)
def test_the_manifest_says_the_precision(precision, tmp_path):
    folder = convert("bert", tmp_path / "out", precision=precision)
    manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
    assert manifest["graph_precision"] == precision
    assert manifest["provenance"]["weights"].startswith(precision)


def test_float32_needs_no_word_and_other_names_are_refused(tmp_path):
    folder = convert("bert", tmp_path / "out")
    assert "graph_precision" not in json.loads((folder / "router.json").read_text(encoding="utf-8"))
    with pytest.raises(turnout.ConfigError, match="precision is 'fp8', expected float32, float16, int8, int4"):
        convert("bert", tmp_path / "other", precision="fp8")


def test_float16_is_not_run_on_a_cpu(tmp_path):
    folder = convert("bert", tmp_path / "out", precision="float16")
    with pytest.raises(turnout.RouterError, match="float16"):
        turnout.load(folder)


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("name", ["bert", "causal_llm"])
def test_weights_in_a_file_of_their_own_are_the_same_weights(name, precision, tmp_path, monkeypatch):
    encodings = encodings_of(name)
    expected = ReferenceNetwork(convert(name, tmp_path / "one", precision=precision)).logits(encodings)
    monkeypatch.setattr(network, "INLINE_BYTES", 0)
    folder = convert(name, tmp_path / "two", precision=precision)
    assert sorted(file.name for file in folder.iterdir()) == [
        "model.onnx",
        "model.onnx.data",
        "router.json",
        "tokenizer.json",
    ]
    np.testing.assert_allclose(ReferenceNetwork(folder).logits(encodings), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("name", ["bert", "causal_llm"])
def test_the_report_says_error_flips_size_and_speed(name, precision, tmp_path):
    folder = convert(name, tmp_path / "out", precision=precision)
    lines = precision_report(
        folder, lambda out: convert(name, out), ["what is this?", "prove it", "why not"]
    ).splitlines()
    assert lines[0] == f"{precision} against float32, 3 prompts:"
    told = {line[:22].strip(): line[22:] for line in lines[1:]}
    assert list(told) == ["win-rate error", "decision flips", "alone or in a batch", "size", "time, one thread"]
    assert "at the threshold 0.5000" in told["decision flips"]
    assert ("not measured" in told["time, one thread"]) == (precision == "float16")
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_the_report_runs_a_sample_alone_however_many_prompts_there_are(precision, tmp_path, monkeypatch):
    folder = convert("bert", tmp_path / "out", precision=precision)
    alone: list[object] = []
    rate, rates = turnout.Router.win_rate, ReferenceNetwork.win_rates
    counted = lambda self, text, **rest: alone.append(text) or rate(self, text, **rest)  # noqa: E731
    batched = lambda self, ids: (alone.append(ids) if len(ids) == 1 else None) or rates(self, ids)  # noqa: E731
    monkeypatch.setattr(turnout.Router, "win_rate", counted)
    monkeypatch.setattr(ReferenceNetwork, "win_rates", batched)
    told = precision_report(folder, lambda out: convert("bert", out), [f"why {number}" for number in range(1600)])
    assert "1600 prompts" in told
    # Alone, and five times against the clock in either precision.
    assert len(alone) == SAMPLE * (1 if precision == "float16" else 11)


def test_a_report_that_fails_leaves_nothing_but_the_router(tmp_path):
    folder = convert("bert", tmp_path / "out", precision="int8")

    def fails(out: Path) -> None:
        (out / "model.onnx.data").write_bytes(b"half")
        raise MemoryError

    with pytest.raises(MemoryError):
        precision_report(folder, fails, ["why"])
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_large_networks_are_compared_where_that_is_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("turnout.evaluate.precision.SMALL_BYTES", 1000)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("why not\n")
    command = ["import", "bert", str(NETWORKS / "bert"), "--out", str(tmp_path / "out"), "--precision", "int8"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "no report: the network in float32 takes 0.0 GB of disk and memory; use --report" in told.err
    assert "against float32" not in told.out
    assert main([*command, "--report"]) == 0
    assert "int8 against float32, " in capsys.readouterr().out
    assert main([*command, "--prompts", str(prompts)]) != 0
    assert "add --report" in capsys.readouterr().err


def test_no_report_is_made_where_none_is_wanted(tmp_path, capsys):
    command = ["import", "bert", str(NETWORKS / "bert"), "--out", str(tmp_path / "out"), "--no-report"]
    assert main([*command, "--precision", "int8"]) == 0
    told = capsys.readouterr()
    assert ("against float32" in told.out, told.err) == (False, "")
    assert main(command) != 0
    assert "--report are for the report of --precision" in capsys.readouterr().err


def test_prompts_that_cannot_be_read_are_told_before_the_work(tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("")
    command = ["import", "bert", str(NETWORKS / "bert"), "--out", str(tmp_path / "out"), "--precision", "int8"]
    assert main([*command, "--prompts", str(tmp_path / "empty.txt")]) != 0
    assert "no prompts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", REDUCED)
def test_the_command_takes_a_precision_and_reports(precision, tmp_path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("what is this?\nprove it\nwhy not\n")
    command = [
        "import",
        "causal_llm",
        str(NETWORKS / "causal_llm"),
        "--out",
        str(tmp_path / "out"),
        "--prompts",
        str(prompts),
    ]
    assert main([*command, "--precision", precision, "--strong", "a", "--weak", "b"]) == 0
    told = capsys.readouterr().out
    for words in ("a over b", "at most 512 tokens", f"{precision} against float32, 3 prompts", "win-rate error"):
        assert words in told
    assert main(command) != 0
    assert "--prompts and --report are for the report" in capsys.readouterr().err
