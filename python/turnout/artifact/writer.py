"""The only writer of artifact folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnout.artifact.manifest import GRAPH, TOKENIZER, Manifest
from turnout.durable_files import replace_file


def write_artifact(
    folder: Path,
    manifest: Manifest,
    *,
    graph: bytes | None,
    tokenizer: bytes | None = None,
    max_tokens: int | None = None,
    text_rules: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    documents: Mapping[str, str] | None = None,
    data: Path | None = None,
) -> Path:
    """Writes an artifact folder; the manifest comes last and in one step, so a reader never sees half an artifact.

    Args:
        folder: Made if it is missing. Files of the same names are replaced.
        manifest: What was trained. Its names of graph and tokenizer and its list of files are set here.
        graph: Serialized ONNX model; ``None`` for a kind that needs none with an external encoder.
        tokenizer: Text of a ``tokenizer.json``; needed unless the encoder is external.
        max_tokens: Token limit of a prompt; needed with a tokenizer.
        text_rules: What is read of a prompt; see :mod:`turnout.artifact.text_rules`.
        files: Further files of the router by name, listed in the manifest.
        documents: Further texts by file name, such as ``README.md``; not listed in the manifest.
        data: File in the folder, already written, that holds weights of the graph.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = dict(files or {})
    if graph is not None:
        contents[GRAPH] = graph
    if tokenizer is not None:
        contents[TOKENIZER] = tokenizer
    for name, content in contents.items():
        replace_file(folder / name, content)
    for name, text in (documents or {}).items():
        replace_file(folder / name, text.encode())
    listed = {name: file_entry(content) for name, content in contents.items()}
    if data is not None:
        listed[data.name] = _entry_of(data)
    return replace(
        manifest,
        graph=None if graph is None else GRAPH,
        tokenizer=None if tokenizer is None else {"file": TOKENIZER, "max_tokens": max_tokens, **(text_rules or {})},
        files=listed,
    ).write(folder)


def file_entry(content: bytes) -> dict[str, Any]:
    """The manifest's entry of a file: its size in bytes and its SHA-256."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _entry_of(file: Path) -> dict[str, Any]:
    """Size and hash of a file that may be larger than memory."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}
