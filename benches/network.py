"""Classifiers with random weights under many callers: the batcher against hand-made batches and plain Python.

Usage: python benches/network.py [--seconds 2] [--threads 64]

Every number is of one run on one machine; the model's weights are random, which changes no time. ``plain`` is what a careful engineer
writes without a batcher: ``tokenizers`` and ``onnxruntime``, one session, called from every thread. turnout is measured with one session
of all threads, and (``sessions``) with a session for every core, which is the default for networks below 32 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from plain import ARTIFACT, PROMPTS
from safetensors.numpy import save_file
from timing import medians
from tokenizers import Tokenizer

import turnout
from turnout.routers.bert.import_ import import_bert

#: Turns of each candidate.
ROUNDS = 5
#: MiniLM-L6-H384, with the vocabulary of the shipped router.
SHAPE = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "id2label": {"0": "strong", "1": "tie", "2": "weak"},
}

#: What is measured: MiniLM-L6, and two layers of 128.
SHAPES: dict[str, dict[str, object]] = {
    "6x384": {},
    "2x128": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512},
}


def checkpoint(folder: Path, shape: dict[str, object] | None = None) -> Path:
    """Writes a checkpoint of that shape with random weights and the tokenizer of the shipped router."""
    tokenizer = Tokenizer.from_file(str(ARTIFACT / "tokenizer.json"))
    config = {**SHAPE, "vocab_size": tokenizer.get_vocab_size(), **(shape or {})}
    dim, inner = int(config["hidden_size"]), int(config["intermediate_size"])  # type: ignore[call-overload]
    sizes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (int(config["vocab_size"]), dim),  # type: ignore[call-overload]
        "bert.embeddings.position_embeddings.weight": (512, dim),
        "bert.embeddings.token_type_embeddings.weight": (2, dim),
        "bert.pooler.dense.weight": (dim, dim),
        "classifier.weight": (3, dim),
    }
    norms = ["bert.embeddings.LayerNorm"]
    for number in range(int(config["num_hidden_layers"])):  # type: ignore[call-overload]
        layer = f"bert.encoder.layer.{number}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            sizes[f"{layer}.{part}.weight"] = (dim, dim)
        sizes[f"{layer}.intermediate.dense.weight"] = (inner, dim)
        sizes[f"{layer}.output.dense.weight"] = (dim, inner)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    generator = np.random.default_rng(0)
    tensors = {name: generator.normal(0, size[-1] ** -0.5, size).astype(np.float32) for name, size in sizes.items()}
    tensors |= {
        f"{name.removesuffix('.weight')}.bias": np.zeros(size[0], np.float32)
        for name, size in sizes.items()
        if "embeddings" not in name
    }
    for name in norms:
        tensors |= {f"{name}.weight": np.ones(dim, np.float32), f"{name}.bias": np.zeros(dim, np.float32)}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


class Plain:
    """``tokenizers`` and ``onnxruntime``."""

    def __init__(self, artifact: Path, threads: int = 0) -> None:
        self.tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(512)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(artifact / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def ids(self, prompt: str) -> np.ndarray:
        return np.array([self.tokenizer.encode(prompt).ids], dtype=np.int64)

    def run(self, ids: np.ndarray) -> np.ndarray:
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        logits: np.ndarray = self.session.run(["logits"], inputs)[0]
        return logits

    def win_rate(self, prompt: str) -> float:
        logits = self.run(self.ids(prompt))[0]
        return float(1 / np.exp(logits - logits[0]).sum())


def closed_loop(work: Callable[[], object], threads: int, seconds: float) -> tuple[float, float, np.ndarray]:
    """Calls per second, and per second of processor time, of threads that call without pause; the seconds of every call."""
    times: list[list[float]] = [[] for _ in range(threads)]
    barrier, stop = threading.Barrier(threads + 1), threading.Event()

    def loop(place: int) -> None:
        barrier.wait()
        while not stop.is_set():
            start = time.perf_counter()
            work()
            times[place].append(time.perf_counter() - start)

    workers = [threading.Thread(target=loop, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    start, used = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    calls = np.concatenate([np.array(each) for each in times])
    return len(calls) / (time.perf_counter() - start), len(calls) / (time.process_time() - used), calls


def best_batch(plain: Plain, ids: np.ndarray, seconds: float) -> tuple[int, float, dict[int, float]]:
    """The batch size of most prompts a second, that rate, and the seconds of one run by size."""
    sizes = (1, 2, 4, 8, 16, 32, 64)
    work = {str(size): lambda size=size: plain.run(np.repeat(ids, size, axis=0)) for size in sizes}
    times = {int(size): row[0] / 1e6 for size, row in medians(work, seconds=seconds, group=1).items()}
    best = max(sizes, key=lambda size: size / times[size])
    return best, best / times[best], times


def one_caller(artifact: Path, prompt: str, seconds: float) -> float:
    """Seconds of a whole decision over those of the bare run in the same process, one thread each: median of calls that take turns."""
    router, plain = turnout.load(artifact, threads=1), Plain(artifact, 1)
    ids, ratios = plain.ids(prompt), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        router.win_rate(prompt)
        between = time.perf_counter()
        plain.run(ids)
        ratios.append((between - start) / (time.perf_counter() - between))
    return float(np.median(ratios))


def measure(
    folder: Path, shape: dict[str, object], *, precision: str, threads: int, seconds: float
) -> dict[str, float]:
    """All numbers of one precision. Candidates take turns, and medians of the turns are compared."""
    artifact = import_bert(checkpoint(folder / "checkpoint", shape), folder / precision, precision=precision)
    prompt = PROMPTS["ascii-20"]
    router, plain = turnout.load(artifact, sessions=1), Plain(artifact)
    beside = turnout.load(artifact, sessions=os.cpu_count() or 1)
    for each in (router, beside):
        assert abs(each.win_rate(prompt) - plain.win_rate(prompt)) < 1e-4
    ids = plain.ids(prompt)
    size, _, _ = best_batch(plain, ids, 2 * seconds)
    batch = np.repeat(ids, size, axis=0)
    # In a closed loop half of the callers wait while the other half runs.
    half = np.repeat(ids, max(1, threads // 2), axis=0)
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        best = closed_loop(lambda: plain.run(batch), 1, seconds)
        ours = closed_loop(lambda: router.win_rate(prompt), threads, seconds)
        many = closed_loop(lambda: beside.win_rate(prompt), threads, seconds)
        few = [
            [closed_loop(lambda: each.win_rate(prompt), callers, seconds / 2) for each in (router, beside)]  # noqa: B023
            for callers in (1, 2)
        ]
        theirs = closed_loop(lambda: plain.win_rate(prompt), threads, seconds)
        run = closed_loop(lambda: plain.run(half), 1, seconds)[2]
        found = {
            "best_batch_per_s": size * best[0],
            "threads_per_s": ours[0],
            "plain_per_s": theirs[0],
            "share_of_best": ours[0] / (size * best[0]),
            "share_of_best_by_cpu": ours[1] / (size * best[1]),
            "over_plain": ours[0] / theirs[0],
            "sessions_per_s": many[0],
            "sessions_share_of_best": many[0] / (size * best[0]),
            "sessions_over_plain": many[0] / theirs[0],
            "sessions_p99_ms": float(np.percentile(many[2], 99)) * 1e3,
            "alone_ms": float(np.median(few[0][0][2])) * 1e3,
            "sessions_alone_ms": float(np.median(few[0][1][2])) * 1e3,
            "two_per_s": few[1][0][0],
            "sessions_two_per_s": few[1][1][0],
            "two_p99_ms": float(np.percentile(few[1][0][2], 99)) * 1e3,
            "sessions_two_p99_ms": float(np.percentile(few[1][1][2], 99)) * 1e3,
            "over_plain_by_cpu": ours[1] / theirs[1],
            "p50_ms": float(np.percentile(ours[2], 50)) * 1e3,
            "p99_ms": float(np.percentile(ours[2], 99)) * 1e3,
            "sessions_p99_over_half_batch": float(np.percentile(many[2], 99) / np.median(run)),
            "plain_p99_ms": float(np.percentile(theirs[2], 99)) * 1e3,
            "half_batch_ms": float(np.median(run)) * 1e3,
            "p99_over_half_batch": float(np.percentile(ours[2], 99) / np.median(run)),
        }
        for name, value in found.items():
            rounds.setdefault(name, []).append(value)
    alone = one_caller(artifact, prompt, 2 * seconds)
    return {"tokens": ids.shape[1], "best_batch": size, "one_caller_over_bare": alone} | {
        name: float(np.median(v)) for name, v in rounds.items()
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument(
        "--smoke", action="store_true", help="the small shape, for a moment: answers are asserted, times are not"
    )
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seconds, arguments.threads = 0.2, 4
    for name, shape in SHAPES.items():
        if arguments.smoke and name != "2x128":
            continue
        for precision in ("float32", "int8"):
            with tempfile.TemporaryDirectory() as folder:
                results = measure(
                    Path(folder), shape, precision=precision, threads=arguments.threads, seconds=arguments.seconds
                )
            told = {key: round(value, 3) for key, value in results.items()}
            print(name, precision, json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
