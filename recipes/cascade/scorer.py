"""Trains scorers on real answers and measures them on prompts that they were not trained on, beside the other signals.

python -m recipes.cascade.scorer recipes/cascade/answers.parquet --encoder all-MiniLM-L6-v2 --out folder
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import turnout
from turnout.calibrate.cascade import calibrate_cascade, compared_by
from turnout.cascade import Policy, Scorer
from turnout.cli import main as turnout_main
from turnout.evaluate.cascades.log import CascadeLog, read_cascade_log
from turnout.profiles.folds import folds_of

FOLDS = 5
#: Those of the README; they do not change how signals order answers.
POLICY = Policy(cheap_cost=7.6e-6, strong_cost=0.0047, error_cost=0.05, low=0.0, high=1.0)


def trained(table: Path, encoder: Path, out: Path, fold: int, held: np.ndarray) -> Scorer:
    """The scorer of all answers but those of one fold."""
    artifact, seen = out / f"scorer-{fold}", out / f"train-{fold}.parquet"
    if not artifact.exists():
        pq.write_table(pq.read_table(table, columns=["prompt", "answer", "correct"]).filter(~held), seen)
        if code := turnout_main(
            ["train", "scorer", "--encoder", str(encoder), "--data", str(seen), "--out", str(artifact)]
        ):
            raise SystemExit(code)
    return Scorer(turnout.load(artifact))


def report(log: CascadeLog) -> None:
    """Prints the AUROC for a right answer of each signal, of the prompt's own P(success), and of the judge."""
    found = calibrate_cascade(log, POLICY)
    print(f"\n{len(log)} answers, {log.correct.mean():.1%} right; ECE of the judge {found.in_domain.ece}")
    for name, value in found.signals.items():
        print(f"{name:<22} {value}")


def report_cost(log: CascadeLog) -> None:
    """Prints what the cascade costs at the quality of the strong model, as a part of that model's cost."""
    found = compared_by(POLICY, log)
    print(f"cost of the cascade    {found['cascade'].cost}")


def main() -> None:
    """Reads the arguments, trains, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="answers.parquet")
    parser.add_argument("--encoder", type=Path, required=True, help="Hugging Face checkpoint to fine-tune")
    parser.add_argument("--out", type=Path, required=True, help="folder of the scorers; run again, it goes on")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"scorers to train, of {FOLDS} (default: all)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    log = read_cascade_log(args.table, turnout.load().win_rates, strong="claude-3.5-sonnet", group="table")
    # Further calls were made for some prompts only.
    log = replace(log, answers=[replace(answer, samples=None, self_check=None) for answer in log.answers])
    # Near-duplicates are in one fold.
    fold_of = folds_of(log.prompts, FOLDS, seed=0)
    scores = np.full(len(log), np.nan)
    for fold in range(args.folds):
        held = fold_of == fold
        part = log.rows(held)
        texts = zip(part.prompts, (answer.text for answer in part.answers), strict=True)
        scores[held] = trained(args.table, args.encoder, args.out, fold, held).scores(texts)
    answers = [replace(answer, score=score) for answer, score in zip(log.answers, scores.tolist(), strict=True)]
    is_scored = ~np.isnan(scores)
    is_numersense = np.array(log.groups) == "numersense_v2"
    log = replace(log, groups=[""] * len(log))
    for one in (log, replace(log, answers=answers)):
        report(one.rows(is_scored))
        report_cost(one.rows(is_scored))
    print("\nwithin numersense_v2:")
    report(replace(log, answers=answers).rows(is_scored & is_numersense))


if __name__ == "__main__":
    main()
