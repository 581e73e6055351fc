"""``turnout train pool``: profiles of a pool's models from your outcomes, and whether to route by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._options import number
from turnout.commands._tables import add_table_options, bad_rows, check_files, show_bad
from turnout.extras import require
from turnout.terminal import echo, printable_json

if TYPE_CHECKING:
    import argparse

    from turnout.pool import Pool
    from turnout.training.own_pool import TrainedPool


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = kinds.add_parser(
        "pool",
        help="profiles of a pool's models from your outcomes; says whether to route at all",
        description="Writes profiles of the pool's models. Nested cross-validation picks them and says on left-out prompts what routing by "
        "them is worth; the answer may be that one model alone is as good and cheaper. Needs `pip install 'turnout[eval]'`.",
    )
    parser.add_argument(
        "--outcomes", required=True, metavar="TABLE", help="a column `prompt` and a column of scores in 0..1 a model"
    )
    parser.add_argument("--pool", required=True, metavar="POOL_TOML", help="the models and their prices")
    parser.add_argument(
        "--prior", default="mf", metavar="ARTIFACT", help="router with profiles to start from, or `none` (default: mf)"
    )
    parser.add_argument("--router", metavar="ARTIFACT", help="router whose embeddings are used; default: mf")
    parser.add_argument(
        "--margin",
        type=number,
        default=0.01,
        metavar="M",
        help="mean score that routing may lose at the lower end of its 95 %% interval (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="profiles to write, a .safetensors")
    parser.add_argument("--seed", type=int, default=0, help="seed of folds and bootstrap (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_table_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import turnout

    require("eval", "safetensors", "scipy", "sklearn", purpose="train pool")
    if args.out.suffix != ".safetensors":
        raise turnout.ConfigError(f"--out is {args.out}, expected a file that ends in .safetensors")
    if not 0.0 <= args.margin <= 1.0:
        raise turnout.ConfigError(f"--margin is {args.margin:g}, expected a number in 0..1")
    prior = args.prior if args.prior not in ("mf", "none") else None
    check_files([args.outcomes, args.pool, prior])
    from turnout.data.writer import check_folder
    from turnout.evaluate.json_values import json_values
    from turnout.profiles.known import graph_hash, known_profiles
    from turnout.training.own_pool import scored_prompts_of, train_pool

    check_folder(args.out, "--out")
    bad = bad_rows(args)
    described = turnout.Pool.load(args.pool)
    pool = turnout.load(args.router, pool=_constant(described))
    embedding = graph_hash(pool.path)
    known = None if args.prior == "none" else known_profiles(turnout.load(prior).path)
    if known is not None and known.embedding != embedding:
        raise turnout.ConfigError(f"--prior {args.prior} has profiles for another graph than that of --router")
    scored, costs, names = scored_prompts_of(args.outcomes, pool, bad, args.column)
    trained = train_pool(scored, names, costs, known, embedding, margin=args.margin, seed=args.seed)
    args.out.write_bytes(trained.profiles.to_bytes())
    show_bad(bad)
    echo(
        printable_json(json.dumps(json_values(trained.to_json()), indent=1, allow_nan=False))
        if args.json
        else _text(trained, described, args.out)
    )
    return 0


def _constant(pool: Pool) -> Pool:
    """The pool with one chance for all models: only its prices count here, and its profiles may not be there yet."""
    from dataclasses import replace

    import turnout

    constant: dict[str, Any] = {"success": 0.5, "like": None, "profile": None}
    models = [
        replace(
            model, **constant, efforts={name: replace(effort, **constant) for name, effort in model.efforts.items()}
        )
        for model in pool.models
    ]
    return turnout.Pool(models, currency=pool.currency)


def _text(trained: TrainedPool, pool: Pool, out: Path) -> str:
    losses = sorted(trained.losses.items(), key=lambda item: item[1])
    lines = [
        str(trained.verdict),
        "log loss on left-out prompts: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses),
        f"wrote {out} ({trained.picked}); the cohort table and kNN are measured for comparison, the core runs neither. In the pool's file:",
        "",
        "[objective]",
        f"error_cost = {trained.error_cost:.6g}" if trained.verdict.route else "# one model alone: no routing",
    ]
    for model in pool.models:
        efforts = [effort for effort in model.efforts if f"{model.name}:{effort}" in trained.profiles.names]
        # An effort takes the row of its own name from the file of its model.
        if efforts or model.name in trained.profiles.names:
            lines += [f"[models.{json.dumps(model.name)}]", f"profile = {json.dumps(out.name)}"]
            lines += [f"[models.{json.dumps(model.name)}.efforts.{json.dumps(effort)}]" for effort in efforts]
    return "\n".join(lines)
