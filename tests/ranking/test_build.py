"""``turnout train sw_ranking`` writes what the reference computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import turnout
from turnout.cli import main
from turnout.data import BadRows
from turnout.routers.sw_ranking.ann_index import ranking_of
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.rating import rate
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build
from turnout.routers.sw_ranking.vectors import restored, storage_of, stored


@pytest.fixture(scope="module")
def built(battles: Path, artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "router"
    options = ["--encoder", str(artifact), "--strong", "alpha", "--weak", "delta", "--tiers", "3", "--keep-prompts"]
    options += ["--unknown-tier", "a=b=0", "--index", "IVF2,Flat"]
    assert main(["train", "sw_ranking", "--battles", str(battles), *options, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def manifest(built: Path) -> Any:
    return json.loads((built / "router.json").read_text(encoding="utf-8"))


def test_the_manifest_names_every_file_and_fits_them(built: Path, manifest: Any) -> None:
    ranking = manifest["ranking"]
    assert manifest["kind"] == "sw_ranking"
    assert set(manifest["files"]) == {
        "model.onnx", "tokenizer.json", "battles.safetensors", "cells.safetensors", "index.faiss", "prompts.json",
    }  # fmt: skip
    assert ranking["unknown_tiers"] == {"a=b": 0}
    assert ranking["tier_count"] == 3
    assert len(manifest["models"]) == len(ranking["tiers"]) == len(ranking["ratings"]) == 4
    battles = load_file(built / "battles.safetensors")
    assert {name: str(tensor.dtype) for name, tensor in battles.items()} == {
        "vectors": "float16", "battle_prompt": "uint32", "battle_model_a": "uint16", "battle_model_b": "uint16",
        "battle_outcome": "uint8", "battle_id": "uint64",
    }  # fmt: skip
    cells = load_file(built / "cells.safetensors")
    assert cells["cell"].shape == (len(battles["vectors"]),)
    assert cells["means"].shape == (len(cells["spreads"]), manifest["encoder"]["dim"])
    prompts = json.loads((built / "prompts.json").read_text(encoding="utf-8"))
    assert len(prompts) == len(battles["vectors"])
    quantiles = manifest["thresholds"]["quantiles"]
    assert len(quantiles) == 101
    assert quantiles == sorted(quantiles)


def test_the_index_holds_its_search_parameters_and_its_error_is_told(built: Path, manifest: Any) -> None:
    import faiss

    index = faiss.read_index(str(built / "index.faiss"))
    assert index.nprobe == 1
    assert manifest["ranking"]["index"]["search"] == "nprobe=1"
    error = manifest["ranking"]["index"]["error"]
    assert 0 <= error["p50"] <= error["p99"] <= error["max"] < 0.05
    assert "judged without battles of their own" in (built / "README.md").read_text(encoding="utf-8")


def test_cells_are_means_and_spreads_of_their_members(built: Path) -> None:
    battles, cells = load_file(built / "battles.safetensors"), load_file(built / "cells.safetensors")
    vectors = battles["vectors"].astype(np.float64)
    for cell, (mean, spread) in enumerate(zip(cells["means"], cells["spreads"], strict=True)):
        own = vectors[cells["cell"] == cell]
        np.testing.assert_allclose(own.mean(axis=0), mean, atol=1e-6)
        assert ((own - own.mean(axis=0)) ** 2).sum(axis=1).mean() / own.shape[1] == pytest.approx(spread, abs=1e-6)


def test_similar_prompts_decide(battles: Path, artifact: Path, tmp_path: Path) -> None:
    """On sums the strong model wins more often than on code, where chance rules."""
    table = read_battle_table([battles], bad=BadRows())
    encoder = encoder_of(artifact)
    rating = rate(table, 4)
    ranking = ranking_of(rating, encoder.embed(table.prompts))
    tiers = dict(zip(rating.table.models, rating.tiers.tolist(), strict=True))
    sums, code = encoder.embed(["what is the sum of 99 and two", "write python code how many 99"])
    pair = (tiers["alpha"], tiers["delta"])
    assert ranking.win_rate(sums, *pair) > ranking.win_rate(code, *pair) + 0.05


@pytest.mark.parametrize(("storage", "bound"), [("f16", 2e-5), ("int8", 3e-4)])
def test_fewer_bits_move_a_win_rate_by_little(storage: Any, bound: float) -> None:
    """64 numbers and similarities as small as 0.17 are a hard case for 8 bits; 16 stay far below a ten-thousandth."""
    from turnout.reference.sw_ranking import SimilarityRanking

    folder = Path(__file__).parents[1] / "fixtures" / "routellm" / "sw_ranking"
    table = read_battle_table([folder / "battles.parquet"], bad=BadRows())
    rating = rate(table, 10)
    vectors = np.load(folder / "embeddings.npy")
    tensors = stored(vectors, storage)
    assert storage_of(tensors) == storage
    np.testing.assert_allclose(np.linalg.norm(restored(tensors), axis=1), 1, atol=1e-3)
    arguments = (rating.table.prompt, rating.tiers[rating.table.a], rating.tiers[rating.table.b], rating.table.outcome)
    exact, fewer = (SimilarityRanking(rows, *arguments, 10) for rows in (vectors, restored(tensors)))
    embeddings = np.load(folder / "cases.npz")["query_embeddings"]
    errors = [abs(exact.win_rate(row, 1, 4) - fewer.win_rate(row, 1, 4)) for row in embeddings]
    assert max(errors) < bound


def test_prompts_are_read_as_the_encoder_was_trained_to_read_them(battles: Path, tmp_path: Path) -> None:
    encoder = encoder_of(turnout.load("mf").path)
    build(read_battle_table([battles], bad=BadRows()), encoder, Options("alpha", "delta", tiers=2), tmp_path / "out")
    router = turnout.load(tmp_path / "out")
    for name in ("truncation", "short_prompts"):
        assert router.manifest["tokenizer"][name] == turnout.load("mf").manifest["tokenizer"][name]
    np.testing.assert_array_equal(router.embed("Hello!"), router.embed("hello"))
    np.testing.assert_array_equal(encoder.embed(["Hello!"])[0], turnout.load("mf").embed("hello"))


def test_what_cannot_be_built_is_told(battles: Path, artifact: Path, tmp_path: Path) -> None:
    table = read_battle_table([battles], bad=BadRows())
    encoder = encoder_of(artifact)
    with pytest.raises(turnout.ConfigError, match=r"no battles of 'gpt-9'.*--unknown-tier"):
        build(table, encoder, Options("gpt-9", "delta"), tmp_path)
    with pytest.raises(turnout.ConfigError, match="which determine its tier"):
        build(table, encoder, Options("alpha", "delta", unknown_tiers={"beta": 0}), tmp_path)
    with pytest.raises(turnout.ConfigError, match="FAISS cannot build 'nonsense'"):
        build(table, encoder, Options("alpha", "delta", index="nonsense"), tmp_path)
    with pytest.raises(turnout.ConfigError, match="search parameters 'efSearch=3' are invalid for the index"):
        build(table, encoder, Options("alpha", "delta", index="Flat", search="efSearch=3"), tmp_path)
    with pytest.raises(turnout.ArtifactError, match="its encoder cannot be used"):
        encoder_of(tmp_path)
