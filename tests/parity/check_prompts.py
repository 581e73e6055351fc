"""Compares the core's token ids with those of Python's ``tokenizers`` over every prompt of parquet tables.

Usage: python tests/parity/check_prompts.py [--tokenizer tokenizer.json] [--limits 64 512 8192] TABLE...

Tables have a column ``prompt``. Without ``--tokenizer``, the router that ships with the package lends its own. Both without and with
a ``[CLS]`` and a ``[SEP]`` around the prompt, where the vocabulary has them. The exit code says whether all ids were equal.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

import turnout
from turnout.artifact.manifest import Manifest
from turnout.artifact.writer import write_artifact
from turnout.graphs.static import MatrixFactorizationHead, StaticEncoder, static_graph
from turnout.router import DEFAULT_ARTIFACT

DIM, COUNTS, RANK = 4, 1, 2


def write_random(folder: Path, tokenizer: dict[str, Any], max_tokens: int) -> Path:
    """An artifact around a tokenizer: random weights, as small as they may be."""
    rng = np.random.default_rng(0)
    rows = max(tokenizer["model"]["vocab"].values()) + 1
    floats = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    encoder = StaticEncoder(
        token_table=rng.integers(-127, 128, (rows, DIM)).astype(np.int8),
        row_scale=np.full(rows, 0.01, np.float32),
        count_table=np.ones((rows, COUNTS), np.float32),
        feature_weight=floats(COUNTS, DIM),
        bias=floats(DIM),
    )
    head = MatrixFactorizationHead(w1=floats(RANK, DIM), w2=floats(RANK), models=floats(2, RANK))
    spec = Manifest(
        name="random",
        models=["a", "b"],
        strong="a",
        weak="b",
        encoder={"kind": "graph", "dim": DIM},
    )
    content = json.dumps(tokenizer, ensure_ascii=False).encode()
    return write_artifact(folder, spec, graph=static_graph(encoder, head), tokenizer=content, max_tokens=max_tokens)


def variants(tokenizer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The bare tokenizer, and one with special tokens around every prompt."""
    bare = {**copy.deepcopy(tokenizer), "truncation": None, "padding": None, "post_processor": None}
    yield "bare", bare
    vocab = tokenizer["model"]["vocab"]
    if {"[CLS]", "[SEP]"} <= vocab.keys():
        processor = {"type": "BertProcessing", "sep": ["[SEP]", vocab["[SEP]"]], "cls": ["[CLS]", vocab["[CLS]"]]}
        yield "[CLS] [SEP]", {**bare, "post_processor": processor}


def compare(tokenizer: dict[str, Any], prompts: list[str], max_tokens: int) -> tuple[int, int]:
    """Prompts with other ids, and tokens compared."""
    truth = Tokenizer.from_str(json.dumps(tokenizer))
    truth.enable_truncation(max_tokens)
    wrong = tokens = 0
    with tempfile.TemporaryDirectory() as folder:
        router = turnout.load(write_random(Path(folder), tokenizer, max_tokens))
        for start in range(0, len(prompts), 256):
            part = prompts[start : start + 256]
            for prompt, expected in zip(part, truth.encode_batch_fast(part), strict=True):
                tokens += len(expected.ids)
                if router.explain(prompt).ids != expected.ids:
                    wrong += 1
                    print(f"differs: {prompt[:200]!r}", file=sys.stderr)
    return wrong, tokens


def main() -> int:
    """Compares and prints one line for each variant and limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=DEFAULT_ARTIFACT / "tokenizer.json")
    parser.add_argument("--limits", nargs="+", type=int, default=[64, 512, 8192])
    arguments = parser.parse_args()
    rows = [pq.read_table(table, columns=["prompt"])["prompt"].drop_null().to_pylist() for table in arguments.tables]
    prompts = sorted({prompt for table in rows for prompt in table})
    ascii_only = sum(prompt.isascii() for prompt in prompts)
    print(f"{sum(map(len, rows)):,} rows, {len(prompts):,} different prompts, {ascii_only:,} of them ASCII")
    tokenizer = json.loads(arguments.tokenizer.read_text(encoding="utf-8"))
    all_wrong = 0
    for name, variant in variants(tokenizer):
        for limit in arguments.limits:
            start = time.perf_counter()
            wrong, tokens = compare(variant, prompts, limit)
            all_wrong += wrong
            seconds = time.perf_counter() - start
            print(f"{name}, {limit} tokens: {wrong} differ; {tokens:,} ids compared in {seconds:.1f} s", flush=True)
    return 1 if all_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
