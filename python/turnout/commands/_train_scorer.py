"""``turnout train scorer``: a classifier of (prompt, answer), a signal of cascades."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.commands._fine_tuning import add_fine_tuning_options
from turnout.commands._tables import bad_rows, check_files, show_bad
from turnout.commands._train_checks import check_out, tuned_folder
from turnout.extras import require
from turnout.graphs.precision import Precision
from turnout.terminal import printable_console

if TYPE_CHECKING:
    from turnout.evaluate.bootstrap import Estimate
    from turnout.training.scored_answers import ScoredAnswers


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = kinds.add_parser(
        "scorer",
        help="fine-tune an encoder to score answers, a signal of cascades",
        description="Writes an artifact for `turnout calibrate --cascade --scorer`. Needs `pip install 'turnout[train]'`.",
    )
    add_fine_tuning_options(parser, "answers")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="TABLE",
        help="columns prompt, answer and a score in 0..1; not the log that the judge is fitted on",
    )
    parser.add_argument(
        "--score", default="correct", metavar="COLUMN", help="column of the scores (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="artifact folder")
    parser.add_argument("--name", default="turnout-scorer", help="name of the scorer (default: %(default)s)")
    parser.add_argument("--allow-bad-rows", action="store_true", help="accept tables with more than 5 %% invalid rows")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require("train", "torch", "transformers", "rich", "sklearn", purpose="training")
    check_out(args.out, args.encoder)
    check_files(args.data)
    from turnout.artifact.manifest import Manifest
    from turnout.artifact.staged import staged
    from turnout.cascade.scorer import RIGHT, WRONG
    from turnout.data import file_record
    from turnout.graphs.checkpoint import Checkpoint
    from turnout.progress import progress_bars
    from turnout.routers.bert.fine_tune import train_on
    from turnout.routers.bert.import_ import check_precision, import_bert
    from turnout.training.fine_tuning import FineTuningConfig
    from turnout.training.scored_answers import read_scored_answers

    bad = bad_rows(args)
    answers = read_scored_answers(args.data, args.score, bad)
    show_bad(bad)
    precision: Precision = args.precision
    check_precision(Checkpoint(args.encoder), precision)
    tuning = FineTuningConfig(epochs=args.epochs, seed=args.seed, held_out=0.1)
    train, held = answers.split(tuning.held_out, tuning.seed)
    tuned, console = tuned_folder(args.out, args.encoder), printable_console(stderr=True)
    with progress_bars(console) as bars:
        loss = train_on(tuning, args.encoder, train.labelled(), held.labelled(), tuned, bars)
    with staged(args.out) as folder:
        import_bert(tuned, folder, strong=WRONG, weak=RIGHT, name=args.name, precision=precision)
        auroc = _auroc(folder, held)
        written = Manifest.read(folder)
        report = {
            "training": {"config": asdict(tuning), "held_out_loss": loss, "held_out_auroc": asdict(auroc)},
            "data": [file_record(Path(path)) for path in args.data],
        }
        replace(written, provenance={**written.provenance, **report}).write(folder)
    console.print(f"AUROC on {len(held.scores):,} held-out answers: {auroc}")
    console.print(f"wrote {args.out}, and the checkpoint to {tuned}")
    return 0


def _auroc(folder: Path, held: ScoredAnswers) -> Estimate:
    """How well the artifact orders answers to prompts that it was not trained on."""
    import numpy as np

    from turnout.cascade.scorer import Scorer
    from turnout.evaluate.bootstrap import Estimate, bootstrap, interval
    from turnout.evaluate.success import auc
    from turnout.router import load

    scores = np.array(Scorer(load(folder)).scores(zip(held.prompts, held.answers, strict=True)))
    value = float(auc(scores, held.scores, np.ones((1, len(scores)), dtype=np.int64))[0])
    drawn = bootstrap(lambda counts: {"auc": auc(scores, held.scores, counts)}, held.prompts, resamples=1000, seed=0)
    return interval(value, drawn["auc"]) if drawn else Estimate(value, float("nan"), float("nan"))
