"""The core gives the win rates of the reference, and RouteLLM's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from safetensors.numpy import load_file

import turnout
from turnout.data import BadRows
from turnout.reference.sw_ranking import Cells, SimilarityRanking, unit
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.import_ import import_sw_ranking
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build
from turnout.routers.sw_ranking.vectors import restored

FOLDER = Path(__file__).parents[1] / "fixtures" / "routellm" / "sw_ranking"


def reference(folder: Path) -> tuple[SimilarityRanking, tuple[int, int], Any]:
    """The artifact in NumPy, the tiers of its pair, and its manifest."""
    manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
    ranking, models = manifest["ranking"], manifest["models"]
    tensors = load_file(folder / ranking["battles"])
    tiers = np.array(ranking["tiers"])
    cells = None
    if ranking["cells"] is not None:
        stored = load_file(folder / ranking["cells"]["file"])
        cells = Cells(stored["cell"].astype(np.int64), stored["means"].astype(float), stored["spreads"].astype(float))
    pair = tuple(int(tiers[models.index(manifest["pair"][side])]) for side in ("strong", "weak"))
    arguments = (tiers[tensors["battle_model_a"]], tiers[tensors["battle_model_b"]], tensors["battle_outcome"])
    return (
        SimilarityRanking(restored(tensors), tensors["battle_prompt"], *arguments, ranking["tier_count"], cells),
        (pair[0], pair[1]),
        manifest,
    )


@pytest.mark.parametrize(("storage", "bound"), [("f32", 1e-6), ("f16", 2e-5), ("int8", 1e-4)])
def test_imported_battles_give_routellms_win_rates(storage: Any, bound: float, tmp_path: Path) -> None:
    options = Options("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", storage=storage)
    import_sw_ranking([FOLDER / "battles.parquet"], [FOLDER / "embeddings.npy"], tmp_path / "router", options)
    cases = np.load(FOLDER / "cases.npz")
    router = turnout.load(tmp_path / "router")
    found = router.win_rates(embeddings=np.ascontiguousarray(cases["query_embeddings"]))
    np.testing.assert_allclose(found, cases["exact_same_tier_dropped"], rtol=0, atol=bound)
    np.testing.assert_allclose(found, cases["win_rate_same_tier_dropped"], rtol=0, atol=1e-3)
    one = router.win_rate(embedding=np.ascontiguousarray(cases["query_embeddings"][3]))
    assert one == pytest.approx(found[3], abs=1e-6)


def test_approximate_win_rates_are_the_references(tmp_path: Path) -> None:
    options = Options("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", storage="f32", index="IVF8,Flat")
    import_sw_ranking([FOLDER / "battles.parquet"], [FOLDER / "embeddings.npy"], tmp_path / "router", options)
    ranking, pair, manifest = reference(tmp_path / "router")
    index = faiss.read_index(str(tmp_path / "router" / manifest["ranking"]["index"]["file"]))
    rows = np.ascontiguousarray(np.load(FOLDER / "cases.npz")["query_embeddings"])
    _, near = index.search(unit(rows, np.float32), manifest["ranking"]["index"]["neighbors"])
    expected = [ranking.approximate_win_rate(row, ids[ids >= 0], *pair) for row, ids in zip(rows, near, strict=True)]
    found = turnout.load(tmp_path / "router").win_rates(embeddings=rows)
    # The core keeps the cells' means in eight bits.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_prompts_are_judged_by_the_encoder_that_was_taken(
    battles: Path, artifact: Path, prompts: list[str], tmp_path: Path
) -> None:
    table = read_battle_table([battles], bad=BadRows())
    encoder = encoder_of(artifact)
    build(table, encoder, Options("alpha", "delta", tiers=3, storage="f32"), tmp_path / "router")
    ranking, pair, _ = reference(tmp_path / "router")
    router = turnout.load(tmp_path / "router")
    expected = [ranking.win_rate(row, *pair) for row in encoder.embed(prompts)]
    np.testing.assert_allclose(router.win_rates(prompts), expected, rtol=0, atol=1e-5)


def test_the_router_that_ships_loads_and_is_small() -> None:
    folder = Path(turnout.__file__).parent / "artifacts" / "sw_ranking"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
    router = turnout.load(folder)
    ranking, pair, manifest = reference(folder)
    slope, intercept = (manifest["calibration"][name] for name in ("slope", "intercept"))
    for prompt in ("What is 2 + 2?", "Write a poem about the sea."):
        rate = ranking.win_rate(router.embed(prompt), *pair)
        logit = slope * np.log(rate / (1.0 - rate)) + intercept
        assert router.win_rate(prompt) == pytest.approx(1.0 / (1.0 + np.exp(-logit)), abs=1e-3)
    # Models of the classes without battles of their own.
    named = turnout.load(folder, strong="gpt-4", weak="gpt-3.5-turbo")
    assert named.win_rate("What is 2 + 2?") == router.win_rate("What is 2 + 2?")


def test_the_router_that_ships_orders_prompts_by_how_hard_they_are() -> None:
    router = turnout.load("sw_ranking")
    easy = ["Reverse a string in Python.", "What is the capital of France?", "Fix the typo: I am hapy today."]
    hard = [
        "Write a lock-free queue in C++ with hazard pointers.",
        "Prove that there are infinitely many primes of the form 4k+3.",
    ]
    assert max(router.win_rates(easy)) < min(router.win_rates(hard))


def test_shipped_routers_load_by_name_unless_a_folder_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert turnout.load("sw_ranking").manifest["kind"] == "sw_ranking"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sw_ranking").mkdir()
    with pytest.raises(turnout.ArtifactError, match=r"sw_ranking/router\.json"):
        turnout.load("sw_ranking")
