"""FAISS through the core: indexes of every kind, from files and alive, and everything that can be wrong with them."""

from __future__ import annotations

import ctypes.util
import gc
import hashlib
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout
from turnout.data import BadRows
from turnout.routers.sw_ranking.encoder import Encoder
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build

faiss = pytest.importorskip("faiss")

DIM = 8


@pytest.fixture(scope="module")
def vectors(battles: Path) -> Any:
    table = read_battle_table([battles], bad=BadRows())
    rows = np.random.default_rng(1).normal(size=(len(table.prompts), DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def folder(battles: Path, vectors: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = read_battle_table([battles], bad=BadRows())
    options = Options("alpha", "delta", tiers=4, index="Flat")
    out = tmp_path_factory.mktemp("faiss") / "router"
    build(table, Encoder(dim=DIM), options, out, vectors=vectors)
    return out


def index_of(vectors: Any, factory: str) -> Any:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    if factory.startswith("IVF"):
        index.nprobe = index.nlist
    return index


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "SQfp16", "HNSW8", "IVF4,Flat", "IVF4,SQ8", "PCA4,Flat"])
def test_every_kind_of_index_gives_nearly_the_exact_win_rates(
    folder: Path, vectors: Any, factory: str, tmp_path: Path
) -> None:
    index = index_of(vectors, factory)
    faiss.write_index(index, str(tmp_path / "other.faiss"))
    exact = turnout.load(folder, index="exact").win_rates(embeddings=vectors)
    for choice in (index, tmp_path / "other.faiss"):
        router = turnout.load(folder, index=choice)
        assert np.abs(router.win_rates(embeddings=vectors) - exact).max() < 0.05
        assert router.win_rate(embedding=vectors[0]) == pytest.approx(float(exact[0]), abs=0.05)


def test_with_all_prompts_near_an_index_is_exact(folder: Path, vectors: Any, tmp_path: Path) -> None:
    every = shutil.copytree(folder, tmp_path / "every")
    manifest = json.loads((every / "router.json").read_text())
    manifest["ranking"]["index"]["neighbors"] = len(vectors)
    (every / "router.json").write_text(json.dumps(manifest))
    exact = turnout.load(folder, index="exact").win_rates(embeddings=vectors)
    assert np.abs(turnout.load(every).win_rates(embeddings=vectors) - exact).max() < 1e-5


def test_a_live_index_lives_as_long_as_its_router(folder: Path, vectors: Any) -> None:
    index = index_of(vectors, "HNSW8")
    gone = weakref.ref(index)
    router = turnout.load(folder, index=index)
    del index
    gc.collect()
    assert gone() is not None
    before = router.win_rate(embedding=vectors[3])
    assert router.win_rate(embedding=vectors[3]) == before
    del router
    gc.collect()
    assert gone() is None


def test_metric_does_not_matter_for_unit_vectors(folder: Path, vectors: Any) -> None:
    index = faiss.IndexFlatL2(DIM)
    index.add(vectors)
    other = turnout.load(folder, index=index).win_rates(embeddings=vectors)
    assert np.allclose(other, turnout.load(folder, index=index_of(vectors, "Flat")).win_rates(embeddings=vectors))


def test_an_index_that_does_not_fit_is_refused(folder: Path, vectors: Any) -> None:
    narrow = index_of(np.ascontiguousarray(vectors[:, :4]), "Flat")
    with pytest.raises(turnout.ConfigError, match=r"vectors of length 4, expected 8"):
        turnout.load(folder, index=narrow)
    with pytest.raises(turnout.ConfigError, match=r"expected one for each of \d+ prompts"):
        turnout.load(folder, index=index_of(vectors[:-1], "Flat"))
    with pytest.raises(turnout.ConfigError, match="is not trained"):
        turnout.load(folder, index=faiss.index_factory(DIM, "IVF4,Flat"))
    with pytest.raises(turnout.InvalidTypeError, match=r"faiss\.Index"):
        turnout.load(folder, index=object())


def test_a_file_that_is_no_index_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.faiss").write_bytes(b"not an index at all")
    with pytest.raises(turnout.ArtifactError, match="FAISS refused it"):
        turnout.load(folder, index=tmp_path / "wrong.faiss")
    with pytest.raises(turnout.ArtifactError, match=r"missing\.faiss"):
        turnout.load(folder, index=tmp_path / "missing.faiss")


def test_a_damaged_index_of_the_artifact_is_told_by_its_hash(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "index.faiss"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(turnout.ArtifactError, match=r"index\.faiss: sha256"):
        turnout.load(tmp_path)


@pytest.mark.parametrize("cut", [0, 3, 10, 40, 60, 200])
def test_an_index_cut_short_is_refused_even_under_its_right_hash(folder: Path, tmp_path: Path, cut: int) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = (tmp_path / "index.faiss").read_bytes()[:cut]
    (tmp_path / "index.faiss").write_bytes(content)
    manifest = json.loads((tmp_path / "router.json").read_text())
    manifest["files"]["index.faiss"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "router.json").write_text(json.dumps(manifest))
    with pytest.raises(turnout.ArtifactError, match=r"index\.faiss: index: FAISS refused it"):
        turnout.load(tmp_path)


def test_without_faiss_the_error_says_what_to_install(folder: Path, run_python: Callable[..., str]) -> None:
    script = f"""
        import turnout
        from turnout import router
        router.faiss_library = lambda: None
        try:
            turnout.load({str(folder)!r})
        except turnout.EngineError as error:
            print(error)
        print(turnout.load({str(folder)!r}, index="exact").engine)
    """
    told, engine = run_python(script).strip().splitlines()
    assert "turnout[faiss]" in told
    assert engine == "native"


def test_another_library_in_its_place_is_refused(folder: Path, run_python: Callable[..., str]) -> None:
    library = ctypes.util.find_library("m")
    assert library is not None
    script = f"""
        import turnout
        from turnout import router
        for wrong in ({library!r}, "/nowhere/libfaiss.so"):
            router.faiss_library = lambda: wrong
            try:
                turnout.load({str(folder)!r})
            except turnout.EngineError as error:
                print(error)
    """
    first, second = run_python(script).strip().splitlines()
    assert "FAISS at" in first
    assert "has no _ZN5faiss" in first
    assert "/nowhere/libfaiss.so" in second
