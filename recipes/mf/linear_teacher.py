"""A teacher of gains that is linear in a prompt's tokens, so that it can also rank prompts that nobody asked.

A Gaussian process whose kernel is a sum of linear ones (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, section
4.2.4): over the mean bag of tokens, over a few directions of difficulty that other tables teach, and over log counts. Few rows have
outcomes of the pair, and those are zeros, ones and minus ones: what models get wrong on thousands of other questions says more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from turnout.data import Outcomes

from .sides import matches, mean_score
from .tokens import COUNTS

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_DIRECTION_RIDGE = 3.0
_LENGTH = list(COUNTS).index("tokens")
_LARGE = ("gpt-4o-*", "gemini-1.5-*", "meta-llama-3_1-70b-instruct")
_MIDDLE = ("mixtral-8x7b-*", "yi-34b", "c4ai-command-r-*", "qwen1.5-72b-chat")
_CALCULATED = ("math", "physics", "chemistry", "engineering")
_LOOKED_UP = ("biology", "business", "economics", "psychology", "law", "other", "health", "philosophy", "history")


@dataclass(frozen=True)
class Prior:
    """Prior variances of the weights of one teacher, and the variance of the noise.

    Attributes:
        tokens: Of the tokens' weights.
        difficulty: Shared by the directions of difficulty.
        length: Of the log token count.
        counts: Shared by the other log counts.
        noise: The more, the smaller are the weights.
    """

    tokens: float
    noise: float
    difficulty: float = 0.0
    length: float = 0.0
    counts: float = 0.0


#: Table, categories and models whose mean error is a direction of difficulty; without models, whether a row is in the categories.
DIRECTIONS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("mmlu_pro", ("*",), _LARGE),
    ("mmlu_pro", ("*",), _MIDDLE),
    ("mmlu_pro", _LOOKED_UP, _LARGE),
    ("mmlu_pro", _LOOKED_UP, _MIDDLE),
    ("llmrouter", ("trivia_qa",), ("*",)),
    ("llmrouter", ("arc_challenge",), ("*",)),
    ("llmrouter", ("mmlu",), ("*",)),
    ("mmlu_pro", _CALCULATED, ()),
)


@dataclass(frozen=True)
class LinearTeacher:
    """``gain ~ (mean(token_weights[ids]) + log1p(counts) @ count_weights - center) / scale``.

    Attributes:
        token_weights: float64 ``[vocabulary]``.
        count_weights: float64 ``[counts]``.
        center: Mean over its own prompts before standardizing.
        scale: Standard deviation over them.
    """

    token_weights: Doubles
    count_weights: Doubles
    center: float = 0.0
    scale: float = 1.0

    def predict(self, ids: Sequence[Ids], counts: Floats) -> Doubles:
        """Gains of prompts in standard deviations of its own ones, float64 ``[prompts]``.

        Args:
            ids: Token ids of every prompt.
            counts: Counting columns of every token, ``[vocabulary, counts]``.
        """
        counted = bags(ids, len(self.token_weights))
        found = _mean(counted) @ self.token_weights + np.log1p(counted @ counts) @ self.count_weights
        return np.asarray((found - self.center) / self.scale, dtype=np.float64)


def bags(ids: Sequence[Ids], tokens: int) -> Any:
    """How often each token occurs, sparse float32 ``[prompts, tokens]``."""
    ends = np.cumsum([0, *(len(row) for row in ids)])
    flat = np.concatenate(ids)
    counted = sp.csr_matrix((np.ones(len(flat), dtype=np.float32), flat, ends), shape=(len(ids), tokens))
    counted.sum_duplicates()
    return counted


def inverse_frequency(counted: Any) -> Floats:
    """``ln(prompts / (1 + prompts with the token))``, never below zero, float32 ``[tokens]``."""
    prompts = np.asarray((counted > 0).sum(axis=0)).ravel()
    return np.maximum(np.log(counted.shape[0] / (1.0 + prompts)), 0.0).astype(np.float32)


def difficulty_directions(tables: Mapping[str, Outcomes], ids: Mapping[str, Ids], frequency: Floats) -> Floats:
    """Token weights of :data:`DIRECTIONS`, float32 ``[tokens, directions]``.

    Args:
        tables: Tables of outcomes by name.
        ids: Token ids of every prompt that is trained on.
        frequency: Inverse document frequencies.
    """
    found = []
    for name, categories, models in DIRECTIONS:
        table = tables[name]
        belongs = np.array([matches(category, categories) for category in table.categories or [""] * len(table)])
        known = np.array([prompt in ids for prompt in table.prompts])
        error = 1.0 - mean_score(table, models) if models else belongs.astype(np.float64)
        keep = np.flatnonzero(known & ~np.isnan(error) & (belongs if models else True))
        present = bags([ids[table.prompts[row]] for row in keep], len(frequency)) > 0
        weighted = normalize((present.astype(np.float32) @ sp.diags(frequency)).tocsr())
        found.append(Ridge(alpha=_DIRECTION_RIDGE).fit(weighted, error[keep]).coef_)
    return np.stack(found, axis=1).astype(np.float32)


def fit_teacher(
    prior: Prior, ids: Sequence[Ids], gain: Doubles, *, frequency: Floats, counts: Floats, directions: Floats
) -> LinearTeacher:
    """Fits a teacher to the gains of its prompts.

    Args:
        prior: Variances.
        ids: Token ids of the prompts.
        gain: Strong less weak, ``[prompts]``.
        frequency: Inverse document frequencies, ``[tokens]``.
        counts: Counting columns, ``[tokens, counts]``.
        directions: Directions of difficulty, ``[tokens, directions]``.
    """
    counted = bags(ids, len(frequency))
    weighted = (_mean(counted) @ sp.diags(frequency)).tocsr()
    unit = np.sqrt(len(ids) / weighted.multiply(weighted).sum())
    weighted = weighted * unit
    difficulty, difficulty_spread = _standard(weighted @ directions)
    logs, log_spread = _standard(np.log1p(counted @ counts))
    variances = np.full(counts.shape[1], prior.counts / (counts.shape[1] - 1))
    variances[_LENGTH] = prior.length
    shared = prior.difficulty / directions.shape[1]

    kernel = prior.tokens * (weighted @ weighted.T).toarray()
    kernel += shared * difficulty @ difficulty.T + (logs * variances) @ logs.T
    dual = np.linalg.solve(kernel + prior.noise * np.eye(len(ids)), gain - gain.mean())

    along = shared * (difficulty.T @ dual) / difficulty_spread
    token_weights = (prior.tokens * (weighted.T @ dual) + directions @ along) * frequency * unit
    found = LinearTeacher(np.asarray(token_weights, dtype=np.float64), variances * (logs.T @ dual) / log_spread)
    own = found.predict(ids, counts)
    return LinearTeacher(found.token_weights, found.count_weights, float(own.mean()), float(own.std()))


def cross_fitted(
    fit: Callable[[Sequence[Ids], Doubles], LinearTeacher],
    ids: Sequence[Ids],
    gain: Doubles,
    counts: Floats,
    generator: np.random.Generator,
    folds: int = 5,
) -> Doubles:
    """What teachers that did not see a prompt say of it, ``[prompts]``.

    Args:
        fit: Fits a teacher to token ids and gains.
        ids: Token ids of the prompts.
        gain: Strong less weak, ``[prompts]``.
        counts: Counting columns, ``[tokens, counts]``.
        generator: Deals the prompts into folds.
        folds: Number of teachers.
    """
    found = np.empty(len(ids))
    fold = generator.permutation(len(ids)) % folds
    for one in range(folds):
        seen, unseen = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        found[unseen] = fit([ids[row] for row in seen], gain[seen]).predict([ids[row] for row in unseen], counts)
    return found


def _mean(counted: Any) -> Any:
    lengths = np.asarray(counted.sum(axis=1)).ravel()
    return (sp.diags((1.0 / np.maximum(lengths, 1.0)).astype(np.float32)) @ counted).tocsr()


def _standard(columns: NDArray[Any]) -> tuple[Doubles, Doubles]:
    columns = np.asarray(columns, dtype=np.float64)
    spread = columns.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    return (columns - columns.mean(axis=0)) / spread, spread
