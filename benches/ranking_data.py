"""Battles for the benchmarks of ``sw_ranking``: prompts of those that ship, tiled with noise to any number and any dimension."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import turnout
from turnout.reference.sw_ranking import A_WINS, B_WINS, POINTS, TIE, tiers_of
from turnout.routers.sw_ranking.ann_index import AnnIndex, ErrorDistribution, make_cells, make_index, set_search
from turnout.routers.sw_ranking.encoder import Encoder
from turnout.routers.sw_ranking.export import SwRanking, write_sw_ranking
from turnout.routers.sw_ranking.rating import Rating
from turnout.routers.sw_ranking.table import BattleTable
from turnout.routers.sw_ranking.vectors import Storage, stored

SHIPPED = Path(turnout.__file__).parent / "artifacts" / "sw_ranking"
#: Length of the noise that is added to a unit vector, so that no two prompts are the same.
NOISE = 0.3
#: Models, and the share of battles that are ties.
MODELS, TIES = 60, 0.1


@dataclass(frozen=True)
class Battles:
    """Made-up prompts around real ones, and for each a battle of two made-up models that follows their ratings.

    Attributes:
        vectors: float32 ``[battles, dim]``, unit length; one prompt a battle.
        rating: Battles of models whose ratings lie evenly, cut into ten tiers.
        queries: float32 ``[200, dim]``, made the same way.
    """

    vectors: NDArray[np.float32]
    rating: Rating
    queries: NDArray[np.float32]

    @property
    def pair(self) -> tuple[str, str]:
        """A model of the second tier and one of the sixth."""
        first = [self.rating.table.models[int(np.argmax(self.rating.tiers == tier))] for tier in (1, 5)]
        return first[0], first[1]


def make_battles(count: int, dim: int, seed: int = 0) -> Battles:
    """Embeds the shipped battles' prompts with the default router, turns them into ``dim`` dimensions, and tiles them."""
    generator = np.random.default_rng(seed)
    encoder, prompts = turnout.load(), turnout.load(SHIPPED).battles()["prompts"]
    real = np.stack([encoder.embed(prompt) for prompt in prompts])
    # Rotation into more dimensions keeps every cosine.
    turn, _ = np.linalg.qr(generator.normal(size=(dim, real.shape[1])))
    real = unit(real @ turn.T)
    order = generator.integers(0, len(real), count)
    ratings = np.linspace(1400.0, 600.0, MODELS)
    a = generator.integers(0, MODELS, count)
    b = (a + generator.integers(1, MODELS, count)) % MODELS
    won = generator.random(count) < 1.0 / (1.0 + np.exp((ratings[b] - ratings[a]) / POINTS))
    outcome = np.where(generator.random(count) < TIES, TIE, np.where(won, A_WINS, B_WINS)).astype(np.uint8)
    table = BattleTable(
        prompts=[""] * count,
        models=[f"model {number}" for number in range(MODELS)],
        prompt=np.arange(count),
        a=a,
        b=b,
        outcome=outcome,
        ids=np.arange(count, dtype=np.uint64),
    )
    tiers = tiers_of(ratings, 10)
    vectors = noisy(real[order], generator)
    queries = noisy(real[generator.integers(0, len(real), 200)], generator)
    return Battles(vectors, Rating(table, ratings, tiers, np.zeros(MODELS, dtype=np.int64)), queries)


def noisy(rows: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Unit vectors beside others."""
    noise = generator.standard_normal(rows.shape, dtype=np.float32) * np.float32(NOISE / np.sqrt(rows.shape[1]))
    return unit(rows + noise)


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of length one."""
    result: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return result


def write(battles: Battles, out: Path, storage: Storage, index: tuple[str, str, int] | None) -> Path:
    """An artifact of these battles; ``index`` is a factory string, search parameters and a number of neighbors."""
    ann_index = None
    if index is not None:
        factory, search, neighbors = index
        found = make_index(battles.vectors, factory)
        set_search(found, search)
        unknown = ErrorDistribution(0, 0.0, 0.0, 0.0, 0.0)
        ann_index = AnnIndex(found, factory, search, neighbors, make_cells(battles.vectors), unknown)
    strong, weak = battles.pair
    tensors = stored(battles.vectors, storage)
    router = SwRanking(battles.rating, tensors, Encoder(battles.vectors.shape[1]), strong, weak, ann_index=ann_index)
    return write_sw_ranking(router, out)
