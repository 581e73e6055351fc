"""``turnout calibrate --pool``: chances of success refitted on your outcomes, and whether your prompts are like the fitted ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.commands._tables import bad_rows, check_files, show_bad
from turnout.extras import require
from turnout.terminal import echo, grid, printable_console, printable_json

if TYPE_CHECKING:
    import argparse

    from turnout.calibrate.pool import PoolCalibration
    from turnout.pool.profiles import Doubles


def run_pool(args: argparse.Namespace) -> int:
    """Runs ``turnout calibrate`` for a pool."""
    import turnout

    require("eval", "safetensors", "scipy", "sklearn", "rich", purpose="calibrate --pool")
    table = args.data
    if not table:
        raise turnout.ConfigError("--pool needs outcomes, not prompts alone: give --outcomes")
    pair = [args.strong_share, args.cost_per_request, args.cost_per_month, args.quality, args.win_rate]
    if any(option is not None for option in pair):
        raise turnout.ConfigError("--pool refits chances of success: thresholds and win rates are for pairs")
    if args.target is not None and not 0.0 <= args.target <= 1.0:
        raise turnout.ConfigError(f"--target is {args.target:g}, expected a number in 0..1")
    if args.radius is not None and (args.target is None or args.radius < 0.0):
        raise turnout.ConfigError(f"--radius is {args.radius:g}, expected a number of 0 or more, with --target")
    if args.save and not args.save.endswith(".safetensors"):
        raise turnout.ConfigError(f"--save is {args.save}, expected a file that ends in .safetensors")
    check_files([args.pool, table])
    import numpy as np

    from turnout.artifact.calibration import logit
    from turnout.calibrate.pool import PoolCalibration, calibrate_pool, calibrated_profiles, shift_of
    from turnout.data import read_outcomes
    from turnout.data.writer import check_folder
    from turnout.evaluate.json_values import json_values
    from turnout.pool.profiles import sigmoid
    from turnout.profiles.known import graph_hash, known_profiles, output_tokens_of_pool, profiles_of_pool

    if args.save:
        check_folder(Path(args.save), "--save")
    bad = bad_rows(args)
    described = turnout.Pool.load(args.pool)
    pool = turnout.load(args.router, pool=described)
    outcomes = read_outcomes(table, bad=bad, column=args.column)
    names = list(pool.models)
    scores = np.stack([outcomes.scores[outcomes.find(name)] for name in names], axis=1)
    outside = scores[(scores < 0.0) | (scores > 1.0)]
    if len(outside):
        raise turnout.InvalidInputError(f"{table}: a score is {outside[0]:g}, expected scores in 0..1")
    success = np.asarray(pool.success(outcomes.prompts), dtype=np.float64)
    found = calibrate_pool(success, scores, names, outcomes.prompts)
    shift = shift_of(known_profiles(pool.path), pool.embed(outcomes.prompts))
    result = PoolCalibration(found, shift, len(outcomes))
    saved = None
    if args.save:
        tokens = output_tokens_of_pool(described, pool.path)
        profiles = calibrated_profiles(profiles_of_pool(described, pool.path), found, graph_hash(pool.path), tokens)
        saved = Path(args.save)
        saved.write_bytes(profiles.to_bytes())
    show_bad(bad)
    slopes = np.array([[one.slope, one.intercept] for one in found.values()])
    robust = _robust(args, result, sigmoid(slopes[:, 0] * logit(success, 1e-6) + slopes[:, 1]))
    if args.json:
        document = {**result.to_json(), "robust": robust}
        echo(printable_json(json.dumps(json_values(document), indent=1, allow_nan=False)))
    else:
        _show(result, robust, saved)
    return 0


def _robust(args: argparse.Namespace, result: PoolCalibration, success: Doubles) -> dict[str, float] | None:
    """Target and radius of the shift, as the pool's file takes them, with the chance that they ask for.

    ``reached`` is the part of the prompts on which a model has that chance, calibrated.
    """
    from turnout.calibrate.pool import raised_target

    radius = args.radius if args.radius is not None else (result.shift.radius if result.shift else None)
    if args.target is None or radius is None:
        return None
    asked = raised_target(args.target, radius)
    reached = float((success.max(axis=1) >= asked).mean())
    return {"target": args.target, "kl_radius": radius, "raised_target": asked, "reached": reached}


def _show(result: PoolCalibration, robust: dict[str, float] | None, saved: Path | None) -> None:
    from turnout.evaluate.report import estimate_text

    console = printable_console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 240)
    table = grid(
        "model", "prompts", "ECE before", "after", "noise", "Brier before", "after", "slope", "intercept", "fits"
    )
    for name, one in result.models.items():
        table.add_row(
            name,
            f"{one.before.prompts:,}",
            *(estimate_text(value) for value in (one.before.ece, one.after.ece)),
            f"{one.after.noise:.3f}",
            *(estimate_text(value) for value in (one.before.brier, one.after.brier)),
            f"{one.slope:.2f}",
            f"{one.intercept:+.2f}",
            f"no (p = {one.p_value:.1g})" if one.is_unlike else "yes",
        )
    console.print(table)
    unlike = [name for name, one in result.models.items() if one.is_unlike]
    if unlike:
        console.print(
            f"[yellow]warning:[/yellow] the chances of {', '.join(unlike)} do not fit these outcomes; the calibrated ones do better"
        )
    if result.shift is not None:
        console.print(
            f"these prompts lie {result.shift.distance:.2f} standard deviations from the fitted ones (p = {result.shift.p_value:.1g}), "
            f"a divergence of {result.shift.radius:.3f} nats"
        )
        if result.shift.distance > 1.0:
            console.print(
                "[yellow]warning:[/yellow] they are unlike the fitted prompts: trust these outcomes more than the profiles"
            )
    if robust is not None:
        console.print(
            f"to keep the target under such a shift: [objective] target = {robust['target']:g}, kl_radius = {robust['kl_radius']:.3g}",
            markup=False,
        )
        console.print(
            f"this asks for P(success) >= {robust['raised_target']:.3f}, which a model reaches on {robust['reached']:.1%} of these prompts; "
            "others go to the most likely model",
            markup=False,
        )
    if saved is not None:
        console.print(f"stored in {saved}: profile = {json.dumps(saved.name)} for each model of the pool", markup=False)
