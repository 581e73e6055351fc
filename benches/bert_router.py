"""The same classifier through transformers, one prompt at a time, as RouteLLM's ``BERTRouter`` calls it, and through turnout.

Usage: python benches/bert_router.py [--seconds 30]          (needs the extra [train]: torch and transformers)

One thread each; wall and processor time, medians of calls that take turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from network import checkpoint
from plain import PROMPTS
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

import turnout
from turnout.routers.bert.import_ import import_bert


class BertRouter:
    """Tokenizer, model, softmax: the win rate is one minus the last two labels."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), model_max_length=512)
        self.tokenizer.pad_token = "[PAD]"

    def win_rate(self, prompt: str) -> float:
        inputs = self.tokenizer(prompt, return_tensors="pt", padding=True, truncation=True, return_token_type_ids=False)
        with torch.no_grad():
            logits = self.model(**inputs).logits.numpy()[0]
        exponents = np.exp(logits - logits.max())
        return float(1 - (exponents / exponents.sum())[-2:].sum())


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = checkpoint(Path(name) / "checkpoint")
        reference = BertRouter(folder)
        routers = {
            precision: turnout.load(import_bert(folder, Path(name) / precision, precision=precision), threads=1)
            for precision in ("float32", "int8")
        }
        for prompt_name in ("ascii-20", "ascii-128"):
            prompt = PROMPTS[prompt_name]
            assert abs(reference.win_rate(prompt) - routers["float32"].win_rate(prompt)) < 1e-4
            work = {"transformers": reference.win_rate, **{key: each.win_rate for key, each in routers.items()}}
            times: dict[str, list[tuple[float, float]]] = {key: [] for key in work}
            end = time.perf_counter() + arguments.seconds / 2
            while time.perf_counter() < end:
                for key, call in work.items():
                    start, used = time.perf_counter(), time.process_time()
                    call(prompt)
                    times[key].append((time.perf_counter() - start, time.process_time() - used))
            middle = {key: np.median(np.array(rows), axis=0) * 1e3 for key, rows in times.items()}
            for key, (wall, cpu) in middle.items():
                share = cpu / middle["transformers"][1]
                print(f"{prompt_name} {key}: {wall:.2f} ms, processor {cpu:.2f} ms, {share:.3f} of transformers")


if __name__ == "__main__":
    main()
