"""Regret of learning routers on replayed tables of outcomes.

    python benches/bandit.py mmlu_pro.parquet routerbench.parquet [--requests 6000] [--seeds 5]

A table has a column `prompt` and a column of scores per model. Predicted chances of success are fitted on 400 of its prompts (a logistic curve
in the default router's win rate, for each model); the others are requests in random order. The value of an answer is its score minus 0.02 for every
rank of its model by mean score, which stands for its price. Regret is measured against the best of all single models and of the static router,
which chooses by the predicted chances. In `new`, the chance of the best model is unknown (0.5); under `drift`, the static router's favorite gives
the weakest model's answers from half-time on; under `adversarial`, one of ten outcomes is inverted; in `cold`, nothing is predicted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet

import turnout
from turnout.outcomes.bandit import Bandit, BanditSettings

HISTORY, MOST_MODELS, PRICE = 400, 8, 0.02
SCENARIOS = ("stationary", "drift", "new", "adversarial", "cold")


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Win rates of the prompts and scores ``[prompts, models]`` of up to eight models from the best to the weakest."""
    table = pyarrow.parquet.read_table(path)
    names = [
        field.name
        for field in table.schema
        if str(field.type) in ("float", "double") and field.name not in ("prompt_id",)
    ]
    scores = np.array([table[name].to_numpy() for name in names], dtype=float).T
    names_kept = np.isnan(scores).mean(axis=0) < 0.02
    scores = scores[:, names_kept]
    whole = ~np.isnan(scores).any(axis=1)
    scores = scores[whole]
    order = np.argsort(-scores.mean(axis=0))
    kept = order[np.linspace(0, len(order) - 1, min(MOST_MODELS, len(order))).round().astype(int)]
    prompts = [prompt for prompt, is_whole in zip(table["prompt"].to_pylist(), whole, strict=True) if is_whole]
    router = turnout.load()
    rates = np.array([decision.win_rate for decision in router.route_batch(prompts)])
    return rates, scores[:, kept]


def fitted(rates: np.ndarray, scores: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Chances of success ``[prompts, models]``: a logistic curve a model, by Newton's method with a weak prior."""
    features = np.stack([np.ones(len(rates)), rates - rates.mean()], axis=1)
    found = np.empty((len(every), scores.shape[1]))
    for model in range(scores.shape[1]):
        weights = np.zeros(2)
        for _ in range(30):
            chance = 1 / (1 + np.exp(-features @ weights))
            hessian = features.T @ (features * (chance * (1 - chance))[:, None]) + 1e-2 * np.eye(2)
            weights += np.linalg.solve(hessian, features.T @ (scores[:, model] - chance) - 1e-2 * weights)
        line = np.stack([np.ones(len(every)), every - rates.mean()], axis=1) @ weights
        found[:, model] = 1 / (1 + np.exp(-line))
    return found


def requests(scenario: str, rates: np.ndarray, scores: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Predicted chances, outcomes that are true, and outcomes that are told, each ``[requests, models]``."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rates))
    history, rest = order[:HISTORY], order[HISTORY:]
    chances = fitted(rates[history], scores[history], rates)
    drawn = np.concatenate([generator.permutation(rest) for _ in range(count // len(rest) + 1)])[:count]
    success, true = chances[drawn], scores[drawn].copy()
    if scenario == "drift":
        favorite = np.bincount((success - prices(true)).argmax(axis=1)).argmax()
        true[count // 2 :, favorite] = true[count // 2 :, -1]
    if scenario == "new":
        success[:, 0] = 0.5
    if scenario == "cold":
        success[:] = 0.5
    told = true.copy()
    if scenario == "adversarial":
        inverted = generator.random(count) < 0.1
        told[inverted] = 1 - told[inverted]
    return success, true, told


def prices(scores: np.ndarray) -> np.ndarray:
    """The better, the dearer."""
    return PRICE * np.arange(scores.shape[1])[::-1]


def learning(settings: BanditSettings, scenario: str, success: np.ndarray, told: np.ndarray) -> Iterator[int]:
    """Choices of the bandit."""
    cost = prices(success)
    bandit = Bandit([str(one) for one in range(success.shape[1])], settings)
    if scenario in ("new", "cold"):
        for model in range(success.shape[1] if scenario == "cold" else 1):
            bandit.set_prior_std(model, 0.35)
    for row, chances in enumerate(success):
        choice = bandit.choose(chances, cost, int((chances - cost).argmax()))
        bandit.learn(choice.model, told[row, choice.model], chances[choice.model], choice.features)
        yield choice.model


def main() -> None:
    """Prints regrets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-loss", type=float, default=BanditSettings.max_loss)
    parser.add_argument("--decay", type=float, default=BanditSettings.decay)
    parser.add_argument("--prior-std", type=float, default=BanditSettings.prior_std)
    args = parser.parse_args()
    settings = BanditSettings(max_loss=args.max_loss, decay=args.decay, prior_std=args.prior_std)
    print(
        "| table | requests are | regret: uniform | static | learning (least, most) | learning below static at most |"
    )
    print("|---|---|---|---|---|---|")
    seconds = []
    for path in args.tables:
        rates, scores = read(path)
        for scenario in SCENARIOS:
            regrets, below = [], []
            for seed in range(args.seeds):
                success, true, told = requests(scenario, rates, scores, args.requests, seed)
                value = true - prices(true)
                rows = np.arange(len(value))
                static = value[rows, (success - prices(true)).argmax(axis=1)]
                began = time.perf_counter()
                chosen = np.fromiter(learning(settings, scenario, success, told), dtype=int)
                seconds.append((time.perf_counter() - began) / len(value))
                learned = value[rows, chosen]
                best = max(value.mean(axis=0).max(), static.mean())
                regrets.append([best - value.mean(), best - static.mean(), best - learned.mean()])
                # At any time after the first hundred requests, per request.
                below.append(((np.cumsum(static - learned)) / (rows + 1))[100:].max())
            mean = np.mean(regrets, axis=0)
            ends = np.array(regrets)[:, 2].min(), np.array(regrets)[:, 2].max()
            print(
                f"| {path.stem} | {scenario} | {mean[0]:.4f} | {mean[1]:.4f} | {mean[2]:.4f} ({ends[0]:.4f}, {ends[1]:.4f}) | {max(below):.4f} |"
            )
    print(
        f"\n{np.median(seconds) * 1e6:.0f} us for a choice and an outcome, {scores.shape[1]} models; max_loss {settings.max_loss}"
    )


if __name__ == "__main__":
    main()
