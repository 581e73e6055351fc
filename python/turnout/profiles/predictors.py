"""Predictors of success that learn from a table of outcomes: what profiles have to beat, and what `turnout train pool` chooses from."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.pool.profiles import Doubles, sigmoid
from turnout.profiles.folds import folds_of
from turnout.profiles.regression import Gaussian, Graded, posterior

#: Prompts that a mean counts as, beside those of the group itself: for the kind of prompt and for the cohort. Both are those of
#: LiteLLM's classifier `heuristic_v2` (`complexity_router/tier_predictor.py`).
_KIND_MASS, _COHORT_MASS = 200.0, 20.0
_NEIGHBORS = 40


@dataclass(frozen=True)
class ScoredPrompts:
    """Outcomes of several models on the same prompts.

    Attributes:
        prompts: The prompts.
        embeddings: Of the router, float32 ``[prompts, dim]``.
        scores: In 0..1, float64 ``[prompts, models]``; NaN where a model has none.
    """

    prompts: Sequence[str]
    embeddings: NDArray[np.float32]
    scores: Doubles

    def rows(self, keep: NDArray[np.bool_]) -> ScoredPrompts:
        """Some of the prompts.

        Args:
            keep: bool ``[prompts]``.
        """
        kept = np.flatnonzero(keep)
        return ScoredPrompts([self.prompts[row] for row in kept.tolist()], self.embeddings[kept], self.scores[kept])


#: From what was learned and new prompts with their embeddings to P(success), float64 ``[prompts, models]``.
Predictor = Callable[[ScoredPrompts, Sequence[str], NDArray[np.float32]], Doubles]


def out_of_fold(
    predictors: Mapping[str, Predictor], scored: ScoredPrompts, folds: int, seed: int
) -> dict[str, Doubles]:
    """P(success) of every prompt by what each predictor learned from the other folds.

    Args:
        predictors: By name.
        scored: The outcomes. Within a fold, all predictors get the same object to learn from.
        folds: How many.
        seed: Of the folds.

    Returns:
        float64 ``[prompts, models]`` for every predictor.
    """
    fold = folds_of(scored.prompts, folds, seed)
    found = {name: np.empty(scored.scores.shape) for name in predictors}
    for number in np.unique(fold):
        out = fold == number
        seen, new = scored.rows(~out), scored.rows(out)
        for name, predict in predictors.items():
            found[name][out] = predict(seen, new.prompts, new.embeddings)
    return found


def constant(seen: ScoredPrompts, prompts: Sequence[str], embeddings: NDArray[np.float32]) -> Doubles:
    """The mean score of each model, whatever the prompt."""
    return np.tile(_means(seen.scores), (len(prompts), 1))


def by_length(seen: ScoredPrompts, prompts: Sequence[str], embeddings: NDArray[np.float32]) -> Doubles:
    """A logistic regression of each model on the logarithm of the prompt's length."""

    def features(texts: Sequence[str]) -> Doubles:
        lengths = np.log1p([len(text) for text in texts])
        return np.column_stack([lengths - 5.5, np.ones(len(texts))])

    prior = Gaussian(np.zeros(2), np.diag([1.0, 4.0]))
    return _regressed(features(seen.prompts), seen.scores, features(prompts), prior)


def by_cohort(seen: ScoredPrompts, prompts: Sequence[str], embeddings: NDArray[np.float32]) -> Doubles:
    """Means of groups of prompts, each drawn to the mean of the wider group: all, kind of prompt, cohort.

    After LiteLLM's `heuristic_v2`, with its masses, limits of length and signs. That one has four tiers in place of models, takes
    the request type from keywords in place of the kind, and makes the chances rise with the tier.
    """
    overall = _means(seen.scores)
    kinds = [kind(prompt) for prompt in seen.prompts]
    by_kind = _shrunk(kinds, seen.scores, lambda _: overall, _KIND_MASS)
    parent = dict(zip(cohorts := [cohort(prompt) for prompt in seen.prompts], kinds, strict=True))
    by_group = _shrunk(cohorts, seen.scores, lambda group: by_kind[parent[group]], _COHORT_MASS)
    rows = [by_group.get(cohort(prompt), by_kind.get(kind(prompt), overall)) for prompt in prompts]
    return np.stack(rows)


def by_neighbors(seen: ScoredPrompts, prompts: Sequence[str], embeddings: NDArray[np.float32]) -> Doubles:
    """The mean score over the 40 nearest prompts by cosine, and one count of the overall mean."""
    from sklearn.neighbors import NearestNeighbors

    number = min(_NEIGHBORS, len(seen.prompts))
    index = NearestNeighbors(n_neighbors=number, metric="cosine").fit(seen.embeddings)
    near = seen.scores[index.kneighbors(embeddings, return_distance=False)]
    known = ~np.isnan(near)
    total = np.where(known, near, 0.0).sum(axis=1) + _means(seen.scores)
    result: Doubles = total / (known.sum(axis=1) + 1.0)
    return result


def by_network(seen: ScoredPrompts, prompts: Sequence[str], embeddings: NDArray[np.float32]) -> Doubles:
    """A network with 100 hidden units on the embedding, as RouterBench's MLP router."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(seen.embeddings)
    targets = np.where(np.isnan(seen.scores), _means(seen.scores), seen.scores)
    network = MLPRegressor(
        hidden_layer_sizes=(100,), alpha=1e-3, early_stopping=len(targets) >= 200, max_iter=200, random_state=0
    )
    with warnings.catch_warnings():
        # A baseline that stops at its last iteration is still a baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(scaler.transform(seen.embeddings), targets)
    found = network.predict(scaler.transform(embeddings)).reshape(len(prompts), -1)
    result: Doubles = np.clip(found, 0.0, 1.0)
    return result


def kind(prompt: str) -> str:
    """What a prompt looks like: code, mathematics, multiple choice.

    Example:
        >>> kind("Which is a fruit?  A. stone  B. apple"), kind("def f(x): return x")
        ('choice', 'code')
    """
    signs = {
        "choice": r"(?:^|\s)\(?[A-D][.):]\s",
        "code": r"```|\bdef \w+\(|\bclass \w+|;\s*$|\b(?:function|python|javascript|sql|code|regex)\b",
        "math": r"[=∑√]|\$.+\$|\\[a-z]+|\b(?:solve|prove|calculate|equation|probability|theorem|integral)\b",
    }
    found = [name for name, pattern in signs.items() if re.search(pattern, prompt, re.IGNORECASE | re.MULTILINE)]
    return " ".join(found) or "plain"


def cohort(prompt: str) -> str:
    """Group of alike prompts: their kind, length and script.

    Example:
        >>> cohort("你好")
        'plain, below 200 characters, not ASCII'
    """
    length = next((limit for limit in (200, 800, 2000) if len(prompt) < limit), None)
    size = f"below {length} characters" if length else "longer"
    ascii_part = sum(character < "\x80" for character in prompt) / max(len(prompt), 1)
    return f"{kind(prompt)}, {size}" + ("" if ascii_part > 0.9 else ", not ASCII")


def _shrunk(groups: Sequence[str], scores: Doubles, wider: Callable[[str], Doubles], mass: float) -> dict[str, Doubles]:
    """Mean scores of groups, drawn to those of the wider group as if it had given so many scores more."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        rows[group].append(row)
    found = {}
    for group, members in rows.items():
        part = scores[members]
        known = ~np.isnan(part)
        found[group] = (np.where(known, part, 0.0).sum(axis=0) + mass * wider(group)) / (known.sum(axis=0) + mass)
    return found


def _means(scores: Doubles) -> Doubles:
    """Mean score of each model, drawn to one half by one success and one failure."""
    known = ~np.isnan(scores)
    result: Doubles = (np.where(known, scores, 0.0).sum(axis=0) + 1.0) / (known.sum(axis=0) + 2.0)
    return result


def _regressed(features: Doubles, scores: Doubles, new: Doubles, prior: Gaussian) -> Doubles:
    columns = []
    for column in scores.T:
        known = ~np.isnan(column)
        columns.append(sigmoid(new @ posterior(prior, Graded(features[known], column[known])).mean))
    return np.stack(columns, axis=1)
