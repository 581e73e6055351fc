"""Imports, loads and asks a Llama checkpoint larger than an ONNX file may be, and prints the peak memory of each step.

Usage: python tests/importers/check_large.py [--gigabytes 2.3] [--hidden-size 2048] [--stored float32] [--precision float32 ...] [--folder DIR]

The checkpoint has random weights and is written to the disk a tensor at a time, in shards. Each step runs in a process of its own,
whose largest resident set is told. It takes the checkpoint's size of disk twice, and is removed at the end. The exit code says whether
importing stayed below the size of the checkpoint, and whether every artifact gave a win rate.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import turnout
from turnout.routers.causal_llm.import_ import import_causal_llm

TOKENIZER = Path(__file__).parent.parent / "fixtures" / "networks" / "causal_llm"
HEADS, GROUPS, VOCABULARY = 16, 4, 32_000
SHARD_BYTES = 1 << 30
#: Tensors are written in pieces of so many numbers.
PIECE = 1 << 22
SCORES = [
    token["id"]
    for token in json.loads((TOKENIZER / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    if token["content"].startswith("[[")
]
STORED = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}
PROMPT = "Prove that there are infinitely many primes of the form 4k + 3."


def shapes(dim: int, layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors of a Llama with rows of ``dim`` numbers."""
    kept, inner = dim // HEADS * GROUPS, dim * 11 // 4
    yield "model.embed_tokens.weight", (VOCABULARY, dim)
    for number in range(layers):
        layer = f"model.layers.{number}"
        yield f"{layer}.input_layernorm.weight", (dim,)
        yield f"{layer}.self_attn.q_proj.weight", (dim, dim)
        yield f"{layer}.self_attn.k_proj.weight", (kept, dim)
        yield f"{layer}.self_attn.v_proj.weight", (kept, dim)
        yield f"{layer}.self_attn.o_proj.weight", (dim, dim)
        yield f"{layer}.post_attention_layernorm.weight", (dim,)
        yield f"{layer}.mlp.gate_proj.weight", (inner, dim)
        yield f"{layer}.mlp.up_proj.weight", (inner, dim)
        yield f"{layer}.mlp.down_proj.weight", (dim, inner)
    yield "model.norm.weight", (dim,)
    yield "lm_head.weight", (VOCABULARY, dim)


def pieces(name: str, shape: tuple[int, ...], stored: str, random: np.random.Generator) -> Iterator[bytes]:
    """A tensor's bytes: ones for a norm, else normally distributed, with large rows for the scores, so that one comes first."""
    if len(shape) == 1:
        yield encoded(np.ones(shape, np.float32), stored)
        return
    rows = max(1, PIECE // shape[1])
    for start in range(0, shape[0], rows):
        values = random.standard_normal((min(rows, shape[0] - start), shape[1]), dtype=np.float32)
        values *= np.float32(shape[1] ** -0.5)
        if name == "lm_head.weight":
            values[[score - start for score in SCORES if 0 <= score - start < len(values)]] *= 5
        yield encoded(values, stored)


def encoded(values: np.ndarray, stored: str) -> bytes:
    """float32 in another type; bfloat16 is its upper half."""
    if stored == "bfloat16":
        return (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    return values.astype(stored).tobytes()


def write_checkpoint(folder: Path, gigabytes: float, dim: int, stored: str) -> int:
    """A folder of at least that size; returns its layers."""
    kind, width = STORED[stored]
    bytes_of = lambda listed: width * sum(math.prod(shape) for _, shape in listed)  # noqa: E731
    around, layer = bytes_of(shapes(dim, 0)), bytes_of(shapes(dim, 1)) - bytes_of(shapes(dim, 0))
    layers = max(1, math.ceil((gigabytes * 1e9 - around) / layer))
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    for entry in shapes(dim, layers):
        if shards[-1] and bytes_of([*shards[-1], entry]) > SHARD_BYTES:
            shards.append([])
        shards[-1].append(entry)
    random = np.random.default_rng(0)
    folder.mkdir()
    weight_map = {}
    for place, shard in enumerate(shards, 1):
        name = f"model-{place:05}-of-{len(shards):05}.safetensors"
        header, offset = {}, 0
        for tensor, shape in shard:
            end = offset + width * math.prod(shape)
            header[tensor] = {"dtype": kind, "shape": shape, "data_offsets": [offset, end]}
            weight_map[tensor], offset = name, end
        text = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for tensor, shape in shard:
                for piece in pieces(tensor, shape, stored, random):
                    file.write(piece)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    config = json.loads((TOKENIZER / "config.json").read_text(encoding="utf-8")) | {
        "hidden_size": dim,
        "intermediate_size": dim * 11 // 4,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "num_hidden_layers": layers,
        "vocab_size": VOCABULARY,
        "head_dim": dim // HEADS,
    }
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "system.txt", "classifier.txt"):
        shutil.copyfile(TOKENIZER / name, folder / name)
    return layers


def idle() -> None:
    """Nothing but what every step imports."""
    import onnx  # noqa: F401


def convert(checkpoint: Path, out: Path, precision: str) -> None:
    """Imports the checkpoint."""
    import_causal_llm(checkpoint, out, precision=precision)


def ask(artifact: Path) -> float:
    """Loads the artifact and routes one prompt."""
    return turnout.load(artifact, threads=1).win_rate(PROMPT)


def measured(step: Callable[..., object], *arguments: object) -> tuple[object, int, float]:
    """Result of a step in a process of its own, its peak memory in bytes, and its seconds."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    start = time.perf_counter()
    process = multiprocessing.get_context("spawn").Process(target=_told, args=(sender, step, arguments))
    process.start()
    sender.close()
    try:
        result, peak = receiver.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{step.__name__} died with exit code {process.exitcode}") from None
    process.join()
    return result, peak, time.perf_counter() - start


def _told(
    sender: multiprocessing.connection.Connection, step: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    result = step(*arguments)
    sender.send((result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def size_of(folder: Path) -> int:
    """Bytes of the files of a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def main() -> int:
    """Does it and prints a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=2.3, help="size of the checkpoint (default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=2048, help="of its layers (default: %(default)s)")
    parser.add_argument("--stored", choices=list(STORED), default="float32", help="type of its tensors")
    parser.add_argument("--precision", nargs="+", choices=["float32", "int8", "int4"], default=["float32"])
    parser.add_argument("--folder", type=Path, help="where there is room; default: that of temporary files")
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        layers = write_checkpoint(folder / "checkpoint", arguments.gigabytes, arguments.hidden_size, arguments.stored)
        size = size_of(folder / "checkpoint")
        _, base, _ = measured(idle)
        print(
            f"checkpoint: {layers} layers, {size / 1e9:.2f} GB in {arguments.stored}; an idle process {base / 1e9:.2f} GB"
        )
        for precision in arguments.precision:
            artifact = folder / precision
            _, peak, seconds = measured(convert, folder / "checkpoint", artifact, precision)
            written = size_of(artifact)
            print(
                f"import {precision}: {written / 1e9:.2f} GB written, peak {peak / 1e9:.2f} GB, {seconds:.0f} s",
                flush=True,
            )
            good &= peak - base < size
            win_rate, peak, seconds = measured(ask, artifact)
            print(f"load and route: win rate {win_rate:.6f}, peak {peak / 1e9:.2f} GB, {seconds:.0f} s", flush=True)
            good &= isinstance(win_rate, float) and 0.0 <= win_rate <= 1.0
            shutil.rmtree(artifact)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
