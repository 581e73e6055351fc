"""The MF graphs as ONNX: from token ids or from an embedding to one score a model and the win rate of a pair.

The core runs these graphs natively because it knows every node of them (``encoder/table.rs`` and ``scorer.rs``); a change here
is a change there. Any ONNX runtime can run them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPSET = 20
IR_VERSION = 9

Activation = Literal["identity", "relu", "tanh", "gelu"]


@dataclass(frozen=True)
class View:
    """The first or the last tokens of a prompt, seen a second time.

    Attributes:
        tokens: How many tokens at most.
        gain: Weights of the numbers of a row, float32 ``[dim]``.
    """

    tokens: int
    gain: NDArray[np.float32]


@dataclass(frozen=True)
class StaticEncoder:
    """Weights of a static embedding encoder; ``turnout.reference.mf.encode`` is its formula in NumPy.

    Attributes:
        token_table: int8 ``[vocabulary, dim]``.
        row_scale: float32 ``[vocabulary]``.
        count_table: float32 ``[vocabulary, counts]``.
        feature_weight: float32 ``[counts, dim]``.
        bias: float32 ``[dim]``.
        activation: Function applied to every element of the embedding.
        views: The first and the last tokens, added to the sum over all of them. With views the sums are divided by the square
            root of the number of tokens, without them by the number.
    """

    token_table: NDArray[np.int8]
    row_scale: NDArray[np.float32]
    count_table: NDArray[np.float32] | NDArray[np.int8]
    feature_weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: Activation = "identity"
    views: tuple[View, View] | None = None


@dataclass(frozen=True)
class MatrixFactorizationHead:
    """RouteLLM's head ("RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.2): ``score_m = w2 . (v_m * (W1 e))``.

    Attributes:
        w1: float32 ``[rank, dim]``.
        w2: float32 ``[rank]``.
        models: float32 ``[models, rank]``; rows are scaled to unit length on export.
    """

    w1: NDArray[np.float32]
    w2: NDArray[np.float32]
    models: NDArray[np.float32]

    def model_heads(self) -> NDArray[np.float32]:
        """``w2 * v_m`` in columns, float32 ``[rank, models]``."""
        norm = np.linalg.norm(self.models, axis=1, keepdims=True)
        unit = self.models / np.maximum(norm, 1e-12)
        heads: NDArray[np.float32] = (unit * self.w2).T.astype(np.float32)
        return heads


def static_graph(encoder: StaticEncoder, head: MatrixFactorizationHead) -> bytes:
    """Graph from token ids to win rates.

    Inputs: ``input_ids`` and ``attention_mask`` int64 ``[prompts, tokens]``, ``strong`` and ``weak`` int64 scalars (rows of the
    models). Outputs: ``embedding`` float32 ``[prompts, dim]``, ``model_scores`` float32 ``[prompts, models]``, ``win_rate``
    float32 ``[prompts]``, not calibrated.

    Args:
        encoder: The encoder.
        head: The head, over embeddings of the encoder's dimension.

    Returns:
        A serialized ``onnx.ModelProto``.
    """
    nodes, weights, inputs, outputs = _encoder(encoder)
    return _model(nodes, weights, inputs, outputs, head)


def external_graph(head: MatrixFactorizationHead) -> bytes:
    """Graph from a caller's embedding to win rates: ``embedding`` float32 ``[prompts, dim]`` in place of token ids.

    Args:
        head: The head.

    Returns:
        A serialized ``onnx.ModelProto``.
    """
    from onnx import TensorProto

    inputs = [("embedding", TensorProto.FLOAT, ["prompts", head.w1.shape[1]])]
    return _model([], {}, inputs, [], head)


_Values = list[tuple[str, int, Sequence[Any]]]


def _encoder(encoder: StaticEncoder) -> tuple[list[Any], dict[str, NDArray[Any]], _Values, _Values]:
    """Nodes, weights, inputs and outputs of the encoder."""
    from onnx import TensorProto, helper

    node = helper.make_node
    activated = encoder.activation != "identity"
    before_activation = "activated_from" if activated else "embedding"
    nodes = [
        node("Gather", ["token_table", "input_ids"], ["quantised_rows"]),
        node("Cast", ["quantised_rows"], ["unscaled_rows"], to=TensorProto.FLOAT),
        node("Gather", ["row_scale", "input_ids"], ["scales"]),
        node("Mul", ["unscaled_rows", "scales"], ["rows"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last_axis"], ["mask_column"]),
        node("Mul", ["rows", "mask_column"], ["masked_rows"]),
        node("ReduceSum", ["masked_rows", "token_axis"], ["total"], keepdims=0),
        node("ReduceSum", ["mask", "token_axis"], ["tokens"], keepdims=1),
        node("Max", ["tokens", "one"], ["divisor"]),
    ]
    weights: dict[str, NDArray[Any]] = {}
    if encoder.views is None:
        nodes.append(node("Div", ["total", "divisor"], ["sum_of_rows"]))
    else:
        view_nodes, weights = _views(*encoder.views)
        nodes += [node("Sqrt", ["divisor"], ["root"]), node("Div", ["total", "root"], ["all_rows"]), *view_nodes]
    counts = "token_counts"
    if encoder.count_table.dtype == np.int8:
        counts = "stored_counts"
    nodes.append(node("Gather", ["count_table", "input_ids"], [counts]))
    if counts == "stored_counts":
        nodes.append(node("Cast", [counts], ["token_counts"], to=TensorProto.FLOAT))
    nodes += [
        node("Mul", ["token_counts", "mask_column"], ["masked_counts"]),
        node("ReduceSum", ["masked_counts", "token_axis"], ["counts"], keepdims=0),
        node("Relu", ["counts"], ["positive_counts"]),
        node("Add", ["positive_counts", "one"], ["counts_plus_one"]),
        node("Log", ["counts_plus_one"], ["features"]),
        node("Gemm", ["features", "feature_weight", "bias"], ["projected_features"]),
        node("Add", ["sum_of_rows", "projected_features"], [before_activation]),
    ]
    if activated:
        form = {"approximate": "tanh"} if encoder.activation == "gelu" else {}
        nodes.append(node(encoder.activation.capitalize(), [before_activation], ["embedding"], **form))
    weights |= {
        "token_table": encoder.token_table.astype(np.int8),
        "row_scale": encoder.row_scale.astype(np.float32).reshape(-1, 1),
        "count_table": encoder.count_table,
        "feature_weight": encoder.feature_weight.astype(np.float32),
        "bias": encoder.bias.astype(np.float32),
        "one": np.ones(1, np.float32),
        "last_axis": np.array([2], np.int64),
        "token_axis": np.array([1], np.int64),
    }
    matrix = ["prompts", "tokens"]
    inputs: _Values = [("input_ids", TensorProto.INT64, matrix), ("attention_mask", TensorProto.INT64, matrix)]
    outputs: _Values = [("embedding", TensorProto.FLOAT, ["prompts", encoder.token_table.shape[1]])]
    return nodes, weights, inputs, outputs


def _views(first: View, last: View) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """Nodes from ``rows``, ``mask``, ``tokens`` and ``all_rows`` to ``sum_of_rows``, and their weights."""
    from onnx import TensorProto, helper

    node = helper.make_node
    nodes = [node("CumSum", ["mask", "scan_axis"], ["position"])]
    for name, seen, total, result in (
        ("first", node("LessOrEqual", ["position", "first_tokens"], ["is_first"]), "all_rows", "with_first"),
        ("last", node("Greater", ["position", "before_last"], ["is_last"]), "with_first", "sum_of_rows"),
    ):
        if name == "last":
            nodes.append(node("Sub", ["tokens", "last_tokens"], ["before_last"]))
        nodes += [
            seen,
            node("Cast", [f"is_{name}"], [f"{name}_flags"], to=TensorProto.FLOAT),
            node("Mul", ["mask", f"{name}_flags"], [f"{name}_mask"]),
            node("Unsqueeze", [f"{name}_mask", "last_axis"], [f"{name}_column"]),
            node("Mul", ["rows", f"{name}_column"], [f"{name}_rows"]),
            node("ReduceSum", [f"{name}_rows", "token_axis"], [f"{name}_total"], keepdims=0),
            node("ReduceSum", [f"{name}_mask", "token_axis"], [f"{name}_number"], keepdims=1),
            node("Max", [f"{name}_number", "one"], [f"{name}_divisor"]),
            node("Sqrt", [f"{name}_divisor"], [f"{name}_root"]),
            node("Div", [f"{name}_total", f"{name}_root"], [f"{name}_normal"]),
            node("Mul", [f"{name}_normal", f"{name}_gain"], [f"{name}_view"]),
            node("Add", [total, f"{name}_view"], [result]),
        ]
    weights: dict[str, NDArray[Any]] = {"scan_axis": np.array(1, np.int64)}
    for name, view in (("first", first), ("last", last)):
        weights[f"{name}_tokens"] = np.array([view.tokens], np.float32)
        weights[f"{name}_gain"] = view.gain.astype(np.float32)
    return nodes, weights


def _model(
    nodes: list[Any],
    weights: Mapping[str, NDArray[Any]],
    inputs: Sequence[tuple[str, int, Sequence[Any]]],
    outputs: Sequence[tuple[str, int, Sequence[Any]]],
    head: MatrixFactorizationHead,
) -> bytes:
    from onnx import TensorProto, helper

    node = helper.make_node
    nodes = [
        *nodes,
        node("MatMul", ["embedding", "projection"], ["projected"]),
        node("MatMul", ["projected", "model_heads"], ["model_scores"]),
        node("Gather", ["model_scores", "strong"], ["strong_score"], axis=1),
        node("Gather", ["model_scores", "weak"], ["weak_score"], axis=1),
        node("Sub", ["strong_score", "weak_score"], ["logit"]),
        node("Sigmoid", ["logit"], ["win_rate"]),
    ]
    weights = {**weights, "projection": head.w1.T.astype(np.float32), "model_heads": head.model_heads()}
    inputs = [*inputs, ("strong", TensorProto.INT64, []), ("weak", TensorProto.INT64, [])]
    outputs = [
        *outputs,
        ("model_scores", TensorProto.FLOAT, ["prompts", head.models.shape[0]]),
        ("win_rate", TensorProto.FLOAT, ["prompts"]),
    ]
    return _serialized("turnout_mf", nodes, weights, inputs, outputs)


def _serialized(
    name: str,
    nodes: Sequence[Any],
    weights: Mapping[str, NDArray[Any]],
    inputs: Sequence[tuple[str, int, Sequence[Any]]],
    outputs: Sequence[tuple[str, int, Sequence[Any]]],
) -> bytes:
    from onnx import checker, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    serialized: bytes = model.SerializeToString()
    return serialized
