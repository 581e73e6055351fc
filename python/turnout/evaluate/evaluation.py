"""Evaluates routers on tables of outcomes; ``turnout eval`` prints and plots the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.data import ModelAliases, Outcomes
from turnout.evaluate.baselines import LENGTH, length_win_rates, model_scores
from turnout.evaluate.bootstrap import Estimate, bootstrap, interval
from turnout.evaluate.curves import oracle_curve, random_curve, thinned
from turnout.evaluate.figures import Figures, joint
from turnout.evaluate.metrics import Floats, Prices, apgr
from turnout.evaluate.reliability import Bin, reliability, strong_wins
from turnout.evaluate.routellm import routellm_metrics
from turnout.evaluate.win_rates import win_rates_of
from turnout.scored_router import WinRates

#: Categories with fewer prompts than this are counted but not measured.
MIN_CATEGORY = 20


@dataclass(frozen=True)
class Options:
    """Options of :func:`evaluate`.

    Attributes:
        strong: Strong model, by the name of a column or an alias; by default each router's own.
        weak: Weak model, likewise.
        threshold: Threshold of every router, in ``[0, 1]``; by default each router's own.
        prices: Cost per request, for savings.
        resamples: Number of bootstrap resamples; 0 omits intervals.
        seed: Seed of the resamples.
        aliases: Rules that match names of models.
        cache: Folder in which win rates are cached.

    Example:
        >>> Options(strong="gpt-4", weak="mixtral", resamples=100).resamples
        100
    """

    strong: str | None = None
    weak: str | None = None
    threshold: float | None = None
    prices: Prices | None = None
    resamples: int = 1000
    seed: int = 0
    aliases: ModelAliases = field(default_factory=ModelAliases)
    cache: Path | None = None


@dataclass(frozen=True)
class RouterResult:
    """One router on one table.

    Attributes:
        figures: Estimates by name; see :data:`turnout.evaluate.figures.HEADINGS`.
        shares: Shares of strong calls of the curve, float64 ``[points]``, thinned for plots.
        quality: Mean scores at these shares, float64 ``[points]``.
        threshold: Threshold of the figures at a threshold.
        reliability: Bins of the reliability diagram; empty for baselines, whose scores are not probabilities.
        routellm: Figures as RouteLLM's code prints them, or the reason why it would fail.
        win_rates: float64 ``[prompts]``; not in JSON.
    """

    figures: dict[str, Estimate]
    shares: Floats
    quality: Floats
    threshold: float | None
    reliability: list[Bin]
    routellm: dict[str, Any]
    win_rates: Floats


@dataclass(frozen=True)
class Difference:
    """Paired difference of two routers' APGR on the same resamples.

    Attributes:
        first: A router.
        second: Another, or a baseline.
        apgr: First minus second.
    """

    first: str
    second: str
    apgr: Estimate


@dataclass(frozen=True)
class Evaluation:
    """Routers on one table.

    Attributes:
        table: Name of the table.
        prompts: Rows that were scored.
        strong: Column of the strong model.
        weak: Column of the weak model.
        strong_quality: Mean score of the strong model alone.
        weak_quality: Mean score of the weak model alone.
        models: Mean score of every model of the table alone, best first.
        routers: Results by name; the baseline ``prompt length`` is among them.
        random: Figures of random routing, analytically.
        oracle_apgr: APGR of the oracle.
        oracle: Shares and qualities of the oracle.
        categories: For each category the number of prompts, both qualities and APGR by router.
        differences: Paired differences between routers and to the length baseline.
        notes: Limits of the results, such as that the table was part of the training data.

    Example:
        >>> import turnout
        >>> from turnout.data import Outcomes
        >>> from turnout.evaluate import evaluate
        >>> table = Outcomes("mine", ["Hi", "Why?", "Prove it."], {"big": np.ones(3), "small": np.array([1.0, 1.0, 0.0])})
        >>> result = evaluate(table, {"mf": turnout.load()}, Options(strong="big", weak="small", resamples=0))
        >>> sorted(result.routers)
        ['mf', 'prompt length']
    """

    table: str
    prompts: int
    strong: str
    weak: str
    strong_quality: Estimate
    weak_quality: Estimate
    models: dict[str, float]
    routers: dict[str, RouterResult]
    random: dict[str, float]
    oracle_apgr: float
    oracle: tuple[Floats, Floats]
    categories: dict[str, dict[str, Any]]
    differences: list[Difference]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Converts the evaluation to JSON values.

        Returns:
            Everything except the win rates; numbers that are not finite are ``None``.
        """
        routers = {
            name: {
                "threshold": result.threshold,
                "figures": {key: asdict(estimate) for key, estimate in result.figures.items()},
                "routellm": result.routellm,
                "reliability": [asdict(one) for one in result.reliability],
                "curve": {"shares": result.shares, "quality": result.quality},
            }
            for name, result in self.routers.items()
        }
        plain = {name: value for name, value in vars(self).items() if name not in {"routers", "oracle"}}
        plain["strong_quality"], plain["weak_quality"] = asdict(self.strong_quality), asdict(self.weak_quality)
        plain["differences"] = [asdict(difference) for difference in self.differences]
        plain["routers"] = routers
        plain["oracle"] = {"shares": self.oracle[0], "quality": self.oracle[1]}
        result: dict[str, Any] = _jsonable(plain)
        return result


def pair_of(table: Outcomes, routers: Mapping[str, WinRates], options: Options) -> tuple[str, str]:
    """Columns of the strong and the weak model in a table."""
    named = {"strong": options.strong, "weak": options.weak}
    columns = []
    for side, name in named.items():
        owns = [name] if name else sorted({str(getattr(router, side)) for router in routers.values()})
        if len(owns) != 1:
            raise InvalidInputError(f"routers have different {side} models ({', '.join(owns)}): name one with --{side}")
        try:
            columns.append(table.find(owns[0], options.aliases))
        except InvalidInputError as error:
            raise InvalidInputError(f"table {table.name!r}: {error}; choose one with --{side}") from error
    if columns[0] == columns[1]:
        raise InvalidInputError(f"table {table.name!r}: strong and weak are both {columns[0]!r}, expected two models")
    return columns[0], columns[1]


def evaluate(table: Outcomes, routers: Mapping[str, WinRates], options: Options | None = None) -> Evaluation:
    """Evaluates routers on a table.

    Args:
        table: Outcomes of at least two models.
        routers: Routers by name; the names appear in the results.
        options: Models, prices, resamples and cache.

    Returns:
        Figures with intervals, curves, baselines and differences.

    Raises:
        InvalidInputError: The table lacks one of the models, or has no row with scores of both.

    Example:
        >>> import numpy as np
        >>> from turnout.data import Outcomes
        >>> table = Outcomes("sums", ["1+1", "a much longer proof"], {"big": np.ones(2), "small": np.array([1.0, 0.0])})
        >>> result = evaluate(table, {}, Options(strong="big", weak="small", resamples=0))
        >>> round(result.routers["prompt length"].figures["apgr"].value, 2)
        0.75
    """
    options = options or Options()
    notes: list[str] = []
    strong, weak = pair_of(table, routers, options)
    scored = table.with_scores_of([strong, weak])
    if len(scored) < len(table):
        notes.append(
            f"{len(table) - len(scored)} of {len(table)} rows lack a score of {strong} or {weak} and are left out"
        )
    if not len(scored):
        raise InvalidInputError(f"table {table.name!r} has no row with scores of both {strong} and {weak}")
    s, w = scored.scores[strong], scored.scores[weak]
    if s.mean() <= w.mean():
        notes.append(f"{strong} scores {s.mean():.3f} and {weak} {w.mean():.3f}: there is no gap to recover")
    computed: dict[str, Figures] = {}
    for name, router in routers.items():
        rates = win_rates_of(router, scored.prompts, cache=options.cache, label=name)
        threshold = router.threshold if options.threshold is None else options.threshold
        computed[name] = Figures(rates, s, w, threshold=threshold, prices=options.prices)
    computed[LENGTH] = Figures(length_win_rates(scored.prompts), s, w, probabilities=False, prices=options.prices)

    def models_alone(counts: NDArray[np.int64]) -> dict[str, Floats]:
        return {"strong": counts @ s / counts.sum(axis=1), "weak": counts @ w / counts.sum(axis=1)}

    parts: dict[str, Callable[[NDArray[np.int64]], dict[str, Floats]]] = {
        "model": models_alone,
        **{f"router {name}": figures.__call__ for name, figures in computed.items()},
    }
    resampled = bootstrap(joint(parts), scored.prompts, resamples=options.resamples, seed=options.seed)

    def estimate(value: float, key: str) -> Estimate:
        return interval(float(value), resampled.get(key, np.empty(0)))

    results = {}
    for name, figures in computed.items():
        values = {key: float(value[0]) for key, value in figures().items()}
        results[name] = RouterResult(
            {key: estimate(value, f"router {name}/{key}") for key, value in values.items()},
            *thinned(figures.ranking.curve()),
            figures.threshold,
            reliability(figures.win_rates, strong_wins(s, w)) if figures.probabilities else [],
            _routellm(figures),
            figures.win_rates,
        )
    oracle, chance = oracle_curve(s, w), random_curve(s, w)
    return Evaluation(
        table.name,
        len(scored),
        strong,
        weak,
        estimate(s.mean(), "model/strong"),
        estimate(w.mean(), "model/weak"),
        model_scores(scored),
        results,
        _random_figures(chance.quality, options.prices),
        float(apgr(oracle.shares, oracle.quality, oracle.weak, oracle.strong)),
        thinned(oracle),
        _categories(scored, computed, options),
        _differences(list(computed), results, resampled),
        notes,
    )


def _random_figures(ends: Floats, prices: Prices | None) -> dict[str, float]:
    figures = {"apgr": 0.5, "apgr_ten_point": 0.55, "apgr_routellm": 0.5, "cpt20": 0.2, "cpt50": 0.5, "cpt80": 0.8}
    figures["auc"] = float(ends.mean())
    if prices is not None:
        for target in (50, 80, 100):
            figures[f"saving_over_strong_{target}"] = 1.0 - float(prices.cost(target / 100)) / prices.strong
    return figures


def _routellm(figures: Figures) -> dict[str, Any]:
    unit = bool(np.isin(figures.strong, (0, 1)).all() and np.isin(figures.weak, (0, 1)).all())
    try:
        found = routellm_metrics(figures.win_rates, figures.strong, figures.weak, scale=100.0 if unit else 1.0)
    except InvalidInputError as error:
        return {"error": str(error)}
    return {"auc": found.auc, "apgr": found.apgr, "cpt": {f"{k}%": v for k, v in found.cpt.items()}}


def _differences(names: list[str], results: dict[str, RouterResult], resampled: dict[str, Floats]) -> list[Difference]:
    found = []
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            value = results[first].figures["apgr"].value - results[second].figures["apgr"].value
            one, other = resampled.get(f"router {first}/apgr"), resampled.get(f"router {second}/apgr")
            both = np.empty(0) if one is None or other is None else one - other
            found.append(Difference(first, second, interval(value, both)))
    return found


def _categories(table: Outcomes, computed: dict[str, Figures], options: Options) -> dict[str, dict[str, Any]]:
    if table.categories is None:
        return {}
    categories = np.array(table.categories, dtype=object)
    found: dict[str, dict[str, Any]] = {}
    for category in sorted(set(table.categories)):
        keep = categories == category
        first = next(iter(computed.values()))
        s, w = first.strong[keep], first.weak[keep]
        entry: dict[str, Any] = {"prompts": int(keep.sum()), "strong": float(s.mean()), "weak": float(w.mean())}
        if keep.sum() >= MIN_CATEGORY and s.mean() > w.mean():
            parts = {name: Figures(one.win_rates[keep], s, w) for name, one in computed.items()}
            prompts = [prompt for prompt, kept in zip(table.prompts, keep, strict=True) if kept]
            resampled = bootstrap(
                partial(_apgr, parts), prompts, resamples=min(options.resamples, 500), seed=options.seed
            )
            own = _apgr(parts, np.ones((1, len(prompts)), dtype=np.int64))
            nothing = np.empty(0)
            entry["apgr"] = {
                name: asdict(interval(float(own[name][0]), resampled.get(name, nothing))) for name in parts
            }
        found[category] = entry
    return found


def _apgr(parts: Mapping[str, Figures], counts: NDArray[np.int64]) -> dict[str, Floats]:
    curves = {name: part.ranking.curve(counts) for name, part in parts.items()}
    return {name: apgr(one.shares, one.quality, one.weak, one.strong) for name, one in curves.items()}


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_jsonable(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
