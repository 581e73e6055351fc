"""``turnout train mf | sw_ranking | bert | causal_llm | pool | scorer``: trains a router on your tables and writes its artifact."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.commands import _train_pool, _train_scorer, _train_sw_ranking
from turnout.commands._fine_tuning import add_fine_tuning_options
from turnout.commands._tables import add_table_options, bad_rows, show_bad
from turnout.commands._train_checks import check_out, tuned_folder
from turnout.extras import require
from turnout.graphs.precision import Precision
from turnout.terminal import printable_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from turnout.artifact.origin import Origin
    from turnout.evaluate.dev import DevResult
    from turnout.training.files import TrainingData
    from turnout.training.pair import Pair

_TORCH = "Needs `pip install 'turnout[train]'`."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("train", help="train a router on tables of outcomes, battles and grades")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    _add_mf(kinds)
    _add_bert(kinds)
    _add_causal_llm(kinds)
    _train_sw_ranking.add_parser(kinds)
    _train_pool.add_parser(kinds)
    _train_scorer.add_parser(kinds)


def _add_mf(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "mf",
        help="matrix factorization over a static embedding, the kind of the default router; takes seconds",
        description="Fits the encoder of a router that exists to your tables. Needs `pip install 'turnout[eval]'`.",
    )
    _add_data(parser)
    _add_artifact(parser, name="turnout-mf")
    parser.add_argument(
        "--encoder", type=Path, metavar="ARTIFACT", help="router whose static encoder is used; default: turnout's mf"
    )
    parser.set_defaults(run=run_mf)


def _add_bert(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "bert",
        help="fine-tune an encoder to predict which model wins a prompt",
        description=_TORCH,
    )
    add_fine_tuning_options(parser, "prompts")
    _add_data(parser)
    _add_artifact(parser, name="turnout-bert")
    parser.set_defaults(run=run_bert)


def _add_causal_llm(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "causal_llm",
        help="fine-tune a language model to score prompts; needs a GPU for models of any size",
        description=f"Writes a checkpoint; `turnout import causal_llm` makes the artifact of it. {_TORCH}",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT_DIR", help="Hugging Face folder of a language model"
    )
    _add_data(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint folder to write")
    parser.add_argument(
        "--lora-rank",
        type=int,
        default=0,
        metavar="R",
        help="train low-rank updates of this rank; 0 trains all weights",
    )
    parser.add_argument("--epochs", type=int, default=1, help="passes over the prompts (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="prompts a step (default: %(default)s)")
    parser.add_argument(
        "--max-tokens", type=int, default=1024, help="longer prompts are left out (default: %(default)s)"
    )
    parser.set_defaults(run=run_causal_llm)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--outcomes",
        "--correctness",
        nargs="*",
        type=Path,
        default=[],
        metavar="TABLE",
        help="a column `prompt` and a column of scores in 0..1 for every model",
    )
    parser.add_argument(
        "--battles", nargs="*", type=Path, default=[], metavar="TABLE", help="prompt, model_a, model_b, winner"
    )
    parser.add_argument(
        "--grades",
        nargs="*",
        type=Path,
        default=[],
        metavar="TABLE",
        help="prompt and grade, from 1 (any model answers it well) to 5 (only an expert does)",
    )
    parser.add_argument(
        "--strong", metavar="NAME", help="strong model of the pair to route; default: the shipped router's"
    )
    parser.add_argument("--weak", metavar="NAME", help="weak model of it; default: the shipped router's")
    add_table_options(parser)
    parser.add_argument(
        "--dev", nargs="*", type=Path, default=[], metavar="TABLE", help="outcomes to evaluate on, never trained on"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: %(default)s)")


def _add_artifact(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="artifact folder")
    parser.add_argument("--name", default=name, help="name of the router (default: %(default)s)")
    parser.add_argument(
        "--license",
        "--licence",
        dest="licence",
        default="unstated",
        help="license of the weights, an SPDX expression",
    )
    parser.add_argument(
        "--notes", type=Path, metavar="FILE", help="Markdown for the card: origin and licenses of the data"
    )


def pair_of(args: argparse.Namespace) -> Pair:
    """The pair that the command names, its names in canonical form.

    Raises:
        ConfigError: Both names mean the same model.
    """
    import turnout
    from turnout.data import ModelAliases
    from turnout.training.pair import Pair

    names = args.strong or Pair.strong, args.weak or Pair.weak
    strong, weak = map(ModelAliases().canonical, names)
    if strong == weak:
        raise turnout.ConfigError(f"--strong {names[0]} and --weak {names[1]} are one model, {strong}: expected two")
    return Pair(strong, weak)


def run_mf(args: argparse.Namespace) -> int:
    """Runs ``train mf``."""
    require("eval", "onnx", "rich", "scipy", "sklearn", purpose="train mf")
    check_out(args.out, *([] if args.encoder is None else [args.encoder]))
    data = _read(args)

    from turnout.progress import plain_lines, progress_bars
    from turnout.routers.mf.export import write_mf
    from turnout.routers.mf.train import MfConfig, train_mf

    console = printable_console(stderr=True)
    config, origin = MfConfig(pair_of(args), seed=args.seed), origin_of(args)
    with progress_bars(console) as bars:
        trained = train_mf(config, data, args.encoder, bars, plain_lines(console))
    _show(write_mf(trained, data, origin, args.out), console)
    console.print(f"{trained.settings['start']} has {trained.start_scores[0].router} on the left-out prompts")
    console.print(f"wrote {args.out}")
    return 0


def run_bert(args: argparse.Namespace) -> int:
    """Runs ``train bert``."""
    _need_torch()
    check_out(args.out, args.encoder)
    data = _read(args)

    from turnout.graphs.checkpoint import Checkpoint
    from turnout.progress import plain_lines, progress_bars
    from turnout.routers.bert.export_fine_tuned import write_classifier
    from turnout.routers.bert.fine_tune import ClassifierConfig, train_classifier
    from turnout.routers.bert.import_ import check_precision
    from turnout.training.fine_tuning import FineTuningConfig

    console = printable_console(stderr=True)
    config = ClassifierConfig(pair_of(args), FineTuningConfig(epochs=args.epochs, seed=args.seed))
    precision: Precision = args.precision
    check_precision(Checkpoint(args.encoder), precision)
    tuned, origin = tuned_folder(args.out, args.encoder), origin_of(args)
    with progress_bars(console) as bars:
        loss = train_classifier(config, args.encoder, data, tuned, bars, plain_lines(console))
    pair = (config.pair.strong, config.pair.weak)
    training = {"config": asdict(config.tuning), "held_out_loss": loss}
    _show(write_classifier(tuned, pair, training, data.sources(), data.dev, origin, args.out, precision), console)
    console.print(f"wrote {args.out}, and the checkpoint to {tuned}")
    return 0


def run_causal_llm(args: argparse.Namespace) -> int:
    """Runs ``train causal_llm``."""
    _need_torch()
    check_out(args.out, args.checkpoint)
    data = _read(args)

    from turnout.progress import plain_lines, progress_bars
    from turnout.routers.causal_llm.train import CausalConfig, train_causal_llm

    console = printable_console(stderr=True)
    config = CausalConfig(pair_of(args), lora_rank=args.lora_rank)
    tuning = replace(config.tuning, epochs=args.epochs, batch=args.batch, max_tokens=args.max_tokens, seed=args.seed)
    config = replace(config, tuning=tuning)
    with progress_bars(console) as bars:
        loss = train_causal_llm(config, args.checkpoint, data, args.out, bars, plain_lines(console))
    pair = shlex.join(["--strong", config.pair.strong, "--weak", config.pair.weak])
    console.print(f"wrote {args.out}, held-out loss {loss:.4f}; next: turnout import causal_llm {args.out} {pair}")
    return 0


def _need_torch() -> None:
    require("train", "torch", "transformers", "peft", "rich", "sklearn", purpose="training")


def _read(args: argparse.Namespace) -> TrainingData:
    """Reads the tables: before hours of training, a bad one is an error."""
    import turnout
    from turnout.training.files import TrainingFiles

    if not (args.outcomes or args.battles or args.grades):
        raise turnout.ConfigError("no training data: expected tables after --outcomes, --battles or --grades")
    bad = bad_rows(args)
    data = TrainingFiles(args.outcomes, args.battles, args.grades, args.dev, args.column, bad).read()
    show_bad(bad)
    return data


def _show(results: Sequence[DevResult], console: Console) -> None:
    from turnout.evaluate.dev import show

    if results:
        show(results, console)


def origin_of(args: argparse.Namespace) -> Origin:
    """What the card says of the origin."""
    from turnout.artifact.origin import Origin
    from turnout.data import file_record

    return Origin(
        name=args.name,
        licence=args.licence,
        recipe=recipe(),
        data=[file_record(path) for path in [*args.outcomes, *args.battles, *args.grades]],
        dev_data=[file_record(path) for path in args.dev],
        notes="" if args.notes is None else args.notes.read_text(encoding="utf-8"),
    )


def recipe() -> str:
    """The command line that is running, with the folders of files left out: they are of one machine only."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(["turnout", *words])
