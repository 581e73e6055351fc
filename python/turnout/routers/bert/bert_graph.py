"""The graph of classifiers of the BERT family: post-norm encoder layers, and a head that reads the first token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout._core import ArtifactError
from turnout.graphs.activations import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turnout.graphs.checkpoint import Checkpoint
    from turnout.graphs.network import NetworkWriter


@dataclass(frozen=True)
class _Family:
    """Names of tensors in a checkpoint; layers are numbered in place of ``{}``."""

    embeddings: str
    layer: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    feed_forward: str
    feed_forward_out: str
    norm: str
    head: str
    head_activation: str
    classifier: str
    #: Linear layer after embeddings that are narrower than the encoder; such a checkpoint names their ``embedding_size``.
    projection: str | None = None
    counts_tokens: bool = False


_BERT = _Family(
    embeddings="bert.embeddings",
    layer="bert.encoder.layer.{}",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    feed_forward="intermediate.dense",
    feed_forward_out="output.dense",
    norm="output.LayerNorm",
    head="bert.pooler.dense",
    head_activation="Tanh",
    classifier="classifier",
)
_ROBERTA = replace(
    _BERT,
    embeddings="roberta.embeddings",
    layer="roberta.encoder.layer.{}",
    head="classifier.dense",
    classifier="classifier.out_proj",
    counts_tokens=True,
)
_ELECTRA = replace(
    _BERT,
    embeddings="electra.embeddings",
    layer="electra.encoder.layer.{}",
    head="classifier.dense",
    head_activation="Gelu",
    classifier="classifier.out_proj",
    projection="electra.embeddings_project",
)
_DISTILBERT = _Family(
    embeddings="distilbert.embeddings",
    layer="distilbert.transformer.layer.{}",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    attention_norm="sa_layer_norm",
    feed_forward="ffn.lin1",
    feed_forward_out="ffn.lin2",
    norm="output_layer_norm",
    head="pre_classifier",
    head_activation="Relu",
    classifier="classifier",
)
_FAMILIES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": _ELECTRA,
    "distilbert": _DISTILBERT,
}
#: The ``model_type`` of every checkpoint that :func:`bert_logits` reads.
BERT_TYPES = tuple(_FAMILIES)


def bert_positions(source: Checkpoint) -> int:
    """Tokens for which the checkpoint has positions; RoBERTa's do not use the first rows of their table."""
    rows, first = _rows_of_positions(source), _first_position(source, _FAMILIES[source.kind])
    if rows <= first:
        raise ArtifactError.at(
            source.folder / "config.json",
            f"max_position_embeddings is {rows}, expected more than pad_token_id + 1, {first}",
        )
    return rows - first


def bert_logits(w: NetworkWriter, source: Checkpoint, labels: int) -> str:
    """Writes the network: BERT ("BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", arXiv 1810.04805, section 3) and those that differ from it in names, positions and head.

    Args:
        w: Where to.
        source: A checkpoint of one of :data:`BERT_TYPES`.
        labels: Columns of the classifier.

    Returns:
        The name of the logits, float32 ``[prompts, labels]``.

    Raises:
        ArtifactError: A field or tensor is missing or of another size; names file and tensor.
    """
    family = _FAMILIES[source.kind]
    config = source.folder / "config.json"
    dim, layers = source.whole("hidden_size", "dim"), source.whole("num_hidden_layers", "n_layers")
    heads, inner = source.whole("num_attention_heads", "n_heads"), source.whole("intermediate_size", "hidden_dim")
    if dim % heads:
        raise ArtifactError.at(config, f"hidden_size {dim} is not a multiple of num_attention_heads {heads}")
    activation = Activation(source, "hidden_act", "activation")
    if source.config.get("position_embedding_type", "absolute") != "absolute":
        raise ArtifactError.at(config, 'position_embedding_type is not "absolute"')
    epsilon = source.number("layer_norm_eps", default=1e-12, least=0, most=1)

    def matrix(name: str, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return source.tensor(f"{name}.weight", rows, columns), source.tensor(f"{name}.bias", rows)

    def normalized(x: str, name: str, width: int = dim) -> str:
        scale, bias = source.tensor(f"{name}.weight", width), source.tensor(f"{name}.bias", width)
        return str(w.add("LayerNormalization", x, w.weight(scale), w.weight(bias), axis=-1, epsilon=epsilon))

    # Minus a billion where there is padding: its softmax is zero, so a prompt does not see with whom it shares a run.
    mask = w.add("Cast", "attention_mask", to=1)
    missing = w.add("Sub", w.constant(1.0), mask)
    bias = w.add("Mul", missing, w.constant(-1e9))
    bias = w.add("Unsqueeze", bias, w.constant([1, 2], np.int64))

    width = source.whole("embedding_size", default=dim) if family.projection else dim
    # One row for each token of each prompt, up to the first tokens of the last layer.
    x = w.add("Reshape", _embedded(w, source, family, width), w.constant([-1, width], np.int64))
    x = normalized(x, f"{family.embeddings}.LayerNorm", width)
    if family.projection and width != dim:
        x = w.dense(x, *matrix(family.projection, dim, width))
    size = dim // heads
    prompts_tokens = w.add("Shape", "input_ids")

    def by_head(rows: str, parts: int) -> list[str]:
        """Parts of rows side by side, each ``[prompts, heads, tokens, size]``."""
        shape = w.add("Concat", prompts_tokens, w.constant([parts * heads, size], np.int64), axis=0)
        turned = w.add("Transpose", w.add("Reshape", rows, shape), perm=[0, 2, 1, 3])
        return list(w.add("Split", turned, outputs=parts, axis=1, num_outputs=parts))

    for number in range(layers):
        layer = family.layer.format(number)
        query, query_bias = matrix(f"{layer}.{family.query}", dim, dim)
        key, key_bias = matrix(f"{layer}.{family.key}", dim, dim)
        value, value_bias = matrix(f"{layer}.{family.value}", dim, dim)
        root = np.float32(np.sqrt(size))
        query, query_bias = query / root, query_bias / root
        if number + 1 < layers:
            stacked = np.concatenate([query, key, value]), np.concatenate([query_bias, key_bias, value_bias])
            q, k, v = by_head(w.dense(x, *stacked), 3)
        else:
            # The classifier reads only the first token, so the last layer computes only that one.
            stacked = np.concatenate([key, value]), np.concatenate([key_bias, value_bias])
            k, v = by_head(w.dense(x, *stacked), 2)
            by_prompt = w.add("Concat", prompts_tokens, w.constant([dim], np.int64), axis=0)
            x = w.add("Gather", w.add("Reshape", x, by_prompt), w.constant(0, np.int64), axis=1)
            q = w.add("Reshape", w.dense(x, query, query_bias), w.constant([-1, heads, 1, size], np.int64))
        scores = w.add("MatMul", q, w.add("Transpose", k, perm=[0, 1, 3, 2]))
        mixed = w.add("MatMul", w.add("Softmax", w.add("Add", scores, bias), axis=-1), v)
        mixed = w.add("Reshape", w.add("Transpose", mixed, perm=[0, 2, 1, 3]), w.constant([-1, dim], np.int64))
        attended = w.dense(mixed, *matrix(f"{layer}.{family.attention_out}", dim, dim))
        x = normalized(w.add("Add", attended, x), f"{layer}.{family.attention_norm}")
        hidden = activation(w, w.dense(x, *matrix(f"{layer}.{family.feed_forward}", inner, dim)))
        x = normalized(
            w.add("Add", w.dense(hidden, *matrix(f"{layer}.{family.feed_forward_out}", dim, inner)), x),
            f"{layer}.{family.norm}",
        )
    pooled = w.add(family.head_activation, w.dense(x, *matrix(family.head, dim, dim)))
    # The last layer decides and is small: it stays float32.
    scores = w.add("MatMul", pooled, w.weight(source.tensor(f"{family.classifier}.weight", labels, dim).T))
    return str(w.add("Add", scores, w.weight(source.tensor(f"{family.classifier}.bias", labels))))


def _rows_of_positions(source: Checkpoint) -> int:
    return source.whole("max_position_embeddings", default=512)


def _first_position(source: Checkpoint, family: _Family) -> int:
    return source.whole("pad_token_id", default=1, least=0) + 1 if family.counts_tokens else 0


def _embedded(w: NetworkWriter, source: Checkpoint, family: _Family, dim: int) -> str:
    vocabulary = source.whole("vocab_size")
    words = w.gather(source.tensor(f"{family.embeddings}.word_embeddings.weight", vocabulary, dim), "input_ids")
    table = source.tensor(f"{family.embeddings}.position_embeddings.weight", _rows_of_positions(source), dim)
    types = f"{family.embeddings}.token_type_embeddings.weight"
    if types in source:
        # A router sees one text: all tokens are of the first type.
        table = table + source.tensor(types, source.whole("type_vocab_size", default=2), dim)[0]
    one = w.constant([1], np.int64)
    if family.counts_tokens:
        # RoBERTa numbers what is not padding, from the padding's id + 1 on; a literal padding token in a prompt is not counted.
        padding = w.constant(_first_position(source, family) - 1, np.int64)
        real = w.add("Cast", w.add("Not", w.add("Equal", "input_ids", padding)), to=7)
        real = w.add("Mul", real, "attention_mask")
        numbers = w.add("Add", w.add("Mul", w.add("CumSum", real, w.constant(1, np.int64)), real), padding)
        where: Any = w.add("Gather", w.weight(table), numbers)
    else:
        tokens = w.add("Shape", "input_ids", start=1, end=2)
        where = w.add("Slice", w.weight(table), w.constant([0], np.int64), tokens, w.constant([0], np.int64), one)
    return str(w.add("Add", words, where))
