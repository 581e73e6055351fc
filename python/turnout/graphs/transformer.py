"""The small transformer router as ONNX: from token ids to one score a model.

Matrices and tables are stored as int8, a scale for each output channel or token, and multiplied as float32: ONNX Runtime unfolds
the matrices once, while it loads the graph. Activations are never rounded, so a prompt's scores do not depend on what else is in its
batch; and at this size float32 is as fast on a CPU without int8 dot products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.graphs.fold import quantize_rows
from turnout.graphs.static import IR_VERSION, OPSET, MatrixFactorizationHead

Floats = NDArray[np.float32]

#: Added to the attention of padding.
_PADDING = -1e4
_EPSILON = 1e-5


@dataclass(frozen=True)
class TransformerLayer:
    """One layer, as in :class:`turnout.routers.bert.transformer.Layer`; matrices are ``[inputs, outputs]``.

    Attributes:
        norms: Weight and bias of the normalization before attention, then of that before the inner part, ``[4, width]``.
        query_key_value: ``[width, 3 * attention]`` and its bias.
        mix: ``[attention, width]`` and its bias.
        widen: ``[width, inner]`` and its bias.
        narrow: ``[inner, width]`` and its bias.
    """

    norms: Floats
    query_key_value: tuple[Floats, Floats]
    mix: tuple[Floats, Floats]
    widen: tuple[Floats, Floats]
    narrow: tuple[Floats, Floats]


@dataclass(frozen=True)
class TransformerEncoder:
    """Weights of the encoder.

    Attributes:
        token_rows: float32 ``[vocabulary, width]``.
        positions: float32 ``[max_tokens, width]``.
        layers: From the first to the last.
        heads: Attention heads.
        opinions: float32 ``[vocabulary, opinions]``: columns whose mean over the tokens stands beside the mean of the last layer.
        counts: ``[vocabulary, counts]`` of zeros and ones: columns whose sum's ``log1p`` stands beside both.
        weight: Hidden layer over all of that, float32 ``[width + opinions + counts, dim]``; its activation is gelu (tanh form).
        bias: float32 ``[dim]``.
    """

    token_rows: Floats
    positions: Floats
    layers: Sequence[TransformerLayer]
    heads: int
    opinions: Floats
    counts: Floats
    weight: Floats
    bias: Floats


@dataclass
class _Graph:
    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.weights[name] = np.ascontiguousarray(value)
        return name

    def integers(self, name: str, *values: int) -> str:
        return self.constant(name, np.array(values, dtype=np.int64))

    def matrix(self, name: str, matrix: Floats) -> str:
        """An int8 matrix with a scale for each output, and what multiplies it out."""
        quantized, scale = quantize_rows(matrix.T)
        self.constant(f"{name}_int8", quantized.T)
        self.constant(f"{name}_scale", scale)
        from onnx import TensorProto

        self.add("Cast", [f"{name}_int8"], f"{name}_unscaled", to=TensorProto.FLOAT)
        return self.add("Mul", [f"{name}_unscaled", f"{name}_scale"], name)

    def linear(self, name: str, x: str, weights: tuple[Floats, Floats]) -> str:
        """``x`` has two dimensions: ONNX Runtime then adds the bias during the multiplication, not in a separate pass."""
        self.constant(f"{name}_bias", weights[1])
        return self.add("Gemm", [x, self.matrix(f"{name}_matrix", weights[0]), f"{name}_bias"], name)

    def norm(self, name: str, x: str, weight: Floats, bias: Floats) -> str:
        self.constant(f"{name}_weight", weight)
        self.constant(f"{name}_bias", bias)
        return self.add("LayerNormalization", [x, f"{name}_weight", f"{name}_bias"], name, axis=-1, epsilon=_EPSILON)

    def split(self, x: str, outputs: Sequence[str]) -> Sequence[str]:
        """Equal parts along the second axis."""
        from onnx import helper

        self.nodes.append(helper.make_node("Split", [x], list(outputs), axis=1, num_outputs=len(outputs)))
        return outputs

    def floats(self, name: str, table: str) -> str:
        """A row of an integer table for each token, float32 ``[prompts, tokens, columns]``."""
        from onnx import TensorProto

        return self.add("Cast", [self.add("Gather", [table, "input_ids"], name)], f"{name}_float", to=TensorProto.FLOAT)

    def by_prompt(self, x: str, width: int) -> str:
        """``[prompts * tokens, width]`` as ``[prompts, tokens, width]``."""
        shape = self.add("Concat", ["prompts_tokens", self.integers(f"{x}_width", width)], f"{x}_shape", axis=0)
        return self.add("Reshape", [x, shape], f"{x}_by_prompt")

    def total(self, name: str, x: str) -> str:
        """Sum over the tokens that are there, as a product with the mask: ``[prompts, columns]``."""
        return self.add("Squeeze", [self.add("MatMul", ["mask_row", x], f"{name}_row"), "one"], name)

    def mean(self, name: str, x: str) -> str:
        """Mean over the tokens that are there, ``[prompts, columns]``."""
        return self.add("Div", [self.total(f"{name}_total", x), "divisor"], name)


def transformer_graph(encoder: TransformerEncoder, head: MatrixFactorizationHead) -> bytes:
    """Graph from token ids to scores.

    Inputs: ``input_ids`` and ``attention_mask`` int64 ``[prompts, tokens]``. Outputs: ``embedding`` float32 ``[prompts, dim]``,
    ``model_scores`` float32 ``[prompts, models]``.

    Args:
        encoder: The encoder.
        head: The head, over embeddings of the encoder's dimension.

    Returns:
        A serialized ``onnx.ModelProto``.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    g = _Graph()
    x = _rows_of_tokens(g, encoder)
    for index, layer in enumerate(encoder.layers):
        name = f"layer{index}"
        x, units = _layer(g, name, x, layer, encoder)
        if index + 1 < len(encoder.layers):
            x = g.add("Add", [x, g.linear(f"{name}_narrow", units, layer.narrow)], f"{name}_out")
    _pooled(g, x, units, encoder)
    g.constant("hidden_weight", encoder.weight)
    g.constant("hidden_bias", encoder.bias)
    g.add("Gemm", ["pooled", "hidden_weight", "hidden_bias"], "before_activation")
    g.add("Gelu", ["before_activation"], "embedding", approximate="tanh")
    g.constant("projection", head.w1.T.astype(np.float32))
    g.constant("model_heads", head.model_heads())
    g.add("MatMul", ["embedding", "projection"], "projected")
    g.add("MatMul", ["projected", "model_heads"], "model_scores")

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        g.nodes,
        "turnout_bert",
        [value(name, TensorProto.INT64, ["prompts", "tokens"]) for name in ("input_ids", "attention_mask")],
        [
            value("embedding", TensorProto.FLOAT, ["prompts", len(encoder.bias)]),
            value("model_scores", TensorProto.FLOAT, ["prompts", len(head.models)]),
        ],
        [numpy_helper.from_array(weight, name) for name, weight in g.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    serialized: bytes = model.SerializeToString()
    return serialized


def _rows_of_tokens(g: _Graph, encoder: TransformerEncoder) -> str:
    from onnx import TensorProto

    table, scale = quantize_rows(encoder.token_rows)
    g.constant("token_table", table)
    g.constant("row_scale", scale.reshape(-1, 1))
    g.constant("positions", encoder.positions)
    g.integers("zero", 0)
    g.integers("one", 1)
    g.add("Cast", [g.add("Gather", ["token_table", "input_ids"], "rows_int8")], "rows_unscaled", to=TensorProto.FLOAT)
    g.add("Mul", ["rows_unscaled", g.add("Gather", ["row_scale", "input_ids"], "scales")], "rows")
    g.add("Shape", ["input_ids"], "length", start=1, end=2)
    g.add("Slice", ["positions", "zero", "length", "zero"], "places")
    # What attention adds to the scores of padding.
    g.constant("unit", np.ones(1, np.float32))
    g.constant("padding", np.full(1, _PADDING, np.float32))
    g.integers("head_axes", 1, 2)
    attention = encoder.layers[0].mix[0].shape[0]
    g.integers("heads", 3 * encoder.heads, attention // encoder.heads)
    g.add("Concat", [g.add("Shape", ["input_ids"], "prompts_tokens"), "heads"], "by_head", axis=0)
    g.integers("flat", -1, encoder.positions.shape[1])
    g.add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    g.add("Unsqueeze", [g.add("Sub", ["unit", "mask"], "absent"), "head_axes"], "absent_keys")
    g.add("Mul", ["absent_keys", "padding"], "attention_bias")
    return g.add("Reshape", [g.add("Add", ["rows", "places"], "rows_in_place"), "flat"], "layer0_in")


def _layer(g: _Graph, name: str, x: str, layer: TransformerLayer, encoder: TransformerEncoder) -> tuple[str, str]:
    """Up to the activation inside: ``x`` with attention added, and the units, both ``[prompts * tokens, .]``."""
    attention = layer.mix[0].shape[0]
    size = attention // encoder.heads
    matrix, bias = (part.copy() for part in layer.query_key_value)
    matrix[:, :attention] /= np.sqrt(size)
    bias[:attention] /= np.sqrt(size)
    g.integers("joined", -1, attention)

    # Query, key and value of every head, [prompts, 3 * heads, tokens, size], turned in one pass.
    stacked = g.linear(f"{name}_qkv", g.norm(f"{name}_norm", x, layer.norms[0], layer.norms[1]), (matrix, bias))
    g.add("Reshape", [stacked, "by_head"], f"{name}_heads")
    g.add("Transpose", [f"{name}_heads"], f"{name}_turned", perm=[0, 2, 1, 3])
    query, key, value = g.split(f"{name}_turned", [f"{name}_{part}" for part in ("query", "key", "value")])
    g.add("Transpose", [key], f"{name}_key_columns", perm=[0, 1, 3, 2])
    g.add("MatMul", [query, f"{name}_key_columns"], f"{name}_scores")
    g.add("Add", [f"{name}_scores", "attention_bias"], f"{name}_masked")
    g.add("Softmax", [f"{name}_masked"], f"{name}_attention", axis=-1)
    g.add("MatMul", [f"{name}_attention", value], f"{name}_mixed")
    g.add("Transpose", [f"{name}_mixed"], f"{name}_mixed_turned", perm=[0, 2, 1, 3])
    g.add("Reshape", [f"{name}_mixed_turned", "joined"], f"{name}_mixed_joined")
    x = g.add("Add", [x, g.linear(f"{name}_mix", f"{name}_mixed_joined", layer.mix)], f"{name}_between")

    normed = g.norm(f"{name}_inner_norm", x, layer.norms[2], layer.norms[3])
    return x, g.add("Relu", [g.linear(f"{name}_widen", normed, layer.widen)], f"{name}_inner")


def _pooled(g: _Graph, x: str, units: str, encoder: TransformerEncoder) -> None:
    """Means and sums over the tokens. The last matrix is linear, so it multiplies the mean of its units, not each token's."""
    opinions, scale = quantize_columns(encoder.opinions)
    g.constant("opinion_table", opinions)
    g.constant("opinion_scale", scale)
    g.constant("count_table", encoder.counts.astype(np.int8))
    g.add("ReduceSum", ["mask", "one"], "tokens", keepdims=1)
    g.add("Max", ["tokens", "unit"], "divisor")
    g.add("Unsqueeze", ["mask", "one"], "mask_row")

    g.mean("mean_between", g.by_prompt(x, encoder.positions.shape[1]))
    g.mean("mean_units", g.by_prompt(units, encoder.layers[-1].widen[1].shape[0]))
    matrix, bias = encoder.layers[-1].narrow
    g.constant("last_narrow_bias", bias)
    # A prompt without tokens has the mean zero.
    g.add("Mul", [g.add("Div", ["tokens", "divisor"], "is_there"), "last_narrow_bias"], "mean_bias")
    g.add("MatMul", ["mean_units", g.matrix("last_narrow_matrix", matrix)], "mean_product")
    g.add("Sum", ["mean_between", "mean_product", "mean_bias"], "mean")
    g.mean("mean_unscaled", g.floats("token_opinions", "opinion_table"))
    g.add("Mul", ["mean_unscaled", "opinion_scale"], "mean_opinions")
    counts = g.total("counts", g.floats("token_counts", "count_table"))
    g.add("Log", [g.add("Add", [counts, "unit"], "counts_plus_one")], "features")
    g.add("Concat", ["mean", "mean_opinions", "features"], "pooled", axis=1)


def quantize_columns(columns: Floats) -> tuple[NDArray[np.int16], Floats]:
    """Symmetric int16 per column: ``columns ~ table * scale``; int16 ``[rows, columns]`` and float32 ``[columns]``."""
    scale = np.abs(columns).max(axis=0) / 32767.0
    scale = np.where(scale > 0, scale, 1.0)
    return np.rint(columns / scale).astype(np.int16), scale.astype(np.float32)
