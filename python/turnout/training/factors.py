"""A vector for every model: who answers better depends on a few numbers of the prompt, in a model's own proportions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turnout.data import Outcomes
from turnout.graphs.static import MatrixFactorizationHead
from turnout.training.tables import PairExamples

Doubles = NDArray[np.float64]

#: Weight of a model's squared factors against the mean loss of its examples.
_PENALTY = 1e-3


def principal_scores(tables: Sequence[Outcomes], number: int) -> tuple[list[str], Doubles]:
    """What distinguishes prompts beyond how good a model is: the first left singular vectors of the centered table of scores.

    Args:
        tables: Tables of outcomes.
        number: Number of components at most; one less than there are models, and none for two models or fewer.

    Returns:
        Prompts of all tables, and the components of each, float64 ``[prompts, components]`` of unit variance.
    """
    models = list(dict.fromkeys(model for table in tables for model in table.scores))
    prompts = [prompt for table in tables for prompt in table.prompts]
    if len(models) < 3 or number < 1:
        return [], np.empty((0, 0))
    columns = []
    for model in models:
        parts = [table.scores.get(model, np.full(len(table), np.nan)) for table in tables]
        # A model is compared with the others of its table; what is unknown is taken to be its mean.
        columns.append(
            np.concatenate(
                [
                    np.nan_to_num(part - np.nanmean(part)) if (~np.isnan(part)).any() else np.zeros(len(part))
                    for part in parts
                ]
            )
        )
    left, values, _ = np.linalg.svd(np.stack(columns, axis=1), full_matrices=False)
    kept = min(number, len(models) - 1, int((values > 1e-9).sum()))
    return prompts, left[:, :kept] * np.sqrt(len(prompts))


def fit_factors(components: Doubles, examples: PairExamples, fixed: dict[str, Doubles]) -> tuple[list[str], Doubles]:
    """Fits every model's factors to who answered better, by logistic regression (Bradley and Terry, *Rank Analysis of Incomplete Block Designs*, 1952).

    Args:
        components: Numbers of the examples' prompts, float64 ``[examples, factors]``.
        examples: Who answered better.
        fixed: Factors that are known already, by model.

    Returns:
        Models, those of ``fixed`` first, and their factors, float64 ``[models, factors]``: the logit of ``a`` against ``b`` is
        ``components @ (factors[a] - factors[b])``.
    """
    import scipy.sparse as sp
    from scipy.optimize import minimize

    models = [*fixed, *(model for model in examples.models if model not in fixed)]
    known, width = len(fixed), components.shape[1]
    position = np.array([models.index(model) for model in examples.models], dtype=np.int64)
    rows = np.arange(len(examples.first))
    ones = sp.csr_matrix((np.ones(len(rows)), (rows, position[examples.first])), shape=(len(rows), len(models)))
    against = ones - sp.csr_matrix((ones.data, (rows, position[examples.second])), shape=ones.shape)
    factors = np.zeros((len(models), width))
    factors[:known] = np.stack(list(fixed.values()))
    if len(models) == known or not len(rows):
        return models, factors

    def loss(free: Doubles) -> tuple[float, Doubles]:
        factors[known:] = free.reshape(-1, width)
        logit = ((against @ factors) * components).sum(axis=1)
        error = 1.0 / (1.0 + np.exp(-logit)) - examples.outcome
        value = float(np.mean(np.logaddexp(0.0, logit) - examples.outcome * logit))
        gradient = against.T @ ((error / len(error))[:, None] * components)
        penalty = _PENALTY / len(models)
        value += penalty * float((factors[known:] ** 2).sum())
        return value, (gradient[known:] + 2.0 * penalty * factors[known:]).ravel()

    found = minimize(loss, np.zeros((len(models) - known) * width), jac=True, method="L-BFGS-B")
    factors[known:] = found.x.reshape(-1, width)
    return models, factors


def head_of(projection: Doubles, factors: Doubles) -> MatrixFactorizationHead:
    """The head whose score of model ``m`` is ``factors[m] @ projection @ embedding``.

    Vectors of a head have unit length: all are divided by the longest one, and one more factor, which has no weight, fills up the
    shorter ones.

    Args:
        projection: float64 ``[factors, dim]``.
        factors: float64 ``[models, factors]``.

    Example:
        >>> head = head_of(np.eye(2), np.array([[2.0, 0.0], [0.0, 1.0]]))
        >>> (head.w1 @ np.array([1.0, 1.0]) * head.w2 @ head.models.T).round(6).tolist()
        [2.0, 1.0]
    """
    longest = float(np.linalg.norm(factors, axis=1).max()) or 1.0
    vectors = factors / longest
    rest = np.sqrt(np.maximum(1.0 - (vectors**2).sum(axis=1), 0.0))
    width = len(projection)
    return MatrixFactorizationHead(
        np.vstack([projection, np.zeros((1, projection.shape[1]))]).astype(np.float32),
        np.array([longest] * width + [0.0], dtype=np.float32),
        np.column_stack([vectors, rest]).astype(np.float32),
    )
