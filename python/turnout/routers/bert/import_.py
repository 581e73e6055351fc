"""Imports sequence classifiers as routers, as RouteLLM's ``bert`` router uses them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from turnout._core import ConfigError
from turnout.graphs.checkpoint import Checkpoint
from turnout.graphs.checkpoint_tokenizer import check_token_ids
from turnout.graphs.precision import PRECISIONS, Precision
from turnout.routers.bert.bert_graph import BERT_TYPES, bert_logits, bert_positions
from turnout.routers.bert.classifier_network import ClassifierNetwork
from turnout.routers.bert.labels import labels_of
from turnout.routers.bert.modernbert_graph import modernbert_logits, modernbert_positions

#: The ``model_type`` of the architectures whose graph is written here, node by node; torch traces the others.
WRITTEN_TYPES = (*BERT_TYPES, "modernbert")


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
    log: Callable[[str], object] = warnings.warn,
) -> Path:
    """Writes an artifact from a checkpoint of ``AutoModelForSequenceClassification`` with 1, 2 or 3 labels.

    BERT, MiniLM, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT and ModernBERT need no torch. Every other architecture needs
    torch, transformers and ONNX Runtime: see :func:`turnout.routers.bert.traced_graph.traced`. The win rate is the softmax at the
    label ``strong``, or the sigmoid of a single logit. Longer prompts are cut where the tokenizer of the checkpoint would cut them.

    Args:
        checkpoint: Folder with ``config.json``, safetensors, ``tokenizer.json`` and ``tokenizer_config.json``.
        out: Artifact folder to write; see :func:`turnout.artifact.staged.staged` for what an error leaves of it.
        strong: Strong model.
        weak: Weak model.
        labels: ``"strong"``, ``"tie"`` and ``"weak"`` in the order of the logits; by default the checkpoint's own names, or RouteLLM's
            order where it has none.
        threshold: Default threshold.
        name: Of the artifact.
        precision: Of linear layers and embeddings: ``"float32"``, ``"float16"`` (for GPUs alone), ``"int8"`` or ``"int4"``; see
            :mod:`turnout.graphs.precision`.
        log: Called with a line of text when torch has to export the graph, and with what its check found.

    Returns:
        The artifact folder.

    Raises:
        ArtifactError: The checkpoint is damaged, or of a kind that cannot be exported; names file, field or tensor.
        ConfigError: The labels do not match or have unknown names, the precision is unknown, a weight is beyond it, the architecture needs torch, which is not
            installed, or it can be had in float32 only.
    """
    from turnout.artifact.manifest import Manifest
    from turnout.artifact.staged import staged
    from turnout.artifact.writer import write_artifact
    from turnout.routers.bert.traced_graph import traced

    source, out = Checkpoint(checkpoint), Path(out)
    meaning = labels_of(source, labels)
    tokenizer = source.tokenizer()
    check_token_ids(source.folder / "tokenizer.json", tokenizer, source.whole("vocab_size"))
    source.refuse_left_truncation()
    check_precision(source, precision)
    with staged(out) as folder:
        if source.kind in WRITTEN_TYPES:
            network = _written(source, folder, len(meaning), precision)
        else:
            network = traced(source, folder, len(meaning), WRITTEN_TYPES, log)
        spec = Manifest(
            name=name,
            kind="bert",
            models=[strong, weak],
            strong=strong,
            weak=weak,
            encoder={"kind": "graph", "dim": network.dim},
            default_threshold=threshold,
            graph_precision=precision,
            sections={"labels": list(meaning)},
            provenance={"imported_from": f"{source.kind} checkpoint {source.folder.name}", **network.provenance},
        )
        write_artifact(
            folder, spec, graph=network.graph, tokenizer=tokenizer, max_tokens=network.max_tokens, data=network.data
        )
    return out


def check_precision(source: Checkpoint, precision: Precision) -> None:
    """Whether this architecture can be had in that precision.

    Raises:
        ConfigError: It cannot; names the architecture.
    """
    if precision != "float32" and source.kind not in WRITTEN_TYPES:
        raise ConfigError(
            f"{source.folder / 'config.json'}: model_type is {source.kind!r}, which is not available in {precision}; "
            f"expected {', '.join(WRITTEN_TYPES)}, or float32"
        )


def _written(source: Checkpoint, out: Path, labels: int, precision: Precision) -> ClassifierNetwork:
    from turnout.graphs.network import NetworkWriter

    with NetworkWriter(out, source.bytes_as_float32, precision) as writer:
        if source.kind == "modernbert":
            logits, positions = modernbert_logits(writer, source, labels), modernbert_positions(source)
        else:
            logits, positions = bert_logits(writer, source, labels), bert_positions(source)
        writer.name_output(logits, "logits")
        graph = writer.finish([("logits", ["prompts", labels])])
    return ClassifierNetwork(
        graph=graph,
        data=writer.data,
        dim=source.whole("hidden_size", "dim"),
        max_tokens=source.max_tokens(positions),
        provenance={"weights": PRECISIONS[precision]},
    )
