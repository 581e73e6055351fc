"""``turnout inspect``: what an artifact is, what it was trained on and how it would run here."""

from __future__ import annotations

import argparse
import bisect
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from turnout.commands._terminal import blocks, color, cut, sparkline
from turnout.terminal import echo, printable, printable_json

#: Models named before the list is cut.
SHOWN_MODELS = 8


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("inspect", help="show the training data, files, engine and thresholds of a router")
    parser.add_argument("artifact", nargs="?", help="artifact folder, or the name of a shipped router; default: mf")
    parser.add_argument("--pool", metavar="TOML", help="show this pool of models over the artifact")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--models", action="store_true", help="list every model")
    parser.add_argument(
        "--engine", default="auto", choices=["auto", "native", "onnxruntime"], help="engine that runs the graph"
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu or cuda:N")
    parser.set_defaults(run=run)


def describe(artifact: str | None, engine: str = "auto", device: str = "cpu") -> dict[str, Any]:
    """Everything that ``turnout inspect`` shows of an artifact.

    An artifact whose engine is not installed is described too, with the reason under ``"unavailable"``.

    Args:
        artifact: Folder; by default the router that ships with the package.
        engine: As in :func:`turnout.load`.
        device: As in :func:`turnout.load`.

    Returns:
        ``path``, ``artifact_hash``, ``engine``, ``device``, ``not_native_because``, ``unavailable``, ``bytes``,
        ``documents`` and the ``manifest``.
    """
    import turnout
    from turnout.shipped import artifact_folder

    folder = artifact_folder(artifact)
    found: dict[str, Any] = {"path": str(folder)}
    try:
        router = turnout.load(folder, engine=engine, device=device)
    except (turnout.EngineError, turnout.DeviceError) as error:
        manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        found |= {"artifact_hash": None, "engine": None, "device": None, "not_native_because": None}
        found["unavailable"] = str(error)
    else:
        manifest = router.manifest
        found |= {"artifact_hash": router.artifact_hash, "engine": router.engine, "device": router.device}
        found |= {"not_native_because": router.not_native_because, "unavailable": None}
    found["bytes"] = sum(entry["bytes"] for entry in manifest["files"].values())
    found["documents"] = sorted(
        path.name for path in folder.iterdir() if path.name != "router.json" and path.name not in manifest["files"]
    )
    found["manifest"] = manifest
    return found


def strong_share(quantiles: list[float], threshold: float) -> float:
    """Share of calibration prompts whose win rate reaches the threshold.

    Example:
        >>> strong_share([0.0, 0.25, 0.5, 0.75, 1.0], 0.75)
        0.25
    """
    return 1.0 - bisect.bisect_left(quantiles, threshold) / (len(quantiles) - 1)


def lines(found: dict[str, Any], every_model: bool = False) -> Iterator[str]:
    """The report, line by line."""
    manifest = found["manifest"]
    yield color(f"{printable(manifest['name'])}: {manifest['kind']} router, format {manifest['format_version']}", 1)
    yield from _field("path", found["path"])
    if found["artifact_hash"]:
        yield from _field("hash", found["artifact_hash"])
    yield from _field("pair", f"{manifest['pair']['strong']} (strong), {manifest['pair']['weak']} (weak)")
    if found["unavailable"]:
        yield from _field("engine", f"unavailable: {found['unavailable']}")
    else:
        yield from _field("engine", f"{found['engine']} on {found['device']}")
    if found["not_native_because"]:
        yield from _field("", f"not native because {found['not_native_because']}")
    encoder, tokenizer = manifest["encoder"], manifest["tokenizer"]
    limit = "; embeddings come from the caller"
    if tokenizer:
        longer = "beginning and end" if tokenizer.get("truncation") == "head_tail" else "the beginning"
        ends = "longer ones are refused" if manifest["kind"] == "causal_llm" else f"of longer ones {longer}"
        limit = f"; prompts of at most {tokenizer['max_tokens']} tokens, {ends}"
    yield from _field("encoder", f"{encoder['kind']}, {encoder['dim']} numbers{limit}")
    yield from _field("calibration", _calibration(manifest["calibration"]))
    threshold, quantiles = manifest["thresholds"]["default"], manifest["thresholds"]["quantiles"]
    share = (
        f"; {strong_share(quantiles, threshold):.0%} of its calibration prompts go to the strong model"
        if quantiles
        else ""
    )
    yield from _field("threshold", f"{threshold:g}{share}")
    if quantiles:
        low, high = quantiles[0], quantiles[-1]
        yield from _field(
            "win rates",
            f"{low:.3f} {sparkline(quantiles, blocks=blocks())} {high:.3f} over calibration prompts, sorted",
        )
    if ranking := manifest.get("ranking"):
        yield from _field("tiers", f"{ranking['tier_count']}; {_search(ranking['index'])}")
    models = manifest["models"]
    shown = models if every_model else models[:SHOWN_MODELS]
    more = f" and {len(models) - len(shown)} more (--models)" if len(shown) < len(models) else ""
    yield from _field("models", f"{len(models)}: {', '.join(shown)}{more}")
    yield from _field("files", f"{found['bytes']:,} bytes")
    for name, entry in manifest["files"].items():
        yield f"  {name:<20} {entry['bytes']:>12,}  sha256 {entry['sha256'][:16]}…"
    for name in found["documents"]:
        yield f"  {printable(name):<20} {'':>12}  not used by the router"
    yield color("provenance", 1)
    yield from map(printable, _tree(manifest["provenance"], "  "))


def _field(name: str, value: str) -> Iterator[str]:
    wrapped = textwrap.wrap(printable(value), 104, break_long_words=False, break_on_hyphens=False) or [""]
    yield f"{name:<12} {wrapped[0]}".rstrip()
    yield from (f"{'':<12} {line}" for line in wrapped[1:])


def _search(index: dict[str, Any] | None) -> str:
    if index is None:
        return "every battle is weighed"
    search = f" with {index['search']}" if index["search"] else ""
    return (
        f"FAISS {index['factory']}{search}, {index['neighbors']} prompts weighted exactly, "
        f"99 % within {index['error']['p99']:.4f} of the exact win rate"
    )


def _calibration(calibration: dict[str, Any]) -> str:
    if calibration["kind"] == "platt":
        return f"platt, sigmoid({calibration['slope']:g} * logit {calibration['intercept']:+g})"
    if calibration["kind"] == "isotonic":
        return f"isotonic, {len(calibration['x'])} points"
    return str(calibration["kind"])


def _tree(value: Any, indent: str) -> Iterator[str]:
    """Any JSON as indented lines: small values on the line of their name, large ones below it."""
    if not isinstance(value, dict | list):
        yield from textwrap.wrap(
            printable(str(value)), 118, initial_indent=indent, subsequent_indent=indent, break_long_words=False
        )
        return
    items = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for name, item in items:
        name = printable(str(name))
        text = json.dumps(item, ensure_ascii=False) if isinstance(item, dict | list) else printable(str(item))
        if len(indent) + len(str(name)) + len(text) <= 114:
            yield f"{indent}{name}: {text}" if name != "-" else f"{indent}- {text}"
        elif isinstance(item, list) and all(isinstance(number, int | float) for number in item):
            yield f"{indent}{name}: {len(item)} numbers, {cut(text, 60)}"
        else:
            yield f"{indent}{name}:"
            yield from _tree(item, indent + "  ")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    if args.pool:
        from turnout.commands import pool

        return pool.run(argparse.Namespace(pool=args.pool, router=args.artifact, json=args.json))
    found = describe(args.artifact, args.engine, args.device)
    if args.json:
        echo(printable_json(json.dumps(found, indent=1, ensure_ascii=False)))
    else:
        echo("\n".join(lines(found, args.models)))
    return 0
