"""Fits the judge of a cascade on a log: P(error) from signals and the prompt's risk, and the policy of least expected cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from turnout._core import InvalidInputError
from turnout.calibrate.win_rate import fit_isotonic
from turnout.cascade import SIGNALS, Form, Judge, Policy
from turnout.cascade.judge import logit
from turnout.evaluate.bootstrap import Estimate, bootstrap, interval
from turnout.evaluate.cascades.curves import CascadeFigures, chances_of_error, compared, folds
from turnout.evaluate.cascades.log import CascadeLog
from turnout.evaluate.metrics import Floats
from turnout.evaluate.success import SuccessScores, auc, success_scores

MIN_ROWS = 100
#: Candidate ends of the band: quantiles of the risk.
_STEPS = 21
#: What signals read that takes further calls, and what upstreams may not give.
_ASKED, _LOGPROBS = ("samples", "self_check"), ("logprobs", "first_top_logprobs")


@dataclass(frozen=True)
class CascadeCalibration:
    """A judge, and how good it is.

    Attributes:
        judge: Fitted on all rows.
        in_domain: Figures of P(error) on held-out prompts, five-fold.
        out_of_domain: By group: on its rows, fitted on the other groups; none with fewer than two groups.
        signals: AUROC of each signal alone, of the prompt's risk (`prompt`) and of the judge (`judge`).
        warnings: Limits of the fit.
    """

    judge: Judge
    in_domain: SuccessScores
    out_of_domain: dict[str, SuccessScores]
    signals: dict[str, Estimate]
    warnings: list[str]


def calibrate_cascade(log: CascadeLog, policy: Policy, *, resamples: int = 1000, seed: int = 0) -> CascadeCalibration:
    """Fits a judge and measures it.

    Args:
        log: Rows.
        policy: Costs; band and threshold are fitted.
        resamples: Of the bootstrap.
        seed: Of folds and bootstrap.

    Returns:
        The judge and its figures, with 95 % intervals.

    Raises:
        InvalidInputError: Fewer than 100 rows, or all answers right, or all wrong.
    """
    _check(log)
    p_error = np.zeros(len(log))
    for held in folds(log.prompts, seed):
        p_error[held] = chances_of_error(fit_judge(log.rows(~held), policy, seed=seed), log.rows(held))
    error = 1.0 - log.correct
    judge = fit_judge(log, policy, seed=seed)
    outside, warnings = {}, []
    groups = sorted(set(log.groups))
    for group in groups if len(groups) > 1 else []:
        mask = np.array([name == group for name in log.groups])
        try:
            _check(log.rows(~mask))
        except InvalidInputError as unfit:
            warnings.append(f"not measured outside of its domain on {group}: the other groups: {unfit}")
            continue
        rest = log.rows(mask)
        found = chances_of_error(fit_judge(log.rows(~mask), policy, seed=seed), rest)
        outside[group] = success_scores(found, 1.0 - rest.correct, resamples=resamples, seed=seed)
    return CascadeCalibration(
        judge,
        success_scores(p_error, error, resamples=resamples, seed=seed),
        outside,
        _signal_scores(log, p_error, resamples, seed),
        warnings,
    )


def fit_judge(log: CascadeLog, policy: Policy, *, seed: int = 0) -> Judge:
    """Fits a judge on every row.

    Its forms: with every signal of the log, without those that take further calls, without log-probabilities, with the text alone.

    Args:
        log: Rows.
        policy: Costs; band and the strong model's error are fitted.
        seed: Of folds.

    Returns:
        The judge.
    """
    forms: dict[tuple[str, ...], Form] = {}
    for spared in ((), _ASKED, _LOGPROBS, (*_LOGPROBS, *_ASKED)):
        names = [name for name in _usable(log) if SIGNALS[name].needs not in spared]
        if tuple(names) not in forms:
            forms[tuple(names)] = _fit_form(log, names, seed)
    judge = Judge(list(forms.values()), policy)
    return replace(judge, policy=fit_policy(log, chances_of_error(judge, log), policy))


def fit_policy(log: CascadeLog, p_error: Floats, policy: Policy) -> Policy:
    """The band of least mean expected cost on the rows of a log.

    Args:
        log: Rows.
        p_error: Of each cheap answer, float64 ``[rows]``.
        policy: Costs.

    Returns:
        The policy with its band, and the strong model's P(error) where the log has its scores.
    """
    if log.strong is not None:
        policy = replace(policy, strong_error=_logistic(_logits(log.risks)[:, None], 1.0 - log.strong))
    threshold = np.array([policy.threshold(risk) for risk in log.risks])
    strong_error = threshold - policy.strong_cost / policy.error_cost if policy.error_cost else np.zeros(len(log))
    asked = policy.strong_cost + policy.error_cost * strong_error
    cheap = policy.cheap_cost + policy.error_cost * p_error
    cascade = policy.cheap_cost + np.where(p_error <= threshold, policy.error_cost * p_error, asked)
    order = np.argsort(log.risks, kind="stable")
    sums = [np.concatenate([[0.0], np.cumsum(cost[order])]) for cost in (cheap, cascade, asked)]
    risks = log.risks[order]
    edges = np.unique(np.concatenate([[0.0], np.quantile(risks, np.linspace(0, 1, _STEPS)), [1.0]]))
    at = np.searchsorted(risks, edges)
    low, high = np.triu_indices(len(edges))
    total = sums[0][at[low]] + sums[1][at[high]] - sums[1][at[low]] + sums[2][-1] - sums[2][at[high]]
    # Of equals the narrowest band: judging holds the beginning of an answer back.
    best = np.lexsort((high - low, np.round(total, 12)))[0]
    top = float(edges[high[best]])
    return replace(policy, low=float(edges[low[best]]), high=top if at[high[best]] < len(log) else 1.000001)


def compared_by(policy: Policy, log: CascadeLog, *, resamples: int = 1000, seed: int = 0) -> dict[str, CascadeFigures]:
    """:func:`~turnout.evaluate.cascades.curves.compared` with judge, band and routing before the call as this module fits them.

    Args:
        policy: Costs.
        log: Rows with scores of the strong model.
        resamples: Of the bootstrap.
        seed: Of folds and bootstrap.

    Returns:
        Figures of ``cascade``, ``pre-call``, ``random`` and ``oracle``.
    """
    return compared(
        log,
        lambda rows: fit_judge(rows, policy),
        lambda rows, p_error, error_cost: fit_policy(rows, p_error, replace(policy, error_cost=error_cost)),
        prompt_chances,
        (policy.cheap_cost, policy.strong_cost),
        resamples=resamples,
        seed=seed,
    )


def prompt_chances(seen: CascadeLog, rest: CascadeLog) -> Floats:
    """P(success) of both models by the prompts' risks alone: what routing before the call goes by.

    Args:
        seen: Rows to fit on, with scores of the strong model.
        rest: Rows to predict.

    Returns:
        float64 ``[rows, 2]``, the cheaper model first.

    Raises:
        InvalidInputError: No scores of the strong model.
    """
    if seen.strong is None:
        raise InvalidInputError("the log has no scores of the strong model: name their column")
    fitted = (_logistic(_logits(seen.risks)[:, None], scores) for scores in (seen.correct, seen.strong))
    return np.column_stack([_predicted(_logits(rest.risks)[:, None], one) for one in fitted])


def _fit_form(log: CascadeLog, names: Sequence[str], seed: int) -> Form:
    values = np.array([[SIGNALS[name](answer) for name in names] for answer in log.answers], dtype=np.float64)
    features = np.column_stack([values.reshape(len(log), -1), _logits(log.risks)])
    error = 1.0 - log.correct
    raw = np.zeros(len(log))
    for held in folds(log.prompts, seed + 1):
        if 0.0 < error[~held].mean() < 1.0:
            raw[held] = _predicted(features[held], _logistic(features[~held], error[~held]))
    try:
        found = fit_isotonic(raw, error)
        x, y = found["x"], found["y"]
    except InvalidInputError:
        # Nothing that the signals say orders the answers: every answer has the mean chance.
        x, y = [0.0, 1.0], [float(error.mean())] * 2
    intercept, *weights = _logistic(features, error)
    return Form(list(names), weights[:-1], weights[-1], intercept, x, y)


def _logistic(features: Floats, share: Floats) -> tuple[float, ...]:
    """Intercept and weights of a logistic regression; a share of an outcome is that part of a row."""
    from sklearn.linear_model import LogisticRegression

    if share.min() == share.max():
        chance = min(max(float(share[0]), 1e-4), 1 - 1e-4)
        return (float(np.log(chance / (1 - chance))), *([0.0] * features.shape[1]))
    center, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-12] = 1.0
    twice = np.concatenate([features, features])
    labels = np.repeat([1, 0], len(share))
    model = LogisticRegression(C=1.0, max_iter=1000).fit(
        (twice - center) / scale, labels, sample_weight=np.concatenate([share, 1 - share])
    )
    weights = model.coef_[0] / scale
    return (float(model.intercept_[0] - weights @ center), *(float(weight) for weight in weights))


def _predicted(features: Floats, fitted: Sequence[float]) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-(fitted[0] + features @ np.array(fitted[1:]))))
    return result


def _usable(log: CascadeLog) -> list[str]:
    return [name for name, signal in SIGNALS.items() if all(signal(answer) is not None for answer in log.answers)]


def _logits(risks: Floats) -> Floats:
    return np.array([logit(risk) for risk in risks.tolist()])


def _signal_scores(log: CascadeLog, p_error: Floats, resamples: int, seed: int) -> dict[str, Estimate]:
    columns: dict[str, Any] = {
        name: np.array([SIGNALS[name](answer) for answer in log.answers], dtype=np.float64) for name in _usable(log)
    }
    columns["prompt"], columns["judge"] = 1.0 - log.risks, 1.0 - p_error

    def figures(counts: Any) -> dict[str, Floats]:
        return {name: auc(values, log.correct, counts) for name, values in columns.items()}

    drawn = bootstrap(figures, log.prompts, resamples=resamples, seed=seed)
    once = figures(np.ones((1, len(log)), dtype=np.int64))
    return {
        name: interval(float(value[0]), drawn[name]) if drawn else Estimate(float(value[0]), np.nan, np.nan)
        for name, value in once.items()
    }


def _check(log: CascadeLog) -> None:
    if len(log) < MIN_ROWS:
        raise InvalidInputError(f"{len(log)} rows, expected at least {MIN_ROWS} to fit a judge")
    if log.correct.min() == log.correct.max():
        raise InvalidInputError(f"all answers have the score {log.correct[0]:g}: there is nothing to tell apart")
