"""`turnout profile`: graded prompts, leaderboards and models that are alike, from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout
from turnout.artifact.writer import file_entry
from turnout.cli import main
from turnout.pool.profiles import Profile, Profiles, read_profiles


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny artifact with profiles of twenty models that differ in how good they are."""
    folder = tmp_path_factory.mktemp("artifacts") / "profiled"
    shutil.copytree(Path(__file__).parents[2] / "models" / "tiny", folder)
    path = folder / "router.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    generator = np.random.default_rng(0)
    dim, rank = manifest["encoder"]["dim"], 3
    models = []
    for number in range(20):
        bias = generator.normal(0.0, 1.0)
        mean = np.append(generator.normal([1.0, 0.0, 0.0], 0.2), bias)
        facts = {"means": {"exam": float(1.0 / (1.0 + np.exp(-bias)))}}
        models.append(Profile(f"model-{number}", mean, 0.01 * np.eye(rank + 1), 500, ["exam"], facts))
    content = Profiles(np.eye(dim)[:, :rank], models, manifest["files"]["model.onnx"]["sha256"]).to_bytes()
    (folder / "profiles.safetensors").write_bytes(content)
    manifest["files"]["profiles.safetensors"] = file_entry(content)
    manifest["profiles"] = "profiles.safetensors"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _graded(path: Path, rows: int) -> str:
    lines = [f"How many words are in sentence {row}?,{int(row % 5 > 0)}" for row in range(rows)]
    path.write_text("prompt,mine\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["profile", *argv])
    out = capsys.readouterr()
    return code, out.out + out.err


def test_graded_prompts_make_a_file(profiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.safetensors"
    table = _graded(tmp_path / "graded.csv", 60)
    code, text = _run(capsys, "mine", "--router", str(profiled), "--outcomes", table, "--out", str(out))
    assert code == 0, text
    assert "from 20 known models and 60 graded prompts with a mean score of 0.800" in text
    assert "100: +-" in text
    found = read_profiles(out)
    assert found.names == ["mine"]
    assert found.models[0].prompts == 60
    router = turnout.load(profiled)
    assert found.success(router.embed(["How many words are in sentence 7?"]))[0, 0] == pytest.approx(0.8, abs=0.08)


def test_a_leaderboard_and_a_model_that_is_alike(
    profiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = tmp_path / "scores.json"
    scores.write_text('{"exam": 0.9}')
    code, text = _run(capsys, "mine", "--router", str(profiled), "--leaderboard", str(scores), "--json")
    assert code == 0, text
    good: dict[str, Any] = json.loads(text)
    scores.write_text('{"exam": 0.2}')
    bad = json.loads(_run(capsys, "mine", "--router", str(profiled), "--leaderboard", str(scores), "--json")[1])
    assert good["mean_success"] > bad["mean_success"] + 0.3
    assert good["from"] == "scores on exam, which 20 known models have"
    alike = json.loads(_run(capsys, "mine", "--router", str(profiled), "--like", "Model-3", "--json")[1])
    assert alike["half_width_with_more"]["1000"] < alike["half_width"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to go by"),
        (["--like", "modem-3"], "no profile of model 'modem-3' among 20; similar names: model-3"),
        (["--leaderboard", "{folder}/scores.json"], "expected a JSON object of numbers by table"),
        (["--outcomes", "{folder}/few.csv"], "12 graded prompts, expected at least 30"),
        (["--outcomes", "{folder}/missing.csv"], "missing.csv: no such file"),
        (["--like", "model-3", "--out", "mine.json"], "expected a file that ends in .safetensors"),
    ],
)
def test_mistakes_are_clear_errors(
    profiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    (tmp_path / "scores.json").write_text('{"exam": "high"}')
    _graded(tmp_path / "few.csv", 12)
    code, text = _run(capsys, "mine", "--router", str(profiled), *(one.format(folder=tmp_path) for one in options))
    assert code == 2
    assert message in text


def test_a_router_without_profiles_says_so(
    artifact: Path, capsys: pytest.CaptureFixture[str], edit_manifest: Callable[..., None]
) -> None:
    code, text = _run(capsys, "mine", "--router", str(artifact), "--like", "model-3")
    assert code == 2
    assert "has no profiles of models" in text
