"""Times RouteLLM's own similarity-weighted router over given battles and embeddings; run by ``ranking.py`` in RouteLLM's environment."""

from __future__ import annotations

import json
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

os.environ.setdefault("OPENAI_API_KEY", "none")
# Empty modules in the place of torch, datasets and transformers, where they are not installed: this router does not use them.
import routellm_launch  # noqa: F401

inputs = np.load(sys.argv[1])


class Table:
    """What the router asks of a table of the hub."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns

    def to_dict(self) -> dict[str, Any]:
        return self.columns

    def to_pandas(self) -> Any:
        import pandas

        return pandas.DataFrame(self.columns)


def load_dataset(name: str, **_: Any) -> Table:
    if name == "embeddings":
        return Table({"embeddings": inputs["embeddings"].astype(np.float64)})
    models, outcome = inputs["models"], inputs["outcome"]
    return Table(
        {
            "prompt": ['["a prompt of more than sixteen characters"]'] * len(outcome),
            "model_a": models[inputs["a"]],
            "model_b": models[inputs["b"]],
            "winner_model_a": (outcome == 0).astype(int),
            "winner_model_b": (outcome == 1).astype(int),
            "winner_tie": (outcome == 2).astype(int),
        }
    )


def main() -> None:
    from routellm.routers import routers

    routers.load_dataset = load_dataset
    routers.concatenate_datasets = lambda tables: tables[0]
    queries = iter(np.resize(inputs["queries"].astype(np.float64), (100, inputs["queries"].shape[1])))
    answer = lambda **_: SimpleNamespace(data=[SimpleNamespace(embedding=list(next(queries)))])  # noqa: E731
    routers.OPENAI_CLIENT = SimpleNamespace(embeddings=SimpleNamespace(create=answer))
    strong, weak = (str(name) for name in inputs["pair"])
    router = routers.SWRankingRouter(["battles"], ["embeddings"], strong_model=strong, weak_model=weak)
    times, win_rates = [], []
    for _ in range(10):
        start = time.perf_counter()
        win_rates.append(float(router.calculate_strong_win_rate("a prompt")))
        times.append(time.perf_counter() - start)
    print(json.dumps({"median_ms": 1e3 * float(np.median(times)), "win_rates": win_rates}))


if __name__ == "__main__":
    main()
