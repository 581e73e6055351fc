"""RouteLLM's checkpoints give RouteLLM's win rates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import turnout
from turnout.cli import main
from turnout.routers.mf.import_ import import_mf, tiny_checkpoint
from turnout.routers.mf.routellm_models import MODEL_NAMES

CHECKPOINT = Path(__file__).parent.parent / "fixtures" / "routellm" / "mf"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return import_mf(CHECKPOINT, tmp_path_factory.mktemp("mf") / "artifact")


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
@pytest.mark.parametrize("pair", range(8))
def test_win_rates_are_routellms(artifact, pair, engine):
    cases = np.load(CHECKPOINT / "cases.npz")
    strong, weak = MODEL_NAMES[cases["strong_ids"][pair]], MODEL_NAMES[cases["weak_ids"][pair]]
    if strong == weak:
        with pytest.raises(turnout.ConfigError, match="expected two models"):
            turnout.load(artifact, strong=strong, weak=weak, engine=engine)
        return
    router = turnout.load(artifact, strong=strong, weak=weak, engine=engine)
    found = router.win_rates(embeddings=np.ascontiguousarray(cases["embeddings"]))
    # RouteLLM computes in float32; a double-precision run of the same weights differs by 5e-7.
    np.testing.assert_allclose(found, cases["win_rate"][pair], rtol=0, atol=1e-5)
    one = router.route(embedding=np.ascontiguousarray(cases["embeddings"][3]), threshold=0.11593)
    assert one.is_strong == (cases["win_rate"][pair][3] >= 0.11593)


def test_the_artifact_says_where_it_comes_from(artifact):
    router = turnout.load(artifact)
    assert router.manifest["encoder"] == {"kind": "external", "dim": 256}
    assert router.manifest["provenance"]["embedding_model"] == "text-embedding-3-small"
    assert len(router.models) == 64
    with pytest.raises(turnout.InvalidInputError, match="pass embeddings of length 256"):
        router.route("a prompt")


def test_a_checkpoint_without_projection_is_its_own_projection(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = tiny_checkpoint(tmp_path / "plain", text_dim=4, dim=4)
    tensors = load_file(folder / "model.safetensors")
    projected = import_mf(folder, tmp_path / "a")
    # The same with an identity matrix, and with none.
    save_file({**tensors, "text_proj.0.weight": np.eye(4, dtype=np.float32)}, folder / "model.safetensors")
    identity = turnout.load(import_mf(folder, tmp_path / "b"))
    del tensors["text_proj.0.weight"]
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "use_proj": False}))
    none = turnout.load(import_mf(folder, tmp_path / "c"))
    embeddings = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    np.testing.assert_array_equal(none.win_rates(embeddings=embeddings), identity.win_rates(embeddings=embeddings))
    assert (turnout.load(projected).win_rates(embeddings=embeddings) != none.win_rates(embeddings=embeddings)).any()


def test_what_is_no_checkpoint_is_told_by_file_and_tensor(tmp_path):
    with pytest.raises(turnout.ArtifactError, match=r"model\.safetensors: missing"):
        import_mf(tmp_path, tmp_path / "out")
    folder = tmp_path / "broken"
    shutil.copytree(CHECKPOINT, folder)
    (folder / "config.json").write_text('{"dim": 64}')
    with pytest.raises(turnout.ArtifactError, match="dim is 64, but the tensors have 128"):
        import_mf(folder, tmp_path / "out")
    (folder / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(turnout.ArtifactError, match="broken"):
        import_mf(folder, tmp_path / "out")
    with pytest.raises(turnout.ConfigError, match="'gpt-9' is not among"):
        import_mf(CHECKPOINT, tmp_path / "out", strong="gpt-9")
    with pytest.raises(turnout.ConfigError, match="has 64 models, found 2 names"):
        import_mf(CHECKPOINT, tmp_path / "out", models=["a", "b"])


def test_names_of_rows_come_from_a_list_or_an_object(tmp_path):
    folder, file = tiny_checkpoint(tmp_path / "tiny"), tmp_path / "names.json"
    names = list(reversed(MODEL_NAMES))
    command = ["import", "mf", str(folder), "--out", str(tmp_path / "out"), "--models", str(file)]
    for content in (names, {name: row for row, name in enumerate(names)}):
        file.write_text(json.dumps(content))
        assert main(command) == 0
        assert turnout.load(tmp_path / "out").models == names


@pytest.mark.parametrize("content", ["{", "7", "[1, 2]", '{"a": 1, "b": "x"}', "[" * 100_000])
def test_names_of_rows_that_are_none_are_told(content, tmp_path, capsys):
    (tmp_path / "names.json").write_text(content)
    command = [
        "import",
        "mf",
        str(CHECKPOINT),
        "--out",
        str(tmp_path / "out"),
        "--models",
        str(tmp_path / "names.json"),
    ]
    assert main(command) != 0
    assert "names.json: " in capsys.readouterr().err
