"""FAISS through the core: indexes of every kind, from files and alive, and everything that can be wrong with them."""

from __future__ import annotations

import ctypes.util
import gc
import hashlib
import json
import shutil
import subprocess
import sys
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
KINDS = [
    "Flat",
    "SQ8",
    "SQ4",
    "SQfp16",
    "PQ4x4np",
    "HNSW8",
    "HNSW8,SQ8",
    "IVF4,Flat",
    "IVF4,SQ8",
    "IVF4,PQ4x4np",
    "IVF4_HNSW8,SQ8",
]


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


def filled(vectors: Any, factory: str) -> Any:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors) if not factory.startswith("IDMap") else index.add_with_ids(vectors, np.arange(len(vectors)))
    return index


def index_of(vectors: Any, factory: str) -> Any:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    if factory.startswith("IVF"):
        index.nprobe = index.nlist
    return index


@pytest.mark.parametrize("factory", KINDS)
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
    for wrong in (object(), (0xDEAD0000, None, False), faiss.Index.__new__(faiss.Index), 7):
        with pytest.raises(turnout.InvalidTypeError, match=r"faiss\.Index"):
            turnout._core.Router(folder, index=wrong)


@pytest.mark.parametrize("factory", ["Flat", "HNSW8", "IVF4,SQ8"])
def test_an_index_of_other_vectors_or_in_another_order_is_refused(
    folder: Path, vectors: Any, factory: str, tmp_path: Path
) -> None:
    others = np.random.default_rng(9).normal(size=vectors.shape).astype(np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    for wrong in (others, vectors[::-1].copy(), np.roll(vectors, 1, axis=0)):
        index = index_of(wrong, factory)
        with pytest.raises(turnout.ConfigError, match=r"index finds .* under their own numbers"):
            turnout.load(folder, index=index)
        faiss.write_index(index, str(tmp_path / "other.faiss"))
        with pytest.raises(turnout.ArtifactError, match=r"other\.faiss: index: finds .* under their own numbers"):
            turnout.load(folder, index=tmp_path / "other.faiss")


def test_a_file_that_is_not_a_known_index_is_refused(folder: Path, vectors: Any, tmp_path: Path) -> None:
    (tmp_path / "wrong.faiss").write_bytes(b"not an index at all")
    with pytest.raises(turnout.ArtifactError, match=r'of the kind "not ", expected one of: Flat, SQ'):
        turnout.load(folder, index=tmp_path / "wrong.faiss")
    for factory in ("PCA4,Flat", "IDMap,Flat", "PQ4x4fs", "RR,Flat"):
        faiss.write_index(filled(vectors, factory), str(tmp_path / "other.faiss"))
        with pytest.raises(turnout.ArtifactError, match="expected one of: Flat, SQ, PQ, HNSW"):
            turnout.load(folder, index=tmp_path / "other.faiss")
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
    with pytest.raises(turnout.ArtifactError, match=r"index\.faiss: index: the file ends"):
        turnout.load(tmp_path)


def test_without_faiss_the_error_says_what_to_install(folder: Path, run_python: Callable[..., str]) -> None:
    script = f"""
        import turnout
        from turnout import engines
        engines.faiss_library = lambda: None
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
        from turnout import engines
        for wrong in ({library!r}, "/nowhere/libfaiss.so"):
            engines.faiss_library = lambda: wrong
            try:
                turnout.load({str(folder)!r})
            except turnout.EngineError as error:
                print(error)
    """
    first, second = run_python(script).strip().splitlines()
    assert "FAISS at" in first
    assert "has no _ZN5faiss" in first
    assert "/nowhere/libfaiss.so" in second


def test_one_byte_changed_in_a_file_is_an_error_or_changes_little(folder: Path, vectors: Any, tmp_path: Path) -> None:
    """A larger run: ``python tests/ranking/mutate_index.py ARTIFACT INDEX 5000``."""
    for factory in KINDS:
        faiss.write_index(index_of(vectors, factory), str(tmp_path / "index.faiss"))
        script = Path(__file__).with_name("mutate_index.py")
        command = [sys.executable, str(script), str(folder), str(tmp_path / "index.faiss"), "200"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (factory, done.returncode, done.stderr[-2000:])
        counts = json.loads(done.stdout)
        assert counts["refused"] + counts["answered"] == 200
        assert counts["refused"] >= 10, factory
        assert counts["largest difference"] < 0.1, (factory, counts)


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "HNSW8"])
def test_searching_after_a_fork_says_what_to_do(
    folder: Path, vectors: Any, factory: str, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    faiss.write_index(index_of(vectors, factory), str(tmp_path / "index.faiss"))
    script = f"""
        import os, signal
        import numpy as np, turnout
        vector = np.eye({DIM}, dtype=np.float32)[0]
        index = {str(tmp_path / "index.faiss")!r}
        router = turnout.load({str(folder)!r}, index=index)
        right = router.win_rate(embedding=vector)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            for call in (
                lambda: router.win_rate(embedding=vector),
                lambda: router.win_rates(embeddings=vector[None]),
                lambda: turnout.load({str(folder)!r}, index=index),
            ):
                try:
                    call()
                except turnout.RouterError as error:
                    assert "before a fork" in str(error) and "spawns" in str(error), error
                else:
                    os._exit(3)
            turnout.load({str(folder)!r}, index="exact").win_rate(embedding=vector)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert router.win_rate(embedding=vector) == right
        print("right")
    """
    assert run_python(script).strip() == "right"
