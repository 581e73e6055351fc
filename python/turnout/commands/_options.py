"""Options that choose a router, shared by the commands that load one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import argparse

    import turnout
    from turnout.pool import PoolRequest


def number(text: str) -> float:
    """A number of the command line: ``float`` without the digits of other scripts and ``_``, which Python reads as well.

    Example:
        >>> number("1e-3"), number("nan")
        (0.001, nan)
        >>> number("0_5")
        Traceback (most recent call last):
            ...
        ValueError: 0_5
    """
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text)


def add_router_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that select a router, its models and threshold, and its engine, device and threads."""
    group = parser.add_argument_group("router")
    group.add_argument(
        "--router", metavar="ARTIFACT", help="artifact folder, or the name of a shipped router; default: mf"
    )
    group.add_argument(
        "--strong", metavar="NAME", help="name of the strong model; a name that the artifact does not know is a label"
    )
    group.add_argument("--weak", metavar="NAME", help="name of the weak model, likewise")
    group.add_argument(
        "--threshold", type=number, metavar="T", help="win rate in 0..1 from which the strong model is chosen"
    )
    group.add_argument(
        "--strong-share", type=number, metavar="S", help="in place of a threshold: share in 0..1 for the strong model"
    )
    group.add_argument(
        "--engine", default="auto", choices=["auto", "native", "onnxruntime"], help="engine that runs the graph"
    )
    group.add_argument("--device", default="cpu", metavar="D", help="cpu or cuda:N; there is no fallback")
    group.add_argument("--threads", type=int, default=0, metavar="N", help="threads for a batch; 0 means all cores")


def add_pool_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name a pool of models and what its decisions are to achieve."""
    group = parser.add_argument_group("pool")
    group.add_argument("--pool", metavar="TOML", help="choose between the models of this pool in place of a pair")
    objective = group.add_mutually_exclusive_group()
    for name, text in _OBJECTIVES.items():
        objective.add_argument(f"--{name.replace('_', '-')}", type=number, metavar="X", help=text)
    group.add_argument(
        "--needs", action="append", metavar="CAPABILITY", help="images, audio, files, tools or json; may be repeated"
    )
    group.add_argument("--max-price", type=number, metavar="P", help="largest price of a million tokens")
    group.add_argument("--max-latency-ms", type=number, metavar="MS", help="largest p95 latency")
    group.add_argument("--unavailable", action="append", metavar="NAME", help="leave out this model; may be repeated")


_OBJECTIVES = {
    "target": "the cheapest model whose chance of success reaches this",
    "max_cost": "the most likely model whose expected cost does not exceed this",
    "error_cost": "the least expected cost plus this times the chance of failure",
    "tolerance": "the cheapest model whose chance is at most this much below the best one's",
}
_REQUEST = (*_OBJECTIVES, "needs", "max_price", "max_latency_ms", "unavailable")


def pool_request(args: argparse.Namespace) -> PoolRequest:
    """The options of :func:`add_pool_options` as arguments of :meth:`turnout.PoolRouter.route`.

    Raises:
        ConfigError: One is given without ``--pool``.
    """
    import turnout

    given = {name: getattr(args, name) for name in _REQUEST if getattr(args, name) is not None}
    if given and args.pool is None:
        raise turnout.ConfigError(f"--{next(iter(given)).replace('_', '-')} is for a pool: give --pool")
    return cast("PoolRequest", given)


def load_pool_router(args: argparse.Namespace) -> turnout.PoolRouter:
    """Loads the pool and the router that the options name."""
    import turnout

    pair = {name: getattr(args, name) for name in ("strong", "weak", "threshold", "strong_share")}
    if given := [name for name, value in pair.items() if value is not None]:
        raise turnout.ConfigError(f"--{given[0].replace('_', '-')} is for a pair of models, and --pool has none")
    check_threads(args)
    return turnout.load(
        args.router,
        pool=turnout.Pool.load(args.pool),
        engine=args.engine,
        device=args.device,
        threads=args.threads,
    )


def check_threads(args: argparse.Namespace) -> None:
    """Refuses a negative number of threads."""
    import turnout

    if args.threads < 0:
        raise turnout.ConfigError(f"--threads is {args.threads}, expected 0 or more")


def load_router(args: argparse.Namespace) -> turnout.Router:
    """Loads the router that the options name."""
    import turnout

    check_threads(args)
    return turnout.load(
        args.router,
        strong=args.strong,
        weak=args.weak,
        threshold=args.threshold,
        strong_share=args.strong_share,
        engine=args.engine,
        device=args.device,
        threads=args.threads,
    )
