"""An import that fails leaves everything as it was: no part of an artifact, no folder, and no change to an artifact that is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import turnout
from turnout.artifact import finish
from turnout.artifact.origin import Origin
from turnout.artifact.staged import staged
from turnout.cli import main
from turnout.graphs import network
from turnout.graphs.network import NetworkWriter
from turnout.routers.bert import export_fine_tuned as classifier
from turnout.routers.bert.import_ import import_bert
from turnout.routers.causal_llm.import_ import import_causal_llm

NETWORKS = Path(__file__).parent.parent / "fixtures" / "networks"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def missing(name: str, weight: np.ndarray) -> np.ndarray | None:
    return None if name in ("classifier.weight", "lm_head.weight") else weight


def not_finite(name: str, weight: np.ndarray) -> np.ndarray:
    return weight * np.float32("nan") if name in ("classifier.weight", "lm_head.weight") else weight


def huge(name: str, weight: np.ndarray) -> np.ndarray:
    return weight * np.float32(1e6) if name.endswith((".1.output.dense.weight", ".1.mlp.down_proj.weight")) else weight


@pytest.mark.parametrize("name", ["bert", "causal_llm"])
@pytest.mark.parametrize(
    ("change", "match"),
    [(missing, "is missing"), (not_finite, "not finite"), (huge, "beyond float16")],
)
def test_an_import_that_fails_late_leaves_all_as_it_was(name, change, match, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "INLINE_BYTES", 0)
    convert = import_causal_llm if name == "causal_llm" else import_bert
    work = tmp_path / "work"
    there = convert(NETWORKS / name, work / "there")
    before = contents(work)
    bad = shutil.copytree(NETWORKS / name, tmp_path / "bad")
    tensors = {key: change(key, weight) for key, weight in load_file(bad / "model.safetensors").items()}
    save_file({key: weight for key, weight in tensors.items() if weight is not None}, bad / "model.safetensors")
    for out in (there, work / "new"):
        with pytest.raises(turnout.RouterError, match=match):
            convert(bad, out, precision="float16")
    assert contents(work) == before
    assert [folder.name for folder in work.iterdir()] == ["there"]


def test_a_writer_that_does_not_finish_leaves_no_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "INLINE_BYTES", 0)

    def interrupted() -> None:
        with NetworkWriter(tmp_path, 1) as writer:
            writer.weight(np.zeros(4096, np.float32))
            assert list(tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_an_artifact_replaces_another_and_leaves_files_that_are_not_its_own(tmp_path):
    out = import_bert(NETWORKS / "bert", tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    again = turnout.load(import_bert(NETWORKS / "electra", out))
    assert "electra" in again.manifest["provenance"]["imported_from"]
    assert sorted(contents(tmp_path)) == [
        f"out/{name}" for name in sorted([*again.manifest["files"], "notes.txt", "router.json"])
    ]


def test_a_crash_between_two_files_leaves_what_load_refuses(tmp_path, monkeypatch):
    out = import_bert(NETWORKS / "bert", tmp_path / "out")
    old, replace = (out / "router.json").read_bytes(), os.replace

    def dies_at_the_manifest(source: Path, target: Path) -> None:
        if Path(target) == out / "router.json":
            raise OSError("no power")
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies_at_the_manifest)
    with pytest.raises(OSError, match="no power"):
        import_bert(NETWORKS / "electra", out)
    assert (out / "router.json").read_bytes() == old
    with pytest.raises(turnout.ArtifactError, match=r"model\.onnx: "):
        turnout.load(out)


@pytest.mark.skipif(os.name == "nt", reason="modes of folders are those of POSIX")
def test_a_new_folder_has_the_mode_that_others_have(tmp_path):
    (tmp_path / "plain").mkdir()
    with staged(tmp_path / "deep" / "out") as folder:
        (folder / "router.json").write_text("{}")
    assert (tmp_path / "deep" / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert list(contents(tmp_path)) == ["deep/out/router.json"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--threshold", "1.5"], "--threshold is 1.5, expected 0..1"),
        (["--threshold", "nan"], "--threshold is nan, expected 0..1"),
        (["--strong", "a", "--weak", "a"], "--strong and --weak are both 'a'"),
        (["--strong", ""], "models"),
    ],
)
def test_the_command_leaves_no_artifact_that_cannot_be_loaded(options, match, tmp_path, capsys):
    for kind, checkpoint in (("bert", NETWORKS / "bert"), ("mf", NETWORKS.parent / "routellm" / "mf")):
        assert main(["import", kind, str(checkpoint), "--out", str(tmp_path / "out"), *options]) != 0
        assert match in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_classifier_without_quantiles_is_no_artifact(tmp_path, monkeypatch):
    def fails(sources: object) -> list[float]:
        raise turnout.InvalidInputError("no prompts")

    monkeypatch.setattr(finish, "weighted_quantiles", fails)
    origin = Origin("mine", "Apache-2.0", "by hand", [], [], "")
    with pytest.raises(turnout.InvalidInputError, match="no prompts"):
        classifier.write_classifier(NETWORKS / "bert", ("a", "b"), {}, [["why"]], [], origin, tmp_path / "out")
    assert not list(tmp_path.iterdir())
