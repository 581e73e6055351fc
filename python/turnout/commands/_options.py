"""Options that choose a router, shared by the commands that load one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    import turnout


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


def load_router(args: argparse.Namespace) -> turnout.Router:
    """Loads the router that the options name."""
    import turnout

    if args.threads < 0:
        raise turnout.ConfigError(f"--threads is {args.threads}, expected 0 or more")
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
