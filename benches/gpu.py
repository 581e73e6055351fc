"""Networks on a GPU: turnout beside plain Python with onnxruntime on the same device.

Usage: python benches/gpu.py [--device cuda:0] [--seconds 5]        (needs ``turnout[gpu,import]`` and ``tokenizers``)

Prints a Markdown table of milliseconds a call, for 32 and 128 tokens and for 1 and 32 prompts a call. The models have random weights,
which changes no time, in the shapes of MiniLM-L6 and BERT-base. Answers are compared before anything is timed. Both sides are given
texts: tokenizing is part of every call. Without a GPU it says so and exits with 2.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from network import checkpoint
from timing import medians
from tokenizers import Tokenizer

import turnout
from turnout.routers.bert.import_ import import_bert

#: MiniLM-L6-H384 is what ``network.checkpoint`` makes unless told otherwise.
SHAPES: dict[str, dict[str, object]] = {
    "MiniLM, 6x384": {},
    "BERT-base, 12x768": {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
}
TOKENS = (32, 128)
BATCHES = (1, 32)
#: Two ways through the same kernels, with other paddings: float32 rounds differently.
TOLERANCE = 1e-3
WORDS = "what is the sum of two and why can it be so large that no one may say how".split()


class Plain:
    """``tokenizers`` and ``onnxruntime`` on a CUDA device, one thread."""

    def __init__(self, artifact: Path, number: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding()
        self.session = onnxruntime.InferenceSession(
            str(artifact / "model.onnx"), providers=[("CUDAExecutionProvider", {"device_id": number, "use_tf32": 0})]
        )
        if self.session.get_providers()[0] != "CUDAExecutionProvider":
            raise RuntimeError(f"onnxruntime fell back to {self.session.get_providers()}")

    def win_rates(self, prompts: Sequence[str]) -> np.ndarray:
        """Softmax at the first label, float32 ``[prompts]``."""
        encodings = self.tokenizer.encode_batch(list(prompts))
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        logits = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        rates: np.ndarray = 1 / np.exp(logits - logits[:, :1]).sum(axis=1)
        return rates


def prompts_of(tokenizer: Tokenizer, tokens: int, count: int) -> list[str]:
    """Different texts of exactly so many tokens, special tokens included."""
    special = len(tokenizer.encode("").ids)
    texts = [" ".join(random.Random(row).choices(WORDS, k=tokens - special)) for row in range(count)]
    lengths = {len(tokenizer.encode(text).ids) for text in texts}
    assert lengths == {tokens}, f"texts of {lengths} tokens, expected {tokens}: choose words of one token each"
    return texts


def measure(name: str, artifact: Path, device: str, seconds: float) -> list[str]:
    """Rows of the table for one model."""
    number = int(device.partition(":")[2] or 0)
    plain = Plain(artifact, number)
    routers = {
        "turnout": turnout.load(artifact, device=device),
    }
    rows = []
    for tokens in TOKENS:
        for count in BATCHES:
            plain.tokenizer.no_padding()
            prompts = prompts_of(plain.tokenizer, tokens, count)
            plain.tokenizer.enable_padding()
            expected = plain.win_rates(prompts)
            for kind, router in routers.items():
                off = float(np.abs(router.win_rates(prompts) - expected).max())
                assert off < TOLERANCE, f"{name}, {kind}: win rates differ by {off}"
            works = {
                kind: lambda router=router, prompts=prompts: router.win_rates(prompts)
                for kind, router in routers.items()
            }
            works["onnxruntime"] = lambda prompts=prompts: plain.win_rates(prompts)
            times = medians(works, seconds=seconds, group=1)
            cells = [f"{times[kind][place] / 1e3:.3f}" for kind in (*routers, "onnxruntime") for place in (0, 2)]
            rows.append(f"| {name} | {tokens} | {count} | {' | '.join(cells)} |")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda:0", metavar="D", help="cuda:N")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="time for each row of the table")
    options = parser.parse_args(arguments)
    if options.device.partition(":")[0] != "cuda":
        parser.error(f"--device is {options.device!r}, expected cuda:N")
    if options.seconds <= 0:
        parser.error(f"--seconds is {options.seconds}, expected more than 0")
    table = [
        "| model | tokens | prompts | turnout p50, ms | p99 | onnxruntime p50, ms | p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            place = Path(folder) / name.split(",")[0]
            artifact = import_bert(checkpoint(place / "checkpoint", shape), place / "artifact")
            try:
                turnout.load(artifact, device=options.device).close()
            except turnout.DeviceError as error:
                print(f"no GPU, nothing measured: {error}", file=sys.stderr)
                return 2
            table += measure(name, artifact, options.device, options.seconds)
    print("\n".join(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
