"""``turnout import``: checkpoints of other projects as artifacts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from turnout.commands._measure import needs

EPILOG = """\
examples:
  turnout import mf path/to/mf_gpt4_augmented --out my-router
  turnout calibrate --router my-router --prompts prompts.txt --strong-share 0.5 --embedding-url https://api.openai.com/v1

The artifact takes embeddings of the model that the checkpoint was trained with: yours from the caller, or those of an
OpenAI-compatible endpoint. RouteLLM's thresholds hold unchanged.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "import",
        help="turn a RouteLLM checkpoint into an artifact",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=["mf"], help="kind of router")
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the checkpoint: safetensors and config.json")
    parser.add_argument("--out", type=Path, metavar="DIR", help="artifact folder to write; default: PATH with -turnout")
    parser.add_argument("--name", help="name of the router; default: that of the folder")
    parser.add_argument(
        "--strong", default="gpt-4-1106-preview", metavar="NAME", help="strong model (default: %(default)s)"
    )
    parser.add_argument(
        "--weak", default="mixtral-8x7b-instruct-v0.1", metavar="NAME", help="weak model (default: %(default)s)"
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FILE",
        help="JSON list of names, or object of names to rows; default: RouteLLM's 64",
    )
    parser.add_argument(
        "--embedding-model",
        default="text-embedding-3-small",
        metavar="NAME",
        help="for the record (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="T", help="default threshold (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Does it."""
    needs("import", "safetensors", "onnx")
    import turnout
    from turnout.importers import import_mf

    models = None
    if args.models:
        found = json.loads(args.models.read_text(encoding="utf-8"))
        models = (
            [name for name, _ in sorted(found.items(), key=lambda item: item[1])] if isinstance(found, dict) else found
        )
    out = args.out or args.path.resolve().with_name(args.path.resolve().name + "-turnout")
    if (out / "config.json").exists():
        raise turnout.ConfigError(f"{out} holds a checkpoint: choose another folder with --out")
    import_mf(
        args.path,
        out,
        strong=args.strong,
        weak=args.weak,
        models=models,
        embedding_model=args.embedding_model,
        threshold=args.threshold,
        name=args.name or args.path.resolve().name,
    )
    router = turnout.load(out)
    print(f"{out}: {len(router.models)} models, {router.strong} over {router.weak}")
    print(f"it takes embeddings of length {router.embedding_dim} ({args.embedding_model})")
    return 0
