"""Makes the shipped `sw_ranking`: tables in, an artifact out.

    python -m recipes.sw_ranking.train --data DATA --out python/turnout/artifacts/sw_ranking

DATA holds the folders `train`, `train2` and `dev` of tables that `recipes/mf/notes.md` names.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from turnout.artifact.staged import staged
from turnout.augment.battle_table import write_battles
from turnout.data import BadRows, ModelAliases, file_record
from turnout.progress import plain_lines, progress_bars
from turnout.routers.sw_ranking.card import card
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.table import BattleTable, read_battle_table
from turnout.routers.sw_ranking.train import Options, build
from turnout.shipped import artifact_folder

from ..graded.near_duplicates import NearDuplicates
from ..mf.completion import complete
from ..mf.data import Data, read_data
from .battles import SIMILAR, BattleConfig, as_battles, class_of, drawn, implied, judged

FOLDER = Path(__file__).parent
STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
#: The class of the strong model and that of the weak one.
TIERS = 2


def main() -> None:
    """Reads the arguments, draws battles, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train2 and dev")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    files = sorted([*args.data.glob("train/*.parquet"), *args.data.glob("train2/*.parquet")])
    battles = [file for file in files if "battles" in file.stem]
    correctness = [file for file in files if "battles" not in file.stem]
    dev, graded = sorted(args.data.glob("dev/*.parquet")), sorted((FOLDER.parent / "graded").glob("*.parquet"))
    data = read_data(correctness, battles, dev, graded)
    config = BattleConfig(seed=args.seed)
    models = {model for table in data.tables for model in table.scores} | {*data.battles.model_a, *data.battles.model_b}
    classes = {model: class_of(model) for model in sorted(models - {STRONG, WEAK})}
    encoder = encoder_of(artifact_folder("mf"))
    options = Options(
        strong=STRONG,
        weak=WEAK,
        name="turnout-sw-ranking",
        tiers=TIERS,
        storage="int8",
        keep_prompts=True,
        unknown_tiers={model: ("strong", "weak").index(name) for model, name in classes.items() if name is not None},
        provenance={
            "licence": "Apache-2.0 AND CC-BY-4.0 AND MIT",
            "recipe": "make train-sw-ranking DATA=folder OUT=folder",
            "data": [file_record(path) for path in files],
            "dev_data": [file_record(path) for path in dev],
            "notes": (FOLDER / "notes.md").read_text(encoding="utf-8"),
        },
    )
    console = Console(stderr=True)
    table = battle_table(data, battles, config)
    with staged(args.out) as folder, progress_bars(console) as report:
        written, _ = build(table, encoder, options, folder, report=report)
        report = complete(
            folder,
            data,
            lambda manifest, scores: card(
                replace(written, quantiles=manifest.quantiles, threshold=manifest.default_threshold), scores
            ),
            {"config": asdict(config)},
        )
    say = plain_lines(console)
    for name, scores in report.items():
        say(f"{name}: {scores}")
    say(f"wrote {args.out}")


def battle_table(data: Data, files: Sequence[Path], config: BattleConfig) -> BattleTable:
    """The battles of every source, none on a held-out prompt or one nearly like it."""
    allowed = set(data.prompts)
    tables = [*data.tables, *data.dev]
    everything = dict.fromkeys([*data.grades.prompts, *(prompt for table in tables for prompt in table.prompts)])
    seen = NearDuplicates(SIMILAR)
    for prompt in everything:
        if prompt not in allowed:
            seen.add(prompt)
    aliases = ModelAliases.from_file(FOLDER / "aliases.json")
    sources = [(judged(path, aliases), config.judged_prompts) for path in files]
    sources += [(source, config.prompts) for table in data.tables for source in implied(table)]
    generator = np.random.default_rng(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for source, prompts in sources:
            chosen = drawn(source, prompts, config, allowed, seen, generator)
            if chosen:
                paths.append(Path(folder, f"{source.name}.parquet"))
                write_battles(as_battles(chosen, STRONG, WEAK), paths[-1], source.name)
        return read_battle_table(paths, bad=BadRows())


if __name__ == "__main__":
    main()
