"""``turnout import``: checkpoints of other projects as artifacts."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from turnout.commands._options import number
from turnout.commands._tables import add_table_options, bad_rows, show_bad
from turnout.extras import require
from turnout.graphs.precision import PRECISIONS, Precision
from turnout.terminal import echo, printable_console

EPILOG = """\
examples:
  turnout import mf path/to/mf_gpt4_augmented --out my-router
  turnout import sw_ranking arena-55k.parquet --embeddings embeddings.npy --out my-router
  turnout import bert path/to/bert_gpt4_augmented --out my-router
  turnout import bert path/to/checkpoint --precision int8 --prompts prompts.txt
  turnout import causal_llm path/to/causal_llm_gpt4_augmented --precision int4
  turnout calibrate --router my-router --prompts prompts.txt --strong-share 0.5 --embedding-url https://api.openai.com/v1

bert reads BERT, MiniLM, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT and ModernBERT without torch. Any other
architecture with a sequence classifier goes through torch (turnout[train,onnx]) and is checked against it.
An mf artifact takes embeddings of the model that the checkpoint was trained with: yours from the caller, or those of an
OpenAI-compatible endpoint. The others take prompts and run in ONNX Runtime. RouteLLM's thresholds hold unchanged.
"""

_THRESHOLD = 0.5
#: Kinds that an option is for; the others are for all.
_KINDS = {
    "threshold": ("mf", "bert", "causal_llm"),
    "models": ("mf",),
    "embedding_model": ("mf", "sw_ranking"),
    "labels": ("bert",),
    "precision": ("bert", "causal_llm"),
    "report": ("bert", "causal_llm"),
    "prompts": ("bert", "causal_llm"),
    "embeddings": ("sw_ranking",),
    "tiers": ("sw_ranking",),
    "storage": ("sw_ranking",),
    "index": ("sw_ranking",),
    "keep_prompts": ("sw_ranking",),
    "allow_bad_rows": ("sw_ranking", "bert", "causal_llm"),
    "column": ("bert", "causal_llm"),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "import",
        help="convert a RouteLLM or Hugging Face checkpoint to an artifact",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=["mf", "sw_ranking", "bert", "causal_llm"], help="kind of router")
    parser.add_argument(
        "path",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="folder of the checkpoint, with safetensors and config.json; sw_ranking: tables of battles",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="artifact folder to write; default: PATH with -turnout")
    parser.add_argument("--name", help="name of the router; default: that of the folder")
    parser.add_argument(
        "--strong", default="gpt-4-1106-preview", metavar="NAME", help="strong model (default: %(default)s)"
    )
    parser.add_argument(
        "--weak", default="mixtral-8x7b-instruct-v0.1", metavar="NAME", help="weak model (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold",
        type=number,
        metavar="T",
        help=f"default threshold of the router; not for sw_ranking (default: {_THRESHOLD})",
    )
    mf = parser.add_argument_group("mf")
    mf.add_argument(
        "--models",
        type=Path,
        metavar="FILE",
        help="JSON list of names, or object of names to rows; default: RouteLLM's 64",
    )
    mf.add_argument(
        "--embedding-model",
        default="text-embedding-3-small",
        metavar="NAME",
        help="embedding model, for the model card (default: %(default)s)",
    )
    network = parser.add_argument_group("bert and causal_llm")
    network.add_argument(
        "--labels",
        metavar="A,B,..",
        help="bert: strong, tie and weak in the order of the logits; default: the checkpoint's names, or RouteLLM's order",
    )
    network.add_argument(
        "--precision",
        choices=list(PRECISIONS),
        help="type of matrices; float16 runs on GPUs only (default: float32)",
    )
    network.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        help="of what the precision changes; it writes, loads and runs the network in float32 too. "
        "Default: where that takes less than 1 GiB",
    )
    network.add_argument(
        "--prompts", type=Path, metavar="FILE", help="prompts for the report; default: those of `turnout demo`"
    )
    ranking = parser.add_argument_group("sw_ranking")
    ranking.add_argument(
        "--embeddings",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=".npy or .json file with one row for every battle with a prompt of at least 16 characters",
    )
    ranking.add_argument("--tiers", type=int, default=10, metavar="N", help="number of tiers (default: %(default)s)")
    ranking.add_argument(
        "--storage",
        default="f16",
        choices=["f32", "f16", "int8"],
        help="type of the stored vectors (default: %(default)s)",
    )
    ranking.add_argument("--index", metavar="FACTORY", help="FAISS factory string, such as IVF256,SQ8; default: exact")
    ranking.add_argument(
        "--keep-prompts", action="store_true", help="store the first 200 characters of prompts, for explanations"
    )
    add_table_options(parser)
    parser.set_defaults(run=run, unset={option: parser.get_default(option) for option in _KINDS})


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import turnout

    for option, kinds in _KINDS.items():
        if args.kind not in kinds and getattr(args, option) != args.unset[option]:
            raise turnout.ConfigError(
                f"--{option.replace('_', '-')} belongs to {' and '.join(kinds)}, not to {args.kind}"
            )
    first = args.path[0].resolve()
    out = args.out or first.with_name(first.stem + "-turnout" if args.kind == "sw_ranking" else first.name + "-turnout")
    if args.kind == "sw_ranking":
        return _sw_ranking(args, out)
    if len(args.path) > 1:
        raise turnout.ConfigError(f"{len(args.path)} folders were given, expected one checkpoint")
    if (out / "config.json").exists():
        raise turnout.ConfigError(f"{out} contains a checkpoint: choose another folder with --out")
    if args.strong == args.weak:
        raise turnout.ConfigError(f"--strong and --weak are both {args.strong!r}, expected two models")
    args.threshold = _THRESHOLD if args.threshold is None else args.threshold
    args.precision = args.precision or "float32"
    if not 0 <= args.threshold <= 1:
        raise turnout.ConfigError(f"--threshold is {args.threshold}, expected 0..1")
    name = args.name or first.name
    if args.kind == "mf":
        return _import_mf(args, out, name)
    return _import_network(args, out, name)


def _sw_ranking(args: argparse.Namespace, out: Path) -> int:
    require("eval", "safetensors", "onnx", "rich", purpose="import sw_ranking")

    import turnout
    from turnout.progress import progress_bars
    from turnout.routers.sw_ranking.import_ import import_sw_ranking
    from turnout.routers.sw_ranking.train import Options

    if not args.embeddings:
        raise turnout.ConfigError("sw_ranking needs the battles' embeddings: give --embeddings")
    options = Options(
        strong=args.strong,
        weak=args.weak,
        name=args.name or args.path[0].stem,
        tiers=args.tiers,
        storage=args.storage,
        index=args.index,
        keep_prompts=args.keep_prompts,
    )
    bad = bad_rows(args)
    console = printable_console(stderr=True, soft_wrap=True, highlight=False)
    with progress_bars(console) as report:
        import_sw_ranking(
            args.path, args.embeddings, out, options, bad=bad, embedding_model=args.embedding_model, report=report
        )
    manifest = json.loads((out / "router.json").read_text(encoding="utf-8"))
    echo(
        f"{out}: {len(manifest['models'])} models in {manifest['ranking']['tier_count']} tiers, {args.strong} over {args.weak}"
    )
    echo(f"it takes embeddings of length {manifest['encoder']['dim']} ({args.embedding_model})")
    show_bad(bad)
    return 0


def _import_mf(args: argparse.Namespace, out: Path, name: str) -> int:
    require("eval", "safetensors", "onnx", purpose="import mf")
    import turnout
    from turnout.artifact.staged import staged
    from turnout.routers.mf.import_ import import_mf

    models = _names(args.models) if args.models else None
    with staged(out) as folder:
        import_mf(
            args.path[0],
            folder,
            strong=args.strong,
            weak=args.weak,
            models=models,
            embedding_model=args.embedding_model,
            threshold=args.threshold,
            name=name,
        )
        router = turnout.load(folder)
    echo(f"{out}: {len(router.models)} models, {router.strong} over {router.weak}")
    echo(f"it takes embeddings of length {router.embedding_dim} ({args.embedding_model})")
    return 0


def _names(file: Path) -> list[str]:
    """Names of the rows of a checkpoint, in their order."""
    import turnout

    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
        names = sorted(found, key=found.__getitem__) if isinstance(found, dict) else found
    except (ValueError, TypeError, RecursionError) as error:
        raise turnout.ConfigError(
            f"{file}: expected a JSON list of names, or an object of names to rows: {error}"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise turnout.ConfigError(f"{file}: expected a JSON list of names, or an object of names to rows")
    return names


def _import_network(args: argparse.Namespace, out: Path, name: str) -> int:
    require("eval,onnx", "onnx", "onnxruntime", purpose=f"import {args.kind}")
    import turnout
    from turnout.artifact.staged import staged
    from turnout.evaluate.precision import precision_report, report_prompts
    from turnout.routers.bert.import_ import import_bert
    from turnout.routers.causal_llm.import_ import import_causal_llm

    labels = args.labels.split(",") if args.labels else None
    # Prompts that cannot be read are an error before the work, not after it.
    bad = bad_rows(args)
    prompts = report_prompts(args.prompts, bad=bad, column=args.column) if _is_reported(args) else []

    def write(folder: Path, precision: Precision) -> Path:
        names = {"strong": args.strong, "weak": args.weak, "threshold": args.threshold, "name": name}
        if args.kind == "bert":
            return import_bert(args.path[0], folder, labels=labels, precision=precision, log=_print_error, **names)
        return import_causal_llm(args.path[0], folder, precision=precision, **names)

    with staged(out) as folder:
        write(folder, args.precision)
        manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        # What cannot be loaded does not become an artifact. Only a GPU loads float16.
        if args.precision != "float16":
            turnout.load(folder).close()
    echo(f"{out}: {args.strong} over {args.weak}, prompts of at most {manifest['tokenizer']['max_tokens']} tokens")
    if prompts:
        echo(precision_report(out, lambda folder: write(folder, "float32"), prompts))
    show_bad(bad)
    return 0


def _is_reported(args: argparse.Namespace) -> bool:
    """Whether the network is compared with its float32 version: if requested, or if it is small."""
    import turnout
    from turnout.evaluate.precision import SMALL_BYTES
    from turnout.graphs.checkpoint import Checkpoint

    if args.precision == "float32":
        if args.prompts or args.report is not None:
            raise turnout.ConfigError("--prompts and --report are for the report of --precision float16, int8 or int4")
        return False
    bytes_ = Checkpoint(args.path[0]).bytes_as_float32
    reported: bool = bytes_ < SMALL_BYTES if args.report is None else args.report
    if reported:
        return True
    if args.prompts:
        raise turnout.ConfigError("--prompts needs a report: add --report")
    if args.report is None:
        size = f"{bytes_ / 1e9:.1f} GB"
        _print_error(f"no report: the network in float32 takes {size} of disk and memory; use --report to write it")
    return False


def _print_error(line: str) -> None:
    echo(line, file=sys.stderr)
