"""`turnout profile`, `eval --pool`, `calibrate --pool` and `train pool` from the command line."""

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
from turnout.reference.pool import raised_target as reference_target


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


@pytest.fixture(scope="module")
def pool(profiled: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a pool of two models of that artifact, and a table of their outcomes."""
    folder = tmp_path_factory.mktemp("pool")
    lines = [f'[models."{name}"]\ninput_price = {price}\noutput_price = {price}\n' for name, price in PRICES.items()]
    (folder / "pool.toml").write_text("\n".join(lines), encoding="utf-8")
    generator = np.random.default_rng(3)
    rows = [f"How many words are in sentence {row}?,{row % 3 > 0:d},{generator.random() < 0.9:d}" for row in range(150)]
    (folder / "table.csv").write_text("\n".join([",".join(["prompt", *PRICES]), *rows]) + "\n", encoding="utf-8")
    return ["--pool", str(folder / "pool.toml"), "--router", str(profiled), "--outcomes", str(folder / "table.csv")]


PRICES = {"model-3": 1.0, "model-5": 20.0}


def test_eval_of_a_pool_reports_every_method(pool: list[str], tmp_path: Path) -> None:
    options = ["--data" if option == "--outcomes" else option for option in pool]
    out = tmp_path / "report"
    assert main(["eval", *options, "--resamples", "20", "--out", str(out)]) == 0
    (found,) = json.loads((out / "pool.json").read_text(encoding="utf-8"))["tables"]
    assert found["prompts"] == 150
    methods = {"pool", "prompt length", "cohort table", "kNN", "MLP", "random", "cheapest", "best single", "oracle"}
    assert set(found["methods"]) == methods
    assert found["single"] == "model-5"
    assert found["methods"]["oracle"]["figures"]["regret"]["value"] == 0.0
    assert all(one["figures"]["cost"]["value"] <= 1.0 + 1e-9 for one in found["methods"].values())
    assert (out / "table-cost-quality.svg").exists()


def test_calibrate_of_a_pool_writes_profiles_that_fit(
    pool: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated.safetensors"
    assert main(["calibrate", *pool, "--save", str(out), "--target", "0.8", "--radius", "0.05", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["models"]) == set(PRICES)
    robust = found["robust"]
    assert (robust["target"], robust["kl_radius"]) == (0.8, 0.05)
    assert robust["raised_target"] == pytest.approx(reference_target(0.8, 0.05), abs=1e-9)
    assert robust["reached"] == 1.0, "the better model is good 9 times in 10"
    table = Path(pool[-1]).read_text(encoding="utf-8").splitlines()[1:]
    router = turnout.load(pool[3])
    success = read_profiles(out).success(router.embed([line.split(",")[0] for line in table])).mean(axis=0)
    true = np.array([[float(value) for value in line.split(",")[1:]] for line in table]).mean(axis=0)
    np.testing.assert_allclose(success, true, atol=0.08)


def test_train_pool_gives_a_verdict_and_profiles(
    pool: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own.safetensors"
    assert main(["train", "pool", *pool, "--prior", pool[3], "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["single"] == "model-5"
    assert {"means", "own", "mf, refitted", "kNN", "cohort table"} <= set(found["log_loss"])
    assert not found["route"], found["verdict"]
    assert found["error_cost"] is None
    assert read_profiles(out).names == ["model-5"], "the best single model alone"


def test_calibrate_says_how_often_a_robust_target_is_reached(
    pool: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *pool, "--target", "0.85", "--radius", "1"]) == 0
    out = capsys.readouterr().out
    assert "kl_radius = 1" in out
    assert "asks for P(success) >= 1.000, which a model reaches on 0.0% of these prompts" in out


def test_train_pool_takes_efforts_as_models_of_their_own(
    pool: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml, table, out = tmp_path / "pool.toml", tmp_path / "table.csv", tmp_path / "own.safetensors"
    toml.write_text(
        '[models."model-5"]\ninput_price = 20\noutput_price = 20\n'
        '[models."model-3"]\ninput_price = 1\noutput_price = 1\n[models."model-3".efforts.high]\noutput_tokens = 900\n'
    )
    options = ["--pool", str(toml), "--router", pool[3], "--prior", "none", "--outcomes", str(table), "--out", str(out)]
    rows = [f"How many words are in sentence {row}?,{row % 2},{row % 3 > 0:d}" for row in range(150)]
    table.write_text("\n".join(["prompt,model-5,model-3", *rows]) + "\n")
    assert main(["train", "pool", *options]) == 2
    assert "model-3:high" in capsys.readouterr().err, "an effort without outcomes is not left out in silence"
    rows = [f"{row},{number % 8 > 0:d}" for number, row in enumerate(rows)]
    table.write_text("\n".join(["prompt,model-5,model-3,model-3:high", *rows]) + "\n")
    assert main(["train", "pool", *options]) == 0
    text = capsys.readouterr().out
    assert read_profiles(out).names == ["model-3:high"]
    assert '[models."model-3".efforts."high"]' in text


def test_lengths_of_answers_are_what_costs_are_expected_with(
    pool: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out, toml = tmp_path / "table.csv", tmp_path / "own.safetensors", tmp_path / "pool.toml"
    header = f"{HEADER},model-5|output_tokens"
    rows = [
        f"How many words are in sentence {row}?,{row % 2},{row % 3 > 0:d},{100 + row % 2 * 80}" for row in range(150)
    ]
    table.write_text("\n".join([header, *rows, "Missing?,1,1,"]) + "\n")
    options = [*pool[:-1], str(table), "--prior", "none", "--out", str(out)]
    assert main(["train", "pool", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["output_tokens"]) == ["model-5"]
    length = found["output_tokens"]["model-5"]
    assert (length["mean"], length["answers"]) == (140.0, 150)
    assert length["error"] == pytest.approx(40.0, rel=0.01)
    assert 0.0 < length["head_error"] < 60.0
    assert set(found["cost_at_quality"]) == {"train pool", "cohort table", "kNN"}
    assert read_profiles(out).find("model-5").facts["output_tokens"] == 140.0
    # The core reads it, and what is fitted to these profiles afterwards keeps it.
    toml.write_text('[models."model-5"]\nprofile = "own.safetensors"\ninput_price = 20\noutput_price = 20\n')
    router = turnout.load(pool[3], pool=turnout.Pool.load(toml))
    assert router.route("Hi", input_tokens=60).expected_cost == pytest.approx(200 * 20 / 1e6)
    saved = tmp_path / "calibrated.safetensors"
    assert main(["calibrate", "--pool", str(toml), *pool[2:-1], str(table), "--save", str(saved)]) == 0
    assert read_profiles(saved).find("model-5").facts["output_tokens"] == 140.0
    capsys.readouterr()
    assert main(["train", "pool", *options]) == 0
    assert "output tokens, the mean and its root mean squared error: model-5 140 +- 40 (with" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ("-3", "model-5|output_tokens is -3, expected numbers of 0 or more"),
        ("long", "expected numbers or nothing in columns"),
    ],
)
def test_lengths_that_are_none_are_errors(
    pool: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], length: str, message: str
) -> None:
    table = tmp_path / "table.csv"
    rows = [f"Sentence {row}?,{row % 2},1,{length if row == 70 else 90}" for row in range(150)]
    table.write_text("\n".join([f"{HEADER},model-5|output_tokens", *rows]) + "\n")
    options = [*pool[:-1], str(table), "--prior", "none", "--out", str(tmp_path / "own.safetensors")]
    assert main(["train", "pool", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("known", "length", "found"), [(9, "90", "9 answers, 9"), (150, "0", "150 answers, 0")])
def test_too_few_lengths_are_not_used_and_named(
    pool: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], known: int, length: str, found: str
) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "own.safetensors"
    rows = [f"Sentence {row}?,{row % 2},1,{length if row < known else ''}" for row in range(150)]
    table.write_text("\n".join([f"{HEADER},model-5|output_tokens", *rows]) + "\n")
    assert main(["train", "pool", *pool[:-1], str(table), "--prior", "none", "--out", str(out)]) == 0
    assert f"model-5|output_tokens has {found} of them with tokens, and 30 are needed" in capsys.readouterr().err
    assert all(one.facts["output_tokens"] is None for one in read_profiles(out).models)


HEADER = ",".join(["prompt", *PRICES])


@pytest.mark.parametrize("command", ["eval", "calibrate", "train pool"])
@pytest.mark.parametrize(
    ("header", "score", "message"),
    [
        ("prompt,other,third", "1", "model-3"),
        (HEADER, "1.5", "1.5, expected scores in 0..1"),
        (HEADER, "-1", "-1, expected scores in 0..1"),
    ],
)
def test_a_table_that_does_not_fit_the_pool_is_an_error(
    pool: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    header: str,
    score: str,
    message: str,
) -> None:
    table = tmp_path / "table.csv"
    rows = [f"How many words are in sentence {row}?,{score if row == 7 else row % 2},1" for row in range(80)]
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    out = str(tmp_path / "a.safetensors")
    more = {"eval": [], "calibrate": ["--save", out], "train pool": ["--prior", pool[3], "--out", out]}
    options = [*pool[:-2], "--data" if command == "eval" else "--outcomes", str(table), *more[command]]
    assert main([*command.split(), *options]) == 2
    assert message in capsys.readouterr().err


def test_eval_of_a_pool_measures_latency_and_robustness(pool: list[str], tmp_path: Path) -> None:
    paraphrases, out = tmp_path / "paraphrases.csv", tmp_path / "found.json"
    paraphrases.write_text("prompt,paraphrase\nHow many words are in sentence 7?,Count the words of sentence 7.\n")
    options = ["--data" if option == "--outcomes" else option for option in pool]
    extra = ["--perturb", "--paraphrases", str(paraphrases), "--resamples", "0", "--json", str(out)]
    assert main(["eval", *options, *extra]) == 0
    (found,) = json.loads(out.read_text(encoding="utf-8"))["tables"]
    assert found["latency_us"]["p50"] > 0.0
    router = turnout.load(pool[3], pool=turnout.Pool.load(pool[1]))
    prompts = [f"How many words are in sentence {row}?" for row in range(150)]
    before, after = (
        [decision.model for decision in router.route_batch(texts)]
        for texts in (prompts, [prompt.lower() for prompt in prompts])
    )
    same = [one == other for one, other in zip(before, after, strict=True)]
    assert found["robustness"]["lower case"] == pytest.approx(np.mean(same))
    is_same = router.route("Count the words of sentence 7.").model == before[7]
    assert found["robustness"]["your paraphrases"] == float(is_same)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["calibrate", "--quality", "0.9"], "--pool refits chances of success"),
        (["calibrate", "--save", "folder"], "expected a file that ends in .safetensors"),
        (["calibrate", "--target", "1.5"], "--target is 1.5, expected a number in 0..1"),
        (["calibrate", "--radius", "0.1"], "--radius is 0.1, expected a number of 0 or more, with --target"),
        (["calibrate", "--target", "0.5", "--radius", "-1"], "--radius is -1, expected a number of 0 or more"),
        (["train", "pool", "--out", "own.json"], "expected a file that ends in .safetensors"),
    ],
)
def test_options_that_mean_nothing_for_a_pool_are_errors(
    pool: list[str], capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert main([*argv, *pool]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--target", "--radius"])
def test_calibrate_of_a_pair_refuses_the_options_of_pools(
    pool: list[str], capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert main(["calibrate", *pool[2:], "--quality", "0.9", option, "0.8"]) == 2
    assert f"{option} is for a pool: give --pool" in capsys.readouterr().err


def test_eval_of_a_pool_refuses_the_options_of_pairs(pool: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data" if option == "--outcomes" else option for option in pool]
    assert main(["eval", *options, "--strong", "model-3"]) == 2
    assert "--strong cannot be used with --pool" in capsys.readouterr().err
