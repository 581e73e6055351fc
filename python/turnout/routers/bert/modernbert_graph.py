"""The graph of ModernBERT classifiers: pre-norm layers, rotary positions, attention to all tokens or to a window, gated units.

ModernBERT is described in "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder for Fast, Memory Efficient, and Long Context
Finetuning and Inference" (arXiv 2412.13663, section 2); details that the paper omits follow transformers' ``ModernBertForSequenceClassification``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from turnout._core import ArtifactError
from turnout.graphs.activations import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turnout.graphs.checkpoint import Checkpoint
    from turnout.graphs.network import NetworkWriter

#: More layers than any model has: a list is made of them before the first is read.
_MOST_LAYERS = 10_000
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_LARGEST_THETA = 1e30
#: Where a configuration does not name the base of the rotary angles.
_THETA = {_GLOBAL: ("global_rope_theta", 160_000.0), _LOCAL: ("local_rope_theta", 10_000.0)}


@dataclass(frozen=True)
class _Attention:
    """What layers of one type share; names of values in the graph.

    ``bias`` is float32 ``[prompts, 1, 1 or tokens, tokens]``, added to the attention scores; ``cosine`` and ``sine`` are float32
    ``[tokens, size / 2]``, of heads ``size`` wide.
    """

    bias: str
    cosine: str
    sine: str


def modernbert_positions(source: Checkpoint) -> int:
    """Tokens for which the checkpoint was trained; the angles go on beyond them."""
    return source.whole("max_position_embeddings", default=8192)


def modernbert_logits(w: NetworkWriter, source: Checkpoint, labels: int) -> str:
    """Writes the network.

    Args:
        w: Where to.
        source: A checkpoint of ``model_type`` ``modernbert``.
        labels: Columns of the classifier.

    Returns:
        The name of the logits, float32 ``[prompts, labels]``.

    Raises:
        ArtifactError: A field or tensor is missing, of another size or of another kind; names file, field and tensor.
    """
    config = source.folder / "config.json"
    dim, heads = source.whole("hidden_size"), source.whole("num_attention_heads")
    inner, vocabulary = source.whole("intermediate_size"), source.whole("vocab_size")
    if dim % (2 * heads):
        raise ArtifactError.at(config, f"hidden_size {dim} is not a multiple of twice num_attention_heads {heads}")
    size = dim // heads
    pooling = source.config.get("classifier_pooling", "cls")
    if pooling not in ("cls", "mean"):
        raise ArtifactError.at(config, f"classifier_pooling is {pooling!r}, expected 'cls' or 'mean'")
    epsilon = source.number("norm_eps", default=1e-5, least=0, most=1)
    gated, act = Activation(source, "hidden_activation"), Activation(source, "classifier_activation")
    axis = w.constant([1], np.int64)

    def bias(field: str, name: str, rows: int) -> NDArray[np.float32] | None:
        return source.tensor(f"{name}.bias", rows) if source.config.get(field, False) else None

    def normalized(x: str, name: str) -> str:
        weights = [source.tensor(f"{name}.weight", dim), bias("norm_bias", name, dim)]
        named = [w.weight(weight) for weight in weights if weight is not None]
        return str(w.add("LayerNormalization", x, *named, axis=-1, epsilon=epsilon))

    def linear(x: str, name: str, rows: int, columns: int, field: str) -> str:
        return w.linear(x, source.tensor(f"{name}.weight", rows, columns), bias(field, name, rows))

    def first_of(x: str) -> str:
        """The first token, ``[prompts, 1, dim]``."""
        return str(w.add("Slice", x, w.constant([0], np.int64), axis, axis))

    def split(x: str, count: int) -> str:
        """``[prompts, count, tokens, size]``."""
        return str(
            w.add("Transpose", w.add("Reshape", x, w.constant([0, 0, count, size], np.int64)), perm=[0, 2, 1, 3])
        )

    source.expect("model.embeddings.tok_embeddings.weight", vocabulary, dim)
    types = _layer_types(source)
    shared = _attentions(w, source, size, set(types))
    x = w.gather(source.tensor("model.embeddings.tok_embeddings.weight", vocabulary, dim), "input_ids")
    x = normalized(x, "model.embeddings.norm")
    for number, kind in enumerate(types):
        layer, attention, seen = f"model.layers.{number}", shared[kind], shared[kind].bias
        # The embeddings are normalized already, so the first layer has no norm.
        h = normalized(x, f"{layer}.attn_norm") if number else x
        weight = source.tensor(f"{layer}.attn.Wqkv.weight", 3 * dim, dim)
        offset = bias("attention_bias", f"{layer}.attn.Wqkv", 3 * dim)
        weight[:dim] /= math.sqrt(size)
        if offset is not None:
            offset[:dim] /= math.sqrt(size)
        if number + 1 == len(types) and pooling == "cls":
            # The classifier reads only the first token, so the last layer computes only that one. Its angle is zero.
            q = split(w.linear(first_of(h), weight[:dim], None if offset is None else offset[:dim]), heads)
            stacked = w.linear(h, weight[dim:], None if offset is None else offset[dim:])
            k, v = w.add("Split", stacked, outputs=2, axis=-1, num_outputs=2)
            k, v, x = _rotated(w, split(k, heads), attention), split(v, heads), first_of(x)
            seen = w.add("Slice", seen, w.constant([0], np.int64), axis, w.constant([2], np.int64))
        else:
            stacked = w.linear(h, weight, offset)
            qk, v = w.add("Split", stacked, w.constant([2 * dim, dim], np.int64), outputs=2, axis=-1)
            q, k = w.add("Split", _rotated(w, split(qk, 2 * heads), attention), outputs=2, axis=1, num_outputs=2)
            v = split(v, heads)
        scores = w.add("Add", w.add("MatMul", q, w.add("Transpose", k, perm=[0, 1, 3, 2])), seen)
        mixed = w.add("Transpose", w.add("MatMul", w.add("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        mixed = w.add("Reshape", mixed, w.constant([0, 0, dim], np.int64))
        x = w.add("Add", x, linear(mixed, f"{layer}.attn.Wo", dim, dim, "attention_bias"))
        h = normalized(x, f"{layer}.mlp_norm")
        # Gated linear units ("GLU Variants Improve Transformer", arXiv 2002.05202, section 2).
        h = linear(h, f"{layer}.mlp.Wi", 2 * inner, dim, "mlp_bias")
        value, gate = w.add("Split", h, outputs=2, axis=-1, num_outputs=2)
        hidden = w.add("Mul", gated(w, value), gate)
        x = w.add("Add", x, linear(hidden, f"{layer}.mlp.Wo", dim, inner, "mlp_bias"))
    x = normalized(x, "model.final_norm")
    pooled = w.add("Squeeze", x, axis) if pooling == "cls" else _mean(w, x)
    pooled = act(w, linear(pooled, "head.dense", dim, dim, "classifier_bias"))
    pooled = normalized(pooled, "head.norm")
    # The last layer decides and is small: it stays float32.
    logits = w.add("MatMul", pooled, w.weight(source.tensor("classifier.weight", labels, dim).T))
    return str(w.add("Add", logits, w.weight(source.tensor("classifier.bias", labels))))


def _layer_types(source: Checkpoint) -> list[str]:
    """What each layer attends to; older configurations say how often a layer attends to all."""
    config = source.folder / "config.json"
    layers = source.whole("num_hidden_layers", most=_MOST_LAYERS)
    types = source.config.get("layer_types")
    if types is None:
        every = source.whole("global_attn_every_n_layers", default=3)
        return [_LOCAL if number % every else _GLOBAL for number in range(layers)]
    if not isinstance(types, list) or len(types) != layers or not all(kind in _THETA for kind in map(str, types)):
        raise ArtifactError.at(config, f"layer_types is {types}, expected {layers} times {_GLOBAL!r} or {_LOCAL!r}")
    return types


def _theta(source: Checkpoint, kind: str) -> float:
    """Base of the rotary angles."""
    config = source.folder / "config.json"
    field, default = _THETA[kind]
    listed = source.table("rope_parameters")
    rope = listed.get(kind) or {}
    if not isinstance(rope, dict):
        raise ArtifactError.at(config, f"{kind} of rope_parameters is {rope!r}, expected an object")
    form = (source.table("rope_scaling") or rope).get("rope_type", "default")
    if form != "default":
        raise ArtifactError.at(config, f"rope_type of {kind} is {form!r}, expected 'default'")
    theta = rope.get("rope_theta", source.config.get(field, default))
    if isinstance(theta, bool) or not isinstance(theta, (int, float)) or not 0 < theta <= _LARGEST_THETA:
        raise ArtifactError.at(config, f"{field} (rope_theta of {kind}) is {theta!r}, expected a number above 0")
    return float(theta)


def _attentions(w: NetworkWriter, source: Checkpoint, size: int, types: set[str]) -> dict[str, _Attention]:
    """What the layers of each type share."""
    tokens = w.add("Squeeze", w.add("Shape", "input_ids", start=1, end=2), w.constant([0], np.int64))
    token_positions = w.add("Range", w.constant(0, np.int64), tokens, w.constant(1, np.int64))
    column = w.add("Unsqueeze", token_positions, w.constant([1], np.int64))
    # Minus a billion where there is padding: its softmax is zero, so a prompt does not see with whom it shares a run.
    missing = w.add("Sub", w.constant(1.0), w.add("Cast", "attention_mask", to=1))
    biases = {
        _GLOBAL: w.add("Unsqueeze", w.add("Mul", missing, w.constant(-1e9)), w.constant([1, 2], np.int64)),
    }
    if _LOCAL in types:
        # Half of `local_attention` on either side, ends included.
        window = w.constant(source.whole("local_attention", default=128) // 2, np.int64)
        distance = w.add("Abs", w.add("Sub", column, w.add("Unsqueeze", token_positions, w.constant([0], np.int64))))
        far = w.add("Where", w.add("Greater", distance, window), w.constant(-1e9), w.constant(0.0))
        biases[_LOCAL] = w.add("Add", biases[_GLOBAL], far)
    shared = {}
    for kind in sorted(types):
        # Rotary embedding ("RoFormer", arXiv 2104.09864, section 3.2), rounded to float32 where torch rounds: late positions have large angles.
        frequencies = (_theta(source, kind) ** -(np.arange(0, size, 2) / size)).astype(np.float32)
        angles = w.add("Mul", w.add("Cast", column, to=1), w.constant(frequencies))
        shared[kind] = _Attention(biases[kind], w.add("Cos", angles), w.add("Sin", angles))
    return shared


def _rotated(w: NetworkWriter, x: str, attention: _Attention) -> str:
    """Heads, float32 ``[prompts, heads, tokens, size]``, turned by their places; a head's halves are the two coordinates."""
    first, second = w.add("Split", x, outputs=2, axis=-1, num_outputs=2)
    cosine, sine = attention.cosine, attention.sine
    left = w.add("Sub", w.add("Mul", first, cosine), w.add("Mul", second, sine))
    right = w.add("Add", w.add("Mul", second, cosine), w.add("Mul", first, sine))
    return str(w.add("Concat", left, right, axis=-1))


def _mean(w: NetworkWriter, x: str) -> str:
    """Mean over a prompt's own tokens, float32 ``[prompts, dim]``."""
    axis = w.constant([1], np.int64)
    mask = w.add("Unsqueeze", w.add("Cast", "attention_mask", to=1), w.constant([2], np.int64))
    total = w.add("ReduceSum", w.add("Mul", x, mask), axis, keepdims=0)
    count = w.add("ReduceSum", mask, axis, keepdims=0)
    return str(w.add("Div", total, w.add("Max", count, w.constant(1.0))))
