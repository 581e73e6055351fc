"""The report of a decision log: as values, and as lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from turnout.evaluate.bootstrap import Estimate
from turnout.evaluate.traffic.estimates import (
    FEWEST,
    Mean,
    Resampling,
    bounds,
    by_model,
    counterfactual,
    mean_of,
    savings,
    shadowed,
)
from turnout.evaluate.traffic.traffic import Traffic
from turnout.token_prices import TokenPrices

#: Why a comparison with a single model is not made.
NOT_KNOWN = "not known: its answers were neither chosen by chance (receipts with propensities) nor compared (shadow verdicts) often enough"


def report_of(traffic: Traffic, prices: Mapping[str, TokenPrices], how: Resampling) -> dict[str, Any]:
    """Everything that the receipts and outcomes say.

    Args:
        traffic: Decisions.
        prices: Of models by name.
        how: Resampling.

    Returns:
        Values for JSON; ``None`` for what is not known.
    """
    graded = np.any([~np.isnan(values) for values in traffic.grades.values()], axis=0) if traffic.grades else None
    models = sorted({*prices, *map(str, traffic.served), *traffic.propensities, *traffic.verdicts})
    costs = traffic.cost[~np.isnan(traffic.cost)]
    return {
        "decisions": len(traffic),
        "left_out": dict(traffic.left_out),
        "served": dict(Counter(map(str, traffic.served)).most_common()),
        "with_outcome": 0 if graded is None else int(graded.sum()),
        "with_propensities": int((~np.isnan(next(iter(traffic.propensities.values())))).sum())
        if traffic.propensities
        else 0,
        "with_verdict": int(np.any([~np.isnan(one) for one in traffic.verdicts.values()], axis=0).sum())
        if traffic.verdicts
        else 0,
        "regenerated": int(traffic.regenerated.sum()),
        "cost": {"total": float(costs.sum()), "known": len(costs), "mean": _mean(mean_of(traffic.cost, traffic, how))},
        "savings": {name: _mean(savings(traffic, name, prices[name], how)) for name in models if name in prices},
        "grades": {kind: _grades(traffic, kind, how) for kind in traffic.grades},
        "always": {name: _always(traffic, name, how) for name in models},
        "bootstrap": asdict(how),
    }


def _grades(traffic: Traffic, kind: str, how: Resampling) -> dict[str, Any]:
    grades = traffic.grades[kind]
    return {
        "known": int((~np.isnan(grades)).sum()),
        "mean": _mean(mean_of(grades, traffic, how)),
        "bounds": bounds(grades),
        "by_model": {
            name: _mean(found)
            for name, found in by_model(traffic, lambda rows: mean_of(grades, traffic, how, rows)).items()
        },
    }


def _always(traffic: Traffic, model: str, how: Resampling) -> dict[str, Any]:
    """What is known of the answers that a model would give to all requests."""
    found = {kind: counterfactual(traffic, grades, model, how) for kind, grades in traffic.grades.items()}
    verdicts = shadowed(traffic, model, how)
    return {
        "grades": {kind: asdict(one) for kind, one in found.items() if one is not None},
        "verdicts": None if verdicts is None else asdict(verdicts),
    }


def _mean(found: Mean | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found.estimate), "known": found.known}


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for people.

    Args:
        report: Of :func:`report_of`.

    Yields:
        Lines.
    """
    decisions = report["decisions"]
    served = ", ".join(f"{name} {count:,}" for name, count in report["served"].items())
    yield f"decisions        {decisions:,}{f': {served}' if served else ''}"
    for reason, count in report["left_out"].items():
        yield f"  left out       {count:,} {reason}"
    if not decisions:
        return
    yield f"outcomes         {_part(report['with_outcome'], decisions)} have one; {report['regenerated']:,} regenerated"
    cost = report["cost"]
    mean = f", mean {_shown(cost['mean'], '.6f')}" if cost["mean"] else ""
    yield f"cost             {cost['total']:.4f} for {_part(cost['known'], decisions)} whose tokens and prices are known{mean}"
    for name, found in report["savings"].items():
        text = f"{_shown(found, '.1%')} saved" if found else f"too few decisions (expected at least {FEWEST})"
        yield f"  always {name}: {text}"
    if report["savings"]:
        yield "  (the same tokens, cached ones included, at the other model's prices)"
    for kind, found in report["grades"].items():
        low, high = found["bounds"]
        text = _shown(found["mean"], ".3f") if found["mean"] else "too few"
        yield f"{kind:16} {text}, of {_part(found['known'], decisions)}; with the unknown ones anything in [{low:.3f}, {high:.3f}]"
        for name, one in found["by_model"].items():
            yield f"  by {name}: {f'''{_shown(one, '.3f')} of {one['known']:,}''' if one else 'too few'}"
    for name, found in report["always"].items():
        yield from _always_lines(name, found)


def _always_lines(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    for kind, one in found["grades"].items():
        yield (
            f"always {name}: {kind} {_shown(one['doubly_robust'], '.3f')}, {_shown(one['gain'], '+.3f')} against routing "
            f"(doubly robust; IPS {_shown(one['ips'], '.3f')}; {one['known']:,} decisions by chance, "
            f"worth {one['effective']:.0f} of equal chance)"
        )
    if verdicts := found["verdicts"]:
        yield (
            f"always {name}: better minus worse answers {_shown(verdicts['gain'], '+.3f')} where other models answered, "
            f"{_shown(verdicts['overall'], '+.3f')} of all; {verdicts['known']:,} compared"
        )
        if verdicts["bounds"]:
            low, high = verdicts["bounds"]
            yield f"  of {verdicts['drawn']:,} drawn; with the missing ones anything in [{low:+.3f}, {high:+.3f}]"
    if not found["grades"] and not found["verdicts"]:
        yield f"always {name}: {NOT_KNOWN}"


def _part(count: int, whole: int) -> str:
    return f"{count:,} of {whole:,} ({count / whole:.0%})"


def _shown(found: Mapping[str, Any], spec: str) -> str:
    estimate = Estimate(found["value"], found["low"], found["high"])
    if math.isnan(estimate.low):
        return f"{estimate.value:{spec}}"
    return f"{estimate.value:{spec}} [{estimate.low:{spec}}, {estimate.high:{spec}}]"
