"""Output tokens of models' answers in a user's table: their means, and how far answers are from them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.data import Outcomes
from turnout.evaluate.pools.readers import columns_beside
from turnout.training.pair import Warn
from turnout.training.ridge import Doubles, fit_ridge

if TYPE_CHECKING:
    from turnout.pool import Pool

#: Columns `MODEL|output_tokens` beside those of the scores.
SUFFIX = "|output_tokens"
#: Fewest answers from which a mean is taken.
MIN_ANSWERS = 30


@dataclass(frozen=True)
class AnswerLength:
    """Output tokens of one model.

    Attributes:
        mean: The estimate that costs are expected with.
        error: Root mean squared error of the mean.
        head_error: The same of a ridge regression on the embedding, each answer by the fit without it: what the mean leaves to gain.
        answers: How many.
    """

    mean: float
    error: float
    head_error: float
    answers: int


def answer_lengths(
    path: str | Path,
    table: Outcomes,
    embeddings: NDArray[np.float32],
    models: Sequence[str],
    column: str,
    warn: Warn = warnings.warn,
) -> dict[str, AnswerLength]:
    """Reads the columns ``MODEL|output_tokens`` of a table.

    Args:
        path: The table.
        table: What was read of it.
        embeddings: Of its prompts, float32 ``[prompts, dim]``.
        models: Names of the models.
        column: Column of the prompts.
        warn: Called with a line on every model that has too few lengths.

    Returns:
        By model; models without such a column, or with too few lengths, are missing.

    Raises:
        InvalidInputError: A length is negative or infinite.
    """
    columns = columns_beside(Path(path), table, column, SUFFIX)
    found = {}
    for model in models:
        name = table.find(model)
        if name not in columns:
            continue
        tokens = columns[name]
        known = ~np.isnan(tokens)
        wrong = tokens[known & ~((tokens >= 0.0) & np.isfinite(tokens))]
        if len(wrong):
            raise InvalidInputError(f"{path}: {name}{SUFFIX} is {wrong[0]:g}, expected numbers of 0 or more")
        if known.sum() < MIN_ANSWERS or not tokens[known].any():
            answers = f"{int(known.sum())} answers, {int((tokens[known] > 0.0).sum())} of them with tokens"
            warn(f"{path}: {name}{SUFFIX} has {answers}, and {MIN_ANSWERS} are needed: it is not used")
        else:
            found[model] = _measured(embeddings[known], tokens[known])
    return found


def by_candidate(lengths: Mapping[str, AnswerLength], pool: Pool) -> dict[str, float]:
    """The means; a reasoning effort without one has its model's.

    Args:
        lengths: Of :func:`answer_lengths`.
        pool: The pool.

    Returns:
        By name of the candidate.
    """
    found = {}
    for model in pool.models:
        for name in (model.name, *(f"{model.name}:{effort}" for effort in model.efforts)):
            if (one := lengths.get(name) or lengths.get(model.name)) is not None:
                found[name] = one.mean
    return found


def _measured(embeddings: NDArray[np.float32], tokens: Doubles) -> AnswerLength:
    left_out = fit_ridge(embeddings, tokens[:, None]).left_out[:, 0]
    mean = float(tokens.mean())
    # Each answer by the mean of the others, as the ridge regression has it.
    apart = (tokens - mean) * len(tokens) / (len(tokens) - 1.0)
    error, head_error = (float(np.sqrt(np.mean(np.square(one)))) for one in (apart, tokens - left_out))
    return AnswerLength(mean, error, head_error, len(tokens))
