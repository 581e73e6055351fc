"""The encoder of another artifact without its head."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout._core import ArtifactError, ConfigError
from turnout.artifact.manifest import Manifest
from turnout.artifact.text_rules import TEXT_RULES
from turnout.artifact.writer import write_artifact
from turnout.graphs.static import MatrixFactorizationHead, StaticEncoder, static_graph
from turnout.router import load

#: Prompts embedded between two calls of a progress function.
_STRIDE = 256


@dataclass(frozen=True)
class Encoder:
    """How a router makes embeddings.

    Attributes:
        dim: Length of an embedding.
        graph: ONNX graph from token ids to ``embedding``, without a head; ``None`` where the caller supplies embeddings.
        tokenizer: Text of ``tokenizer.json``, likewise.
        max_tokens: Token limit, likewise.
        taken_from: For the record.
        text_rules: What is done to long and to short prompts; see :mod:`turnout.artifact.text_rules`.
    """

    dim: int
    graph: bytes | None = None
    tokenizer: bytes | None = None
    max_tokens: int | None = None
    taken_from: str = ""
    text_rules: Mapping[str, str] = field(default_factory=dict)

    def embed(self, prompts: Sequence[str], progress: Callable[[int], None] | None = None) -> NDArray[np.float32]:
        """Embeddings of prompts by the core itself, float32 ``[prompts, dim]``."""
        if self.graph is None or self.tokenizer is None:
            raise ConfigError("this encoder takes embeddings from the caller and computes none")
        with tempfile.TemporaryDirectory() as folder:
            router = load(self._scaffold(Path(folder)))
            result = np.empty((len(prompts), self.dim), dtype=np.float32)
            for index, prompt in enumerate(prompts):
                result[index] = router.embed(prompt)
                if progress is not None and index % _STRIDE == _STRIDE - 1:
                    progress(index + 1)
        if progress is not None:
            progress(len(prompts))
        if not np.isfinite(result).all():
            raise ArtifactError.at(self.taken_from, "embeddings have values that are not finite")
        return result

    def _scaffold(self, folder: Path) -> Path:
        """An artifact whose head says nothing: the core runs encoders inside routers."""
        spec = Manifest(
            name="encoder",
            models=["strong", "weak"],
            strong="strong",
            weak="weak",
            encoder={"kind": "graph", "dim": self.dim},
        )
        return write_artifact(
            folder,
            spec,
            graph=with_silent_head(self.graph or b"", self.dim),
            tokenizer=self.tokenizer,
            max_tokens=self.max_tokens,
            text_rules=self.text_rules,
        )


def encoder_of(artifact: str | Path) -> Encoder:
    """Takes the encoder of an artifact; one of kind ``external`` gives embeddings of the caller's.

    Args:
        artifact: An artifact folder of any kind whose graph has the output ``embedding``.

    Raises:
        ArtifactError: The folder is not an artifact, or its graph has no embedding.
    """
    folder = Path(artifact)
    try:
        manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        dim, kind = int(manifest["encoder"]["dim"]), manifest["encoder"]["kind"]
        if kind == "external":
            return Encoder(dim=dim, taken_from=str(manifest["name"]))
        graph = (folder / manifest["graph"]).read_bytes()
        tokenizer = (folder / manifest["tokenizer"]["file"]).read_bytes()
        max_tokens = int(manifest["tokenizer"]["max_tokens"])
        text_rules = {name: manifest["tokenizer"][name] for name in TEXT_RULES if name in manifest["tokenizer"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError.at(folder, f"its encoder cannot be used: {error!r}") from error
    return Encoder(dim, headless(graph, str(folder)), tokenizer, max_tokens, str(manifest["name"]), text_rules)


def headless(graph: bytes, name: str) -> bytes:
    """The part of an ONNX graph that makes ``embedding`` from ``input_ids`` and ``attention_mask``.

    Args:
        graph: Serialized model.
        name: For messages.

    Raises:
        ArtifactError: There is no such part.
    """
    import onnx
    from onnx.utils import Extractor

    try:
        model = onnx.load_from_string(graph)
        outputs = {output.name for output in model.graph.output}
        if "embedding" not in outputs:
            raise ArtifactError.at(name, "its graph has no output `embedding`")
        given = [one.name for one in model.graph.input if one.name in {"input_ids", "attention_mask"}]
        part = Extractor(model).extract_model(given, ["embedding"])
        part.graph.name = "turnout_encoder"
        onnx.checker.check_model(part)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ArtifactError.at(name, f"{error}") from error
    serialized: bytes = part.SerializeToString()
    return serialized


def with_silent_head(graph: bytes, dim: int) -> bytes:
    """An encoder's graph with a head that scores two models alike, in the form that the core runs natively."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    head = MatrixFactorizationHead(np.zeros((1, dim), np.float32), np.zeros(1, np.float32), np.ones((2, 1), np.float32))
    donor = onnx.load_from_string(static_graph(_any_encoder(dim), head)).graph
    names = {"projection", "model_heads"}
    start = next(index for index, node in enumerate(donor.node) if "projection" in node.input)
    model.graph.node.extend(donor.node[start:])
    model.graph.initializer.extend(one for one in donor.initializer if one.name in names)
    scalars = [one for one in donor.input if one.name in {"strong", "weak"}]
    model.graph.input.extend(scalars)
    model.graph.output.extend(one for one in donor.output if one.name != "embedding")
    if not any(one.name == "embedding" for one in model.graph.output):
        value = helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["prompts", dim])
        model.graph.output.insert(0, value)
    serialized: bytes = model.SerializeToString()
    return serialized


def _any_encoder(dim: int) -> StaticEncoder:
    return StaticEncoder(
        np.zeros((1, dim), np.int8),
        np.ones(1, np.float32),
        np.zeros((1, 1), np.float32),
        np.zeros((1, dim), np.float32),
        np.zeros(dim, np.float32),
    )
