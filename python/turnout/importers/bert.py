"""Imports sequence classifiers of the BERT family as routers, as RouteLLM's ``bert`` router uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout._core import ArtifactError, ConfigError
from turnout.export.precision import PRECISIONS, Precision
from turnout.importers.checkpoint import Checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turnout.export.network import NetworkWriter

#: What RouteLLM's labels mean, by their number (its ``BERTRouter``: the win rate is the first label's probability).
DEFAULT_LABELS = {1: ("strong",), 2: ("strong", "weak"), 3: ("strong", "tie", "weak")}


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
_ROBERTA = _Family(
    **{
        **_BERT.__dict__,
        "embeddings": "roberta.embeddings",
        "layer": "roberta.encoder.layer.{}",
        "head": "classifier.dense",
        "classifier": "classifier.out_proj",
        "counts_tokens": True,
    }
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
_FAMILIES = {"bert": _BERT, "roberta": _ROBERTA, "xlm-roberta": _ROBERTA, "distilbert": _DISTILBERT}
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}


def import_bert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    strong: str = "gpt-4-1106-preview",
    weak: str = "mixtral-8x7b-instruct-v0.1",
    labels: Sequence[str] | None = None,
    threshold: float = 0.5,
    name: str = "bert",
    precision: Precision = "float32",
) -> Path:
    """Writes an artifact from a checkpoint of ``AutoModelForSequenceClassification``.

    BERT, MiniLM, RoBERTa, XLM-RoBERTa and DistilBERT with 1, 2 or 3 labels. The win rate is the softmax at the label ``strong``, or
    the sigmoid of a single logit. Longer prompts are cut where the tokenizer of the checkpoint would cut them.

    Args:
        checkpoint: Folder with ``config.json``, safetensors, ``tokenizer.json`` and ``tokenizer_config.json``.
        out: Artifact folder to write.
        strong: Strong model.
        weak: Weak model.
        labels: ``"strong"``, ``"tie"`` and ``"weak"`` in the order of the logits; by default the checkpoint's own names where they
            are these, else RouteLLM's order.
        threshold: Default threshold.
        name: Of the artifact.
        precision: Of linear layers and embeddings: ``"float32"``, ``"float16"`` (for GPUs alone), ``"int8"`` or ``"int4"``; see
            :mod:`turnout.export.precision`.

    Returns:
        The artifact folder.

    Raises:
        ArtifactError: The checkpoint is of another kind, or damaged; names file and tensor.
        ConfigError: The labels do not fit, there is no such precision, or a weight is beyond it.
    """
    from turnout.export.artifact import ArtifactSpec, write_artifact
    from turnout.export.network import NetworkWriter

    source, out = Checkpoint(checkpoint), Path(out)
    kind = str(source.config.get("model_type"))
    if kind not in _FAMILIES:
        raise ArtifactError(f"{source.folder / 'config.json'}: model_type is {kind!r}, expected {', '.join(_FAMILIES)}")
    family = _FAMILIES[kind]
    count = len(source.config.get("id2label") or {0: "", 1: ""})
    meaning = _labels(source, labels, count)
    position_offset = int(source.number("pad_token_id", default=1)) + 1 if family.counts_tokens else 0
    positions = int(source.number("max_position_embeddings", default=512))
    writer = NetworkWriter(out, source.bytes_as_float32, precision)
    logits = _classifier(writer, source, family, positions, position_offset, count)
    writer.name_output(logits, "logits")
    graph = writer.finish([("logits", ["prompts", count])])
    spec = ArtifactSpec(
        name=name,
        kind="bert",
        models=[strong, weak],
        strong=strong,
        weak=weak,
        encoder={"kind": "graph", "dim": int(source.number("hidden_size", "dim"))},
        max_tokens=source.max_tokens(positions - position_offset),
        default_threshold=threshold,
        graph_precision=precision,
        sections={"labels": list(meaning)},
        provenance={
            "imported_from": f"{kind} checkpoint {source.folder.name}",
            "weights": PRECISIONS[precision],
        },
    )
    return write_artifact(out, spec, graph=graph, tokenizer=source.tokenizer(), data=writer.data)


def _labels(source: Checkpoint, labels: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if count not in DEFAULT_LABELS:
        raise ArtifactError(f"{source.folder / 'config.json'}: id2label has {count} labels, expected 1, 2 or 3")
    expected = set(DEFAULT_LABELS[count])
    if labels is None:
        own = source.config.get("id2label") or {}
        names = [str(own.get(str(place), "")).lower() for place in range(count)]
        return tuple(names) if set(names) == expected else DEFAULT_LABELS[count]
    if set(labels) != expected or len(labels) != count:
        raise ConfigError(
            f"labels are {', '.join(labels)}, expected {', '.join(sorted(expected))} in the order of the logits"
        )
    return tuple(labels)


def _classifier(
    w: NetworkWriter, source: Checkpoint, family: _Family, positions: int, position_offset: int, labels: int
) -> str:
    config = source.folder / "config.json"
    dim, layers = int(source.number("hidden_size", "dim")), int(source.number("num_hidden_layers", "n_layers"))
    heads, inner = (
        int(source.number("num_attention_heads", "n_heads")),
        int(source.number("intermediate_size", "hidden_dim")),
    )
    if dim <= 0 or heads <= 0 or dim % heads:
        raise ArtifactError(f"{config}: hidden_size {dim} is no multiple of num_attention_heads {heads}")
    activation = str(source.config.get("hidden_act", source.config.get("activation", "gelu")))
    if activation not in _ACTIVATIONS:
        raise ArtifactError(f"{config}: hidden_act is {activation!r}, expected {', '.join(_ACTIVATIONS)}")
    if source.config.get("position_embedding_type", "absolute") != "absolute":
        raise ArtifactError(f'{config}: position_embedding_type is not "absolute"')
    epsilon = source.number("layer_norm_eps", default=1e-12)

    def matrix(name: str, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return source.tensor(f"{name}.weight", rows, columns), source.tensor(f"{name}.bias", rows)

    def normalised(x: str, name: str) -> str:
        scale, bias = source.tensor(f"{name}.weight", dim), source.tensor(f"{name}.bias", dim)
        return str(w.add("LayerNormalization", x, w.weight(scale), w.weight(bias), axis=-1, epsilon=epsilon))

    # Minus a billion where there is padding: its softmax is zero, so a prompt does not see with whom it shares a run.
    mask = w.add("Cast", "attention_mask", to=1)
    missing = w.add("Sub", w.constant(1.0), mask)
    bias = w.add("Mul", missing, w.constant(-1e9))
    bias = w.add("Unsqueeze", bias, w.constant([1, 2], np.int64))

    x = normalised(_embedded(w, source, family, positions, position_offset, dim), f"{family.embeddings}.LayerNorm")
    split = [0, 0, heads, dim // heads]
    for number in range(layers):
        layer = family.layer.format(number)
        query, query_bias = matrix(f"{layer}.{family.query}", dim, dim)
        key, key_bias = matrix(f"{layer}.{family.key}", dim, dim)
        value, value_bias = matrix(f"{layer}.{family.value}", dim, dim)
        root = np.float32(np.sqrt(dim // heads))
        query, query_bias = query / root, query_bias / root
        if number + 1 < layers:
            stacked = w.linear(
                x, np.concatenate([query, key, value]), np.concatenate([query_bias, key_bias, value_bias])
            )
            q, k, v = w.add("Split", stacked, outputs=3, axis=-1, num_outputs=3)
        else:
            # The classifier reads the first token alone: in the last layer nothing else is asked for.
            stacked = w.linear(x, np.concatenate([key, value]), np.concatenate([key_bias, value_bias]))
            k, v = w.add("Split", stacked, outputs=2, axis=-1, num_outputs=2)
            x = w.add("Slice", x, w.constant([0], np.int64), w.constant([1], np.int64), w.constant([1], np.int64))
            q = w.linear(x, query, query_bias)
        shape = w.constant(split, np.int64)
        q = w.add("Transpose", w.add("Reshape", q, shape), perm=[0, 2, 1, 3])
        k = w.add("Transpose", w.add("Reshape", k, shape), perm=[0, 2, 3, 1])
        v = w.add("Transpose", w.add("Reshape", v, shape), perm=[0, 2, 1, 3])
        weights = w.add("Softmax", w.add("Add", w.add("MatMul", q, k), bias), axis=-1)
        mixed = w.add("Transpose", w.add("MatMul", weights, v), perm=[0, 2, 1, 3])
        mixed = w.add("Reshape", mixed, w.constant([0, 0, dim], np.int64))
        attended = w.linear(mixed, *matrix(f"{layer}.{family.attention_out}", dim, dim))
        x = normalised(w.add("Add", attended, x), f"{layer}.{family.attention_norm}")
        op, attributes = _ACTIVATIONS[activation]
        hidden = w.add(op, w.linear(x, *matrix(f"{layer}.{family.feed_forward}", inner, dim)), **attributes)
        x = normalised(
            w.add("Add", w.linear(hidden, *matrix(f"{layer}.{family.feed_forward_out}", dim, inner)), x),
            f"{layer}.{family.norm}",
        )
    first = w.add("Squeeze", x, w.constant([1], np.int64))
    pooled = w.add(family.head_activation, w.linear(first, *matrix(family.head, dim, dim)))
    # The last layer decides and is small: it stays float32.
    scores = w.add("MatMul", pooled, w.weight(source.tensor(f"{family.classifier}.weight", labels, dim).T))
    return str(w.add("Add", scores, w.weight(source.tensor(f"{family.classifier}.bias", labels))))


def _embedded(w: NetworkWriter, source: Checkpoint, family: _Family, positions: int, offset: int, dim: int) -> str:
    vocabulary = int(source.number("vocab_size"))
    words = w.gather(source.tensor(f"{family.embeddings}.word_embeddings.weight", vocabulary, dim), "input_ids")
    table = source.tensor(f"{family.embeddings}.position_embeddings.weight", positions, dim)
    types = f"{family.embeddings}.token_type_embeddings.weight"
    if types in source:
        # A router sees one text: all tokens are of the first type.
        table = table + source.tensor(types, int(source.number("type_vocab_size", default=2)), dim)[0]
    one = w.constant([1], np.int64)
    if family.counts_tokens:
        # RoBERTa numbers what is not padding, from the padding's id + 1 on; a literal padding token in a prompt is not counted.
        padding = w.constant(offset - 1, np.int64)
        real = w.add("Cast", w.add("Not", w.add("Equal", "input_ids", padding)), to=7)
        real = w.add("Mul", real, "attention_mask")
        numbers = w.add("Add", w.add("Mul", w.add("CumSum", real, w.constant(1, np.int64)), real), padding)
        where: Any = w.add("Gather", w.weight(table), numbers)
    else:
        tokens = w.add("Shape", "input_ids", start=1, end=2)
        where = w.add("Slice", w.weight(table), w.constant([0], np.int64), tokens, w.constant([0], np.int64), one)
    return str(w.add("Add", words, where))
