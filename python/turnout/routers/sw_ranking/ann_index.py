"""The FAISS index of an approximate router, the cells of its far battles, and how far it is from exact (extra ``[faiss]``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError
from turnout.extras import require
from turnout.routers.sw_ranking.rating import Rating
from turnout.routers.sw_ranking.similarity import Cells, SimilarityRanking

#: Cells grow with the square root of the prompts, up to this many.
MAX_CELLS = 1024
#: Numbers of exactly weighted prompts to try, and the error (99th percentile) that is small enough to stop.
NEIGHBORS, TARGET = (16, 32, 64, 128, 256, 512, 1024), 0.005
#: Prompts on which the error is measured.
JUDGED = 200
_KMEANS_ROUNDS = 20


@dataclass(frozen=True)
class ErrorDistribution:
    """Distribution of ``|win rate - exact win rate|`` over prompts judged without their own battles.

    Attributes:
        prompts: Their number.
        mean: Mean.
        p50: Median.
        p99: 99th percentile.
        max: Largest.
    """

    prompts: int
    mean: float
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, errors: NDArray[np.float64]) -> ErrorDistribution:
        """The distribution of some errors."""
        half, tail = np.percentile(errors, [50, 99])
        return cls(len(errors), float(errors.mean()), float(half), float(tail), float(errors.max()))

    def __str__(self) -> str:
        return f"median {self.p50:.5f}, 99 % {self.p99:.5f}, largest {self.max:.5f} on {self.prompts} prompts"


@dataclass(frozen=True)
class AnnIndex:
    """An index, ready to be written.

    Attributes:
        index: The FAISS index, with its search parameters set.
        factory: String that made it.
        search: Search parameters, such as ``nprobe=8``; empty for none.
        neighbors: Number of similar prompts whose battles are weighted exactly.
        cells: Of the others.
        error: Against exact win rates.
    """

    index: Any
    factory: str
    search: str
    neighbors: int
    cells: Cells
    error: ErrorDistribution

    def serialized(self) -> bytes:
        """The index as ``faiss.write_index`` writes it; it holds the search parameters."""
        content: bytes = faiss_module().serialize_index(self.index).tobytes()
        return content

    def section(self, file: str) -> dict[str, Any]:
        """The manifest's ``ranking.index``."""
        return {
            "file": file,
            "factory": self.factory,
            "search": self.search,
            "neighbors": self.neighbors,
            "error": asdict(self.error),
        }


def faiss_module() -> Any:
    """The ``faiss`` package.

    Raises:
        ConfigError: It is not installed.
    """
    require("faiss", "faiss", purpose="an index (without --index, decisions are exact)")
    import faiss

    return faiss


def make_index(vectors: NDArray[np.float32], factory: str) -> Any:
    """A trained and filled index over unit vectors, by inner product.

    Raises:
        ConfigError: FAISS refuses the factory string, or cannot train on so few vectors.
    """
    faiss = faiss_module()
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise ConfigError(f"FAISS cannot build {factory!r} over {len(vectors)} vectors: {reason}") from error
    return index


def default_search(factory: str) -> str:
    """Search parameters to begin with.

    Example:
        >>> default_search("IVF256,SQ8"), default_search("HNSW32"), default_search("Flat")
        ('nprobe=8', 'efSearch=64', '')
    """
    if factory.startswith("HNSW"):
        return "efSearch=64"
    if "IVF" in factory:
        digits = factory.split("IVF", 1)[1].split(",")[0].split("_")[0]
        return f"nprobe={max(1, int(digits) // 32) if digits.isdigit() else 8}"
    return ""


def set_search(index: Any, search: str) -> None:
    """Sets search parameters, such as ``nprobe=8``.

    Raises:
        ConfigError: The index has no such parameters.
    """
    if not search:
        return
    faiss = faiss_module()
    try:
        faiss.ParameterSpace().set_index_parameters(index, search)
    except RuntimeError as error:
        raise ConfigError(
            f"search parameters {search!r} are invalid for the index: {str(error).splitlines()[-1]}"
        ) from error


def make_cells(vectors: NDArray[np.float32], seed: int = 0) -> Cells:
    """k-means cells of unit vectors; see :class:`turnout.routers.sw_ranking.similarity.Cells`."""
    faiss = faiss_module()
    count = int(np.clip(round(np.sqrt(len(vectors))), 1, MAX_CELLS))
    means = faiss.Kmeans(
        vectors.shape[1], count, niter=_KMEANS_ROUNDS, seed=seed, min_points_per_centroid=1, verbose=False
    )
    means.train(vectors)
    _, found = means.index.search(vectors, 1)
    _, cell = np.unique(found[:, 0], return_inverse=True)
    sizes = np.bincount(cell).astype(np.float64)
    total = np.zeros((len(sizes), vectors.shape[1]))
    np.add.at(total, cell, vectors.astype(np.float64))
    centers = total / sizes[:, None]
    # The mean squared distance to the mean is the mean squared length less the mean's.
    squares = np.bincount(cell, np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)) / sizes
    spreads = np.maximum(squares - (centers**2).sum(axis=1), 0.0) / vectors.shape[1]
    return Cells(cell.astype(np.int64), centers, spreads)


def ranking_of(rating: Rating, vectors: NDArray[np.float32], cells: Cells | None = None) -> SimilarityRanking:
    """The reference over a rated table."""
    table, tiers = rating.table, rating.tiers
    return SimilarityRanking(
        vectors,
        table.prompt,
        tiers[table.a],
        tiers[table.b],
        table.outcome,
        int(tiers.max()) + 1,
        cells,
        precision=np.float32,
    )


class Judge:
    """Measures approximations of one rated table against the exact estimator.

    Args:
        rating: Battles, ratings, tiers.
        vectors: Unit vectors of the prompts.
        cells: Cells of the prompts.
        pair: Tiers to compare.
        progress: Called with the number of exact win rates done.
        seed: Which prompts are judged.
    """

    def __init__(
        self,
        rating: Rating,
        vectors: NDArray[np.float32],
        cells: Cells,
        pair: tuple[int, int],
        progress: Callable[[int], None] | None = None,
        seed: int = 0,
    ) -> None:
        self.ranking = ranking_of(rating, vectors, cells)
        self.pair = pair
        number = min(JUDGED, len(vectors))
        self.prompts = np.sort(np.random.default_rng(seed).choice(len(vectors), number, replace=False))
        self.vectors = np.ascontiguousarray(vectors[self.prompts])
        exact = []
        for done, position in enumerate(self.prompts, start=1):
            exact.append(self.ranking.win_rate(vectors[position], *pair, without=int(position)))
            if progress is not None:
                progress(done)
        self.exact = np.array(exact)

    def error(self, index: Any, neighbors: int) -> ErrorDistribution:
        """How far the win rates from this index are from exact ones, each prompt judged without its own battles."""
        # One more, because a prompt finds itself.
        _, neighbor_ids = index.search(self.vectors, min(neighbors + 1, index.ntotal))
        errors = []
        for position, row, vector, exact in zip(self.prompts, neighbor_ids, self.vectors, self.exact, strict=True):
            found = row[(row >= 0) & (row != position)][:neighbors]
            rate = self.ranking.approximate_win_rate(vector, found, *self.pair, without=int(position))
            errors.append(abs(rate - exact))
        return ErrorDistribution.of(np.array(errors))


def make_ann_index(
    vectors: NDArray[np.float32],
    judge: Judge,
    factory: str,
    search: str | None = None,
    neighbors: Sequence[int] = NEIGHBORS,
) -> AnnIndex:
    """Builds an index and takes the fewest near prompts whose error is small enough, or the best of those tried.

    Args:
        vectors: Unit vectors.
        judge: Over the same vectors.
        factory: FAISS factory string.
        search: Search parameters; by default :func:`default_search`.
        neighbors: Numbers to try, rising.
    """
    index = make_index(vectors, factory)
    search = default_search(factory) if search is None else search
    set_search(index, search)
    tried: list[tuple[int, ErrorDistribution]] = []
    for number in neighbors:
        if tried and number > len(vectors):
            break
        tried.append((number, judge.error(index, number)))
        if tried[-1][1].p99 <= TARGET:
            break
    best = min(tried, key=lambda one: one[1].p99) if tried[-1][1].p99 > TARGET else tried[-1]
    cells = judge.ranking.cells
    assert cells is not None
    return AnnIndex(index, factory, search, best[0], cells, best[1])
