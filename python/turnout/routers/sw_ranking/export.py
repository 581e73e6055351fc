"""Artifacts of kind ``sw_ranking``: battles, vectors, index and card. ``models/README.md`` has the format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError
from turnout.artifact.manifest import Manifest
from turnout.artifact.writer import write_artifact

if TYPE_CHECKING:
    from turnout.routers.sw_ranking.ann_index import AnnIndex
    from turnout.routers.sw_ranking.encoder import Encoder
    from turnout.routers.sw_ranking.rating import Rating
    from turnout.routers.sw_ranking.similarity import Cells
    from turnout.routers.sw_ranking.table import BattleTable

#: Characters of a prompt that are kept for explanations.
PROMPT_CHARACTERS = 200
#: Plain names of the files.
BATTLES, CELLS, INDEX, PROMPTS = "battles.safetensors", "cells.safetensors", "index.faiss", "prompts.json"


@dataclass(frozen=True)
class SwRanking:
    """Everything that an artifact of this kind holds.

    Attributes:
        rating: Battles, ratings, tiers.
        tensors: ``vectors`` and perhaps ``scales``, as :func:`turnout.routers.sw_ranking.vectors.stored` gives them.
        encoder: How prompts become embeddings.
        strong: Strong model of the pair; one that fought.
        weak: Weak model.
        name: Name of the router.
        ann_index: The index, for an approximate router.
        unknown_tiers: Tiers of models that did not fight.
        keep_prompts: Whether the texts of prompts are kept, for explanations.
        quantiles: Win rates at evenly spaced quantiles.
        threshold: Default threshold.
        provenance: Data, rows, licenses, recipe, scores.
    """

    rating: Rating
    tensors: Mapping[str, NDArray[Any]]
    encoder: Encoder
    strong: str
    weak: str
    name: str = "sw-ranking"
    ann_index: AnnIndex | None = None
    unknown_tiers: Mapping[str, int] = field(default_factory=dict)
    keep_prompts: bool = False
    quantiles: Sequence[float] = ()
    threshold: float = 0.5
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_sw_ranking(router: SwRanking, out: Path, documents: Mapping[str, str] | None = None) -> Path:
    """Writes the artifact.

    Args:
        router: What it holds.
        out: Folder, made if it is missing.
        documents: Texts that are no part of the router, such as its card.

    Raises:
        ConfigError: A model of the pair did not fight, or a model that did has a tier as one that did not.
    """
    table = router.rating.table
    for side, model in (("strong", router.strong), ("weak", router.weak)):
        if model not in table.models:
            raise ConfigError(f"the {side} model {model!r} has no battles; models: {', '.join(table.models)}")
    count = int(router.rating.tiers.max()) + 1
    for model, tier in router.unknown_tiers.items():
        if model in table.models:
            raise ConfigError(f"{model!r} has battles, which determine its tier")
        if not 0 <= tier < count:
            raise ConfigError(f"tier {tier} of {model!r}: expected 0..={count - 1}")
    files = ranking_files(table, router.tensors, router.ann_index, router.keep_prompts)
    encoder = router.encoder
    spec = Manifest(
        name=router.name,
        kind="sw_ranking",
        models=table.models,
        strong=router.strong,
        weak=router.weak,
        encoder={"kind": "external" if encoder.graph is None else "graph", "dim": encoder.dim},
        default_threshold=router.threshold,
        quantiles=router.quantiles,
        provenance=router.provenance,
        ranking=ranking_section(router.rating, router.ann_index, {name: name for name in files}, router.unknown_tiers),
    )
    return write_artifact(
        out,
        spec,
        graph=encoder.graph,
        tokenizer=encoder.tokenizer,
        max_tokens=encoder.max_tokens,
        text_rules=encoder.text_rules,
        files=files,
        documents=documents,
    )


def ranking_section(
    rating: Rating, ann_index: AnnIndex | None, names: Mapping[str, str], unknown_tiers: Mapping[str, int]
) -> dict[str, Any]:
    """The manifest's ``ranking``.

    Args:
        rating: Ratings and tiers.
        ann_index: The index, if there is one.
        names: Names of files by their plain names; those without an entry are not there.
        unknown_tiers: Tiers of models that did not fight.
    """
    return {
        "battles": names[BATTLES],
        "prompts": names.get(PROMPTS),
        "tiers": [int(tier) for tier in rating.tiers],
        "ratings": [float(one) for one in rating.ratings],
        "tier_count": int(rating.tiers.max()) + 1,
        "index": None if ann_index is None else ann_index.section(names[INDEX]),
        "cells": None if ann_index is None else {"file": names[CELLS]},
        "unknown_tiers": {name: int(tier) for name, tier in unknown_tiers.items()},
    }


def ranking_files(
    table: BattleTable, tensors: Mapping[str, NDArray[Any]], ann_index: AnnIndex | None, keep_prompts: bool
) -> dict[str, bytes]:
    """The files of a ranking by their plain names."""
    from safetensors.numpy import save

    battles = {
        **tensors,
        "battle_prompt": table.prompt.astype(np.uint32),
        "battle_model_a": table.a.astype(np.uint16),
        "battle_model_b": table.b.astype(np.uint16),
        "battle_outcome": table.outcome.astype(np.uint8),
        "battle_id": table.ids.astype(np.uint64),
    }
    files = {BATTLES: save({name: np.ascontiguousarray(tensor) for name, tensor in battles.items()})}
    if keep_prompts:
        texts = [prompt[:PROMPT_CHARACTERS] for prompt in table.prompts]
        files[PROMPTS] = json.dumps(texts, ensure_ascii=False).encode()
    if ann_index is not None:
        files[INDEX] = ann_index.serialized()
        files[CELLS] = cells_content(ann_index.cells)
    return files


def cells_content(cells: Cells) -> bytes:
    """The cells of far battles as ``cells.safetensors``."""
    from safetensors.numpy import save

    content: bytes = save(
        {
            "cell": cells.cell.astype(np.uint32),
            "means": cells.means.astype(np.float32),
            "spreads": cells.spreads.astype(np.float32),
        }
    )
    return content
