"""A vector for every model of the tables, beside a student that orders prompts for the pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from turnout.training.tables import PairExamples

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class VectorConfig:
    """How the vectors are fitted.

    Attributes:
        strong: Strong model of the pair, in canonical form.
        weak: Weak model of the pair.
        factors: Dimensions of a vector.
        factor_steps: Steps of the optimizer.
        examples: Examples of two models that are drawn from each table.
        min_battles: A model with fewer battles than this gets no vector.
        seed: Seed of everything random.
    """

    strong: str = "gpt-4-1106-preview"
    weak: str = "mixtral-8x7b-instruct-v0.1"
    factors: int = 16
    factor_steps: int = 600
    examples: int = 20_000
    min_battles: int = 1000
    seed: int = 0


def fit_vectors(
    direction: Floats, embedded: Floats, examples: PairExamples, config: VectorConfig
) -> tuple[Floats, Floats, Floats, list[str]]:
    """Fits a vector for every model, the encoder left as it is.

    The loss is the cross-entropy of ``sigmoid(score_a - score_b)`` with the outcomes. The first factor is the encoder's
    direction, on which the strong model stands at one end and the weak model at the other; all their other factors are zero.

    Args:
        direction: Of the encoder: its product with an embedding is the pair's logit.
        embedded: Embeddings of the examples' prompts, float32 ``[examples, dim]``.
        examples: Who answered better.
        config: Number of factors, steps, pair.

    Returns:
        ``W1`` ``[factors, dim]``, ``w2`` ``[factors]``, vectors ``[models, factors]`` and the models' names.
    """
    torch.manual_seed(config.seed)
    models = [config.strong, config.weak, *(m for m in examples.models if m not in (config.strong, config.weak))]
    position = torch.tensor([models.index(model) for model in examples.models])
    first, second = position[torch.from_numpy(examples.first)], position[torch.from_numpy(examples.second)]
    outcome = torch.from_numpy(examples.outcome)
    x = torch.from_numpy(embedded)
    own = torch.from_numpy(direction)[None]
    factors, dim = config.factors, len(direction)
    rest = nn.Parameter(torch.randn(factors - 1, dim) / dim**0.5)
    free = nn.Parameter(torch.randn(len(models) - 2, factors) / factors**0.5)
    pair = torch.zeros(2, factors)
    pair[0, 0], pair[1, 0] = 1.0, -1.0
    w2 = torch.ones(factors)
    w2[0] = 0.5
    optimizer = torch.optim.AdamW([rest, free], lr=1e-2, weight_decay=1e-2)
    generator = np.random.default_rng(config.seed)

    def weights() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([own, rest]), torch.cat([pair, nn.functional.normalize(free, dim=1)])

    for _ in range(config.factor_steps if len(x) else 0):
        rows = torch.from_numpy(generator.integers(0, len(x), 2048))
        projection, vectors = weights()
        logit = ((vectors[first[rows]] - vectors[second[rows]]) * (x[rows] @ projection.T)) @ w2
        loss = nn.functional.binary_cross_entropy_with_logits(logit, outcome[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        projection, vectors = weights()
    return projection.numpy(), w2.numpy(), vectors.numpy(), models
