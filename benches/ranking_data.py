"""Battles for the benchmarks of ``sw_ranking``: those that ship, tiled with noise to any number and any dimension."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import turnout
from turnout.reference.sw_ranking import tiers_of
from turnout.routers.sw_ranking.ann_index import AnnIndex, ErrorDistribution, make_cells, make_index, set_search
from turnout.routers.sw_ranking.encoder import Encoder
from turnout.routers.sw_ranking.export import SwRanking, write_sw_ranking
from turnout.routers.sw_ranking.rating import Rating
from turnout.routers.sw_ranking.table import BattleTable
from turnout.routers.sw_ranking.vectors import Storage, stored

SHIPPED = Path(turnout.__file__).parent / "artifacts" / "sw_ranking"
#: Length of the noise that is added to a unit vector, so that no two prompts are the same.
NOISE = 0.3


@dataclass(frozen=True)
class Battles:
    """Made-up prompts around real ones, and for each a real battle of the prompt that it is made from.

    Attributes:
        vectors: float32 ``[battles, dim]``, unit length; one prompt a battle.
        rating: Battles, with the shipped ratings cut into ten tiers.
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
    encoder, shipped = turnout.load(), turnout.load(SHIPPED)
    battles = shipped.battles()
    real = np.stack([encoder.embed(prompt) for prompt in battles["prompts"]])
    # Rotation into more dimensions keeps every cosine.
    turn, _ = np.linalg.qr(generator.normal(size=(dim, real.shape[1])))
    real = unit(real @ turn.T)
    order = generator.integers(0, len(battles["battle_id"]), count)
    ratings = np.array(shipped.manifest["ranking"]["ratings"])
    best = np.argsort(-ratings, kind="stable")
    place = np.argsort(best)
    table = BattleTable(
        prompts=[""] * count,
        models=[shipped.models[model] for model in best],
        prompt=np.arange(count),
        a=place[battles["battle_model_a"][order]],
        b=place[battles["battle_model_b"][order]],
        outcome=battles["battle_outcome"][order],
        ids=np.arange(count, dtype=np.uint64),
    )
    tiers = tiers_of(ratings[best], 10)
    vectors = noisy(real[battles["battle_prompt"][order]], generator)
    queries = noisy(real[generator.integers(0, len(real), 200)], generator)
    return Battles(vectors, Rating(table, ratings[best], tiers, np.zeros(len(best), dtype=np.int64)), queries)


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
