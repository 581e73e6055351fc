"""What a static router knows of prompts, as columns for a linear model: its embedding, log counts, and which tokens occur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.graphs.static import StaticEncoder
from turnout.progress import ProgressCallback, silent
from turnout.router import Router

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: Prompts between two reports of progress.
_STRIDE = 512


@dataclass(frozen=True)
class PromptFeatures:
    """Columns of prompts, each block scaled so that its variances sum to one.

    Attributes:
        columns: float32 ``[prompts, dim + counts + tokens]``.
        center: What was subtracted, float64 ``[columns]``.
        scale: What was divided by, float64 ``[columns]``.
        tokens: Token ids of the last columns.
        dim: Number of embedding columns.
    """

    columns: Floats
    center: Doubles
    scale: Doubles
    tokens: NDArray[np.int64]
    dim: int

    def unscaled(self, weights: Doubles) -> Doubles:
        """Weights of columns as they were before centering and scaling, and the intercept in the last row.

        Args:
            weights: float64 ``[columns, outputs]``.

        Returns:
            float64 ``[columns + 1, outputs]``.
        """
        plain = weights / self.scale[:, None]
        return np.vstack([plain, -self.center @ plain])


def prompt_features(
    router: Router, encoder: StaticEncoder, prompts: Sequence[str], tokens: int, report: ProgressCallback = silent
) -> PromptFeatures:
    """Makes the columns.

    A token's column is its number of occurrences over the square root of the prompt's number of tokens, which is how a static encoder with
    views weights its row.

    Args:
        router: The router, which embeds prompts.
        encoder: Its weights.
        prompts: Distinct prompts.
        tokens: Number of token columns at most: of the tokens that occur in most prompts, at least two.
        report: Called with the progress.
    """
    rows: list[NDArray[np.int64]] = []
    for start in range(0, len(prompts), _STRIDE):
        rows += [np.array(router.explain(prompt).ids, dtype=np.int64) for prompt in prompts[start : start + _STRIDE]]
        report("embeddings", len(rows), len(prompts))
    embeddings = np.asarray(router.embed(prompts), dtype=np.float64)
    counts = np.stack([encoder.count_table[row].sum(axis=0, dtype=np.float64) for row in rows])
    counts = np.log1p(np.maximum(counts, 0.0))

    vocabulary = len(encoder.token_table)
    occurs = np.bincount(np.concatenate([np.unique(row) for row in rows]), minlength=vocabulary)
    kept = np.argsort(-occurs, kind="stable")[:tokens]
    kept = np.sort(kept[(occurs[kept] >= 2) & (occurs[kept] < len(prompts))])
    column = np.full(vocabulary, -1)
    column[kept] = np.arange(len(kept))
    bags = np.zeros((len(prompts), len(kept)), dtype=np.float32)
    for index, row in enumerate(rows):
        known = column[row]
        np.add.at(bags[index], known[known >= 0], len(row) ** -0.5)

    columns = np.hstack([embeddings, counts, bags], dtype=np.float32, casting="same_kind")
    center, spread = columns.mean(axis=0, dtype=np.float64), columns.std(axis=0, dtype=np.float64)
    # Numbers of the embedding and counts are standardized; tokens keep their proportions, so that rare ones weigh less.
    together = np.full(len(kept), np.sqrt((spread[len(spread) - len(kept) :] ** 2).sum()))
    scale = np.concatenate(
        [
            spread[: embeddings.shape[1]] * embeddings.shape[1] ** 0.5,
            spread[embeddings.shape[1] :][: counts.shape[1]] * counts.shape[1] ** 0.5,
            together,
        ]
    )
    scale = np.where(scale > 1e-6, scale, 1.0)
    columns -= center.astype(np.float32)
    columns /= scale.astype(np.float32)
    return PromptFeatures(columns, center, scale, kept, embeddings.shape[1])
