"""``turnout train pool``: profiles of a pool's models from your outcomes, and whether to route by them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from turnout.commands._options import number
from turnout.commands._tables import add_table_options, bad_rows, check_files, show_bad
from turnout.extras import require
from turnout.terminal import echo, printable_console, printable_json

if TYPE_CHECKING:
    import argparse

    from turnout.pool import Pool
    from turnout.training.answer_lengths import AnswerLength
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
    from turnout.data import read_outcomes
    from turnout.data.writer import check_folder
    from turnout.evaluate.json_values import json_values
    from turnout.profiles.known import graph_hash, known_profiles
    from turnout.progress import plain_lines
    from turnout.training.answer_lengths import answer_lengths, by_candidate
    from turnout.training.own_pool import scored_prompts_of, train_pool

    check_folder(args.out, "--out")
    bad = bad_rows(args)
    described = turnout.Pool.load(args.pool)
    pool = turnout.load(args.router, pool=_constant(described))
    embedding = graph_hash(pool.path)
    known = None if args.prior == "none" else known_profiles(turnout.load(prior).path)
    if known is not None and known.embedding != embedding:
        raise turnout.ConfigError(f"--prior {args.prior} has profiles for another graph than that of --router")
    table = read_outcomes(args.outcomes, bad=bad, column=args.column)
    warn = plain_lines(printable_console(stderr=True, soft_wrap=True, highlight=False))
    lengths = answer_lengths(args.outcomes, table, pool.embed(table.prompts), pool.models, args.column, warn)
    tokens = by_candidate(lengths, described)
    if tokens:
        pool = turnout.load(args.router, pool=_constant(described, tokens))
    scored, costs, names = scored_prompts_of(table, pool)
    trained = train_pool(
        scored, names, costs, known, embedding, margin=args.margin, seed=args.seed, output_tokens=tokens
    )
    args.out.write_bytes(trained.profiles.to_bytes())
    show_bad(bad)
    if args.json:
        document = {**trained.to_json(), "output_tokens": {name: asdict(one) for name, one in lengths.items()}}
        echo(printable_json(json.dumps(json_values(document), indent=1, allow_nan=False)))
    else:
        echo("\n".join([*_figures(trained, lengths), *_pool_file(trained, described, args.out)]))
    return 0


def _constant(pool: Pool, output_tokens: Mapping[str, float] = MappingProxyType({})) -> Pool:
    """The pool with one chance for all models: only its prices count here, and its profiles may not be there yet.

    Models without ``output_tokens`` take them from the table, as they will from the profile.
    """
    import turnout

    constant: dict[str, Any] = {"success": 0.5, "like": None, "profile": None}
    models = []
    for model in pool.models:
        known = model.output_tokens
        efforts = {
            name: replace(
                effort,
                **constant,
                output_tokens=effort.output_tokens or known or output_tokens.get(f"{model.name}:{name}"),
            )
            for name, effort in model.efforts.items()
        }
        own = known or output_tokens.get(model.name)
        models.append(replace(model, **constant, output_tokens=own, efforts=efforts))
    return turnout.Pool(models, currency=pool.currency)


def _figures(trained: TrainedPool, lengths: Mapping[str, AnswerLength]) -> Iterator[str]:
    from turnout.training.own_pool import BESIDE, ROUTED

    yield str(trained.verdict)
    losses = sorted(trained.losses.items(), key=lambda item: item[1])
    yield "log loss on left-out prompts: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses)
    costs = ", ".join(f"{name} {cost:.3f}" for name, cost in trained.costs.items())
    yield f"cost at the score of {trained.verdict.single}, as a part of its cost: {costs}"
    cheaper = [name for name in BESIDE if trained.costs[name] < trained.costs[ROUTED]]
    yield f"the {' and '.join(BESIDE)} are measured for comparison, profiles cannot hold them" + (
        f"; here {' and '.join(cheaper)} would cost less" if cheaper else ""
    )
    if lengths:
        means = ", ".join(
            f"{name} {one.mean:.0f} +- {one.error:.0f} (with a linear head on the embedding +- {one.head_error:.0f})"
            for name, one in lengths.items()
        )
        yield f"output tokens, the mean and its root mean squared error: {means}"


def _pool_file(trained: TrainedPool, pool: Pool, out: Path) -> Iterator[str]:
    """What was written, and the lines of the pool's file that use it."""
    yield f"wrote {out} ({trained.picked}). In the pool's file:"
    yield ""
    yield "[objective]"
    yield f"error_cost = {trained.error_cost:.6g}" if trained.verdict.route else "# one model alone: no routing"
    for model in pool.models:
        efforts = [effort for effort in model.efforts if f"{model.name}:{effort}" in trained.profiles.names]
        # An effort takes the row of its own name from the file of its model.
        if efforts or model.name in trained.profiles.names:
            yield f"[models.{json.dumps(model.name)}]"
            yield f"profile = {json.dumps(out.name)}"
            yield from (f"[models.{json.dumps(model.name)}.efforts.{json.dumps(effort)}]" for effort in efforts)
