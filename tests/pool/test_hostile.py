"""Damaged and hostile files of profiles: each is refused with the tensor at fault, and none crashes the process."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

import turnout
from turnout import Model, Pool
from turnout.pool.profiles import Profiles, read_profiles

PROMPTS = ["", "what is the sum", "prove that 中文 " * 20]


@pytest.fixture(scope="module")
def content(profiled: Path) -> bytes:
    return (profiled / "other.safetensors").read_bytes()


@pytest.fixture
def open_profile(profiled: Path, tmp_path: Path) -> Callable[[bytes], turnout.PoolRouter]:
    """A router whose only model has the profile with these bytes."""

    def open_it(content: bytes) -> turnout.PoolRouter:
        (tmp_path / "mine.safetensors").write_bytes(content)
        (tmp_path / "pool.toml").write_text(
            "objective = {tolerance = 0}\n[models.mine]\nprofile = 'mine.safetensors'\n"
        )
        return turnout.load(profiled, pool=Pool.load(tmp_path / "pool.toml"))

    return open_it


def metadata_of(content: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", content[:8])
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def changed(content: bytes, tensors: dict[str, Any] | None = None, **metadata: str | None) -> bytes:
    """The file with other tensors or metadata; ``None`` removes one."""
    all_tensors = {**load(content), **(tensors or {})}
    kept = {name: np.ascontiguousarray(tensor) for name, tensor in all_tensors.items() if tensor is not None}
    texts = {name: text for name, text in {**metadata_of(content), **metadata}.items() if text is not None}
    return bytes(save(kept, metadata=texts))


NAN = np.float32(np.nan)
TWO = json.dumps([{"name": "a", "prompts": 1}, {"name": "a", "prompts": 1}])


# fmt: off
CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"basis": None}, {}, "basis: missing"),
    ({"basis": np.ones((12, 0), np.float32)}, {}, r"basis: shape \[12, 0\]"),
    ({"basis": np.ones(12, np.float32)}, {}, r"basis: shape \[12\]"),
    ({"weights": np.ones((1, 2), np.float32)}, {}, r"weights: shape \[1, 2\], expected \[1, 3\]"),
    ({"weights": np.array([[1, NAN, 1]], np.float32)}, {}, "weights: holds NaN at position 1"),
    ({"bias": np.array([np.inf], np.float32)}, {}, "bias: holds inf at position 0"),
    ({"covariance": np.ones((1, 9), np.float32)}, {}, r"covariance: shape \[1, 9\], expected \[1, 10\]"),
    ({"landmarks": np.ones((2, 12), np.float32)}, {}, "bandwidth: missing"),
    ({"bandwidth": np.ones(1, np.float32)}, {}, "landmarks: missing"),
    ({"landmarks": np.ones((2, 11), np.float32), "bandwidth": np.ones(1, np.float32)}, {}, r"landmarks: shape \[2, 11\], expected \[2, 12\]"),
    ({"landmarks": np.ones((0, 12), np.float32), "bandwidth": np.ones(1, np.float32)}, {}, r"landmarks: shape \[0, 12\]"),
    ({"landmarks": np.ones((2, 12), np.float32), "bandwidth": np.zeros(1, np.float32)}, {}, "bandwidth: is 0, expected more than 0"),
    ({"landmarks": np.ones((2, 12), np.float32), "bandwidth": np.array([1, -2], np.float32)}, {}, "bandwidth: is -2, expected more than 0"),
    ({"landmarks": np.ones((2, 12), np.float32), "bandwidth": np.ones(9, np.float32)}, {}, r"bandwidth: shape \[9\], expected \[1..=8\]"),
    ({"landmarks": np.ones((2, 12), np.float32), "bandwidth": np.ones(2, np.float32)}, {}, r"basis: shape \[12, 3\], expected \[16, 1..=16\]"),
    ({"landmarks": np.ones((2, 12), np.float32), "bandwidth": np.full(1, 1e-30, np.float32)}, {}, "the square of a bandwidth is 0"),
    ({"landmarks": np.full((2, 12), 3e38, np.float32), "bandwidth": np.ones(1, np.float32)}, {}, "landmarks: their squares overflow"),
    ({"landmarks": np.ones((2, 12), np.float32), "bandwidth": np.ones(1, np.float32)}, {}, r"basis: shape \[12, 3\], expected \[14, 1..=14\]"),
    ({}, {"profiles": None}, "__metadata__.profiles: missing"),
    ({}, {"profiles": "[{"}, "__metadata__.profiles: EOF"),
    ({}, {"profiles": "[]"}, "__metadata__.profiles: 0 models"),
    ({}, {"profiles": '[{"name": "a"}]'}, "missing field `prompts`"),
    ({}, {"profiles": TWO}, 'name "a" is empty or listed twice'),
    ({}, {"embedding": None}, "__metadata__.embedding: missing"),
]
#: What the core alone checks: the length of an embedding and its graph, types, and limits of its arithmetic.
CORE_ONLY: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"basis": np.ones((11, 3), np.float32)}, {}, r"basis: shape \[11, 3\], expected \[12"),
    ({"basis": np.ones((12, 3), np.float64)}, {}, "basis: is F64, expected F32 or F16"),
    ({"basis": np.full((12, 3), 3e38, np.float32), "weights": np.full((1, 3), 3e38, np.float32)}, {}, "overflows"),
    ({"covariance": np.array([[1, 0, -1, 0, 0, 1, 0, 0, 0, 1]], np.float32)}, {}, "variance of number 1 of model 0"),
    ({"surprise": np.ones(1, np.float32)}, {}, "surprise: unknown tensor"),
    ({}, {"profiles": '[{"name": "a", "prompts": -1}]'}, "invalid value"),
    ({}, {"profiles": '[{"name": "a", "prompts": 1, "output_tokens": 0}]'}, "output_tokens"),
    ({}, {"embedding": "0" * 64}, "embedding: the profiles are for the embeddings of the graph 000"),
]
# fmt: on


@pytest.mark.parametrize(("tensors", "metadata", "field"), [*CASES, *CORE_ONLY])
def test_a_wrong_file_names_what_is_wrong(
    open_profile: Callable[[bytes], Any], content: bytes, tensors: dict[str, Any], metadata: dict[str, Any], field: str
) -> None:
    with pytest.raises(turnout.ArtifactError, match=field) as caught:
        open_profile(changed(content, tensors, **metadata))
    assert caught.value.path is not None
    assert caught.value.path.name == "mine.safetensors"


@pytest.mark.parametrize(("tensors", "metadata"), [case[:2] for case in CASES])
def test_python_refuses_it_too(
    content: bytes, tmp_path: Path, tensors: dict[str, Any], metadata: dict[str, Any]
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(changed(content, tensors, **metadata))
    with pytest.raises(turnout.ConfigError, match=r"mine\.safetensors: "):
        read_profiles(path)


@pytest.mark.parametrize(("tensors", "metadata"), [case[:2] for case in CORE_ONLY])
def test_python_reads_what_the_core_alone_refuses(
    content: bytes, tmp_path: Path, tensors: dict[str, Any], metadata: dict[str, Any]
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(changed(content, tensors, **metadata))
    assert len(read_profiles(path).models) == 1


def test_a_profile_that_is_missing_is_named(profiled: Path, tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text("objective = {tolerance = 0}\n[models.a]\nprofile = 'absent'\n")
    with pytest.raises(turnout.ArtifactError, match=r"absent: file: No such file"):
        turnout.load(profiled, pool=Pool.load(tmp_path / "pool.toml"))


def test_a_profile_of_other_names_lists_them(
    make_pool: Any, open_profile: Callable[[bytes], Any], content: bytes
) -> None:
    two = make_pool.random_profiles(["theirs", "others"], 12, metadata_of(content)["embedding"]).to_bytes()
    with pytest.raises(turnout.PoolError, match='has no profile of this name; it has "theirs", "others"'):
        open_profile(two)
    assert open_profile(content).route("what is").model == "mine"


@pytest.mark.parametrize(("has_landmarks", "step"), [(False, 1), (False, 7), (True, 5)])
def test_no_truncated_or_mutated_file_crashes(
    make_pool: Any, open_profile: Callable[[bytes], Any], content: bytes, has_landmarks: bool, step: int
) -> None:
    embedding = metadata_of(content)["embedding"]
    content = make_pool.random_profiles(["mine"], 12, embedding, has_landmarks=has_landmarks).to_bytes()
    rng = np.random.default_rng(step)
    cases = [content[:length] for length in range(0, len(content), 37 * step)]
    for at in range(0, len(content), 3 * step):
        mutated = bytearray(content)
        mutated[at] = rng.integers(256)
        cases.append(bytes(mutated))
    opened = 0
    for case in cases:
        try:
            router = open_profile(case)
        except (turnout.ArtifactError, turnout.PoolError):
            continue
        opened += 1
        for prompt in PROMPTS:
            (one,) = router.rank(prompt)
            assert 0.0 <= one.success_low <= one.success <= one.success_high <= 1.0
    assert 0 < opened < len(cases)


def test_the_artifacts_own_profiles_are_checked_too(
    profiled: Path, tmp_path: Path, edit_manifest: Callable[..., None]
) -> None:
    import hashlib
    import shutil

    folder = shutil.copytree(profiled, tmp_path / "copy")
    pool = Pool([Model("strong-other")], tolerance=0)
    wrong = changed((folder / "profiles.safetensors").read_bytes(), embedding="1" * 64)
    (folder / "profiles.safetensors").write_bytes(wrong)
    with pytest.raises(turnout.ArtifactError, match=r"sha256|size"):
        turnout.load(folder)
    entry = {"bytes": len(wrong), "sha256": hashlib.sha256(wrong).hexdigest()}
    edit_manifest(folder, lambda manifest: manifest["files"].update({"profiles.safetensors": entry}))
    turnout.load(folder)
    with pytest.raises(turnout.ArtifactError, match="embedding: the profiles are for"):
        turnout.load(folder, pool=pool)
    edit_manifest(folder, lambda manifest: manifest.update(profiles="absent"))
    with pytest.raises(turnout.ArtifactError, match='profiles: "absent" is not listed in `files`'):
        turnout.load(folder)


def test_a_large_pool_decides(profiled: Path) -> None:
    names = ["strong-other", "weak-other"]
    pool = Pool([Model(f"m{at}", like=names[at % 2]) for at in range(4096)], tolerance=0)
    router = turnout.load(profiled, pool=pool)
    assert len(router.rank("what is")) == 4096
    assert router.route("what is").model in ("m0", "m1")
    assert isinstance(router.pool, Pool)
    assert Profiles is not None
