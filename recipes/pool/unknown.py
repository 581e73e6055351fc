"""Models that nobody trained on: how good their profiles are with 0, 30, 100 and 300 graded prompts, and from scores alone.

    python -m recipes.pool.unknown --data DATA --artifact python/turnout/artifacts/mf --out unknown.json

Each model of a table is left out in turn: the spread of the others is the prior, graded prompts come from the table's prompts that are not held out,
figures from those that are. A leaderboard gives the model's mean score on the other tables that have it and on this one's fitted prompts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from turnout.evaluate.pools.frontier import Choices, figures, singles, sweep
from turnout.evaluate.success import auc
from turnout.pool.profiles import Doubles, Profiles, sigmoid
from turnout.profiles.known import known_profiles
from turnout.profiles.new_model import from_leaderboard, from_outcomes, prior_of
from turnout.profiles.regression import Gaussian
from turnout.router import load

from .each_table import PoolTable, pool_table
from .tables import read_pooled

TABLES = ("mmlu_pro", "korbench", "llmrouter", "routerbench", "reasoning_gym", "fasteval_math")
GRADED = (30, 100, 300)
REPEATS = 3


def main() -> None:
    """Reads the arguments, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train2 and dev")
    parser.add_argument("--artifact", type=Path, required=True, help="an mf artifact with profiles")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", nargs="*", default=TABLES)
    args = parser.parse_args()
    tables = read_pooled(args.data)
    router = load(args.artifact)
    embeddings = np.asarray(router.embed(tables.prompts), dtype=np.float32)
    known = known_profiles(router.path)
    result = {}
    for table, place in zip(tables.tables, tables.places, strict=True):
        if table.name in args.tables:
            pool = pool_table(table, embeddings[place])
            whole = ~np.isnan(pool.outcomes.scores).any(axis=1)
            seen, held = pool.rows(tables.is_fitted[place]), pool.rows(tables.is_held[place] & whole)
            result[table.name] = measured(seen, held, known)
            print(table.name, json.dumps(result[table.name]), flush=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measured(seen: PoolTable, held: PoolTable, known: Profiles) -> dict[str, Any]:
    """Figures by number of graded prompts: the mean over models, and its standard error over models.

    Args:
        seen: Prompts to learn from.
        held: Prompts to measure on.
        known: The profiles.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    given, new = known.features(seen.outcomes.embeddings), known.features(held.outcomes.embeddings)
    names = [model for model in held.models if model in known.names]
    single = int(np.nanmean(seen.outcomes.scores[:, [held.models.index(name) for name in names]], axis=0).argmax())
    everyone = {model: sigmoid(new @ known.find(model).mean) for model in names}
    for model in names:
        column = held.models.index(model)
        for way, found in _ways(known, model, given, seen.outcomes.scores[:, column], held.name):
            chance = sigmoid(new @ found.mean)
            rows.setdefault(way, []).append(_figures(held, {**everyone, model: chance}, names, model, single))
        rows.setdefault("known", []).append(_figures(held, everyone, names, model, single))
    result = {}
    for way, one in rows.items():
        result[way] = {
            key: [
                float(np.nanmean([f[key] for f in one])),
                float(np.nanstd([f[key] for f in one]) / np.sqrt(len(names))),
            ]
            for key in one[0]
        }
    return {"models": len(names), "held_out": len(held.groups), "ways": result}


def _ways(known: Profiles, model: str, seen: Doubles, scores: Doubles, table: str) -> list[tuple[str, Gaussian]]:
    """Profiles of a model that was left out, by what was given."""
    prior = prior_of(known, [model])
    means = known.find(model).facts["means"]
    here = np.flatnonzero(~np.isnan(scores))
    ways = [("0", prior)]
    leaderboard = from_leaderboard(known, {table: means[table]}, [model]).found
    ways.append(("leaderboard", leaderboard))
    generator = np.random.default_rng(0)
    for number in GRADED:
        for _ in range(REPEATS):
            some = generator.choice(here, min(number, len(here)), replace=False)
            ways.append((str(number), from_outcomes(prior, seen[some], scores[some])))
            ways.append((f"leaderboard and {number}", from_outcomes(leaderboard, seen[some], scores[some])))
    return ways


def _figures(
    held: PoolTable, chances: Mapping[str, Doubles], names: Sequence[str], model: str, single: int
) -> dict[str, float]:
    """AUC and errors of the model's chances, and the cost at the best single model's quality of the pool with it."""
    columns = [held.models.index(name) for name in names]
    scores, costs = held.outcomes.scores[:, columns], held.costs[:, columns]
    true, chance = scores[:, names.index(model)], chances[model]
    success = np.stack([chances[name] for name in names], axis=1)
    alone = Choices(scores[:, single][None], costs[:, single][None])
    found = sweep(success, costs, scores, costs).and_single(scores[:, single], costs[:, single])
    once = np.ones((1, len(scores)), dtype=np.int64)
    saved = figures(found, alone, singles(scores, costs), once)
    return {
        "auc": float(auc(chance, true)),
        "bias": float(abs(chance.mean() - true.mean())),
        "brier": float(np.mean((chance - true) ** 2)),
        "cost": float(saved.cost[0]),
        "aiq": float(saved.aiq[0]),
    }


if __name__ == "__main__":
    main()
