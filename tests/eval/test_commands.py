"""The measuring commands, from the command line to the files they write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import turnout
from turnout.cli import main

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "routellm"
TINY = str(ROOT / "models" / "tiny")


@pytest.fixture
def table(tmp_path):
    generator = np.random.default_rng(0)
    prompts = [f"write {row} sums in python {'why ' * (row % 9)}" for row in range(120)]
    # The tiny router's weights are random; here the world agrees with them.
    ranks = np.argsort(np.argsort(turnout.load(TINY).win_rates(prompts))) / 120
    rows = [
        {
            "prompt": prompt,
            "category": ["code", "why"][row % 2],
            "openai/GPT-4-1106-preview": int(generator.uniform() < 0.8),
            "mistralai/mixtral-8x7b-chat": int(generator.uniform() < 0.9 - 0.8 * ranks[row]),
        }
        for row, prompt in enumerate(prompts)
    ]
    path = tmp_path / "outcomes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "nonsense\n")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("written", ["registered", "module:Class"])
def test_eval_takes_a_router_of_the_users(table, tmp_path, capsys, monkeypatch, written):
    (tmp_path / "longer_router.py").write_text(
        "class Longer:\n    def win_rate(self, prompt):\n        return min(len(prompt) / 100, 1.0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "longer_router:Longer"
    if written == "registered":
        import longer_router

        turnout.register_router("longer", longer_router.Longer)
        name = "longer"
    arguments = ["--router", name, "random", "--data", str(table), "--resamples", "0", "--json", "-"]
    assert main(["eval", *arguments]) == 2
    assert "--strong and --weak" in capsys.readouterr().err
    assert (
        main(["eval", *arguments, "--strong", "openai/GPT-4-1106-preview", "--weak", "mistralai/mixtral-8x7b-chat"])
        == 0
    )
    (found,) = json.loads(capsys.readouterr().out)["tables"]
    assert {name, "random"} <= set(found["routers"])


def test_eval_prints_writes_and_tells_bad_rows(table, tmp_path, capsys):
    out, numbers = tmp_path / "report", tmp_path / "results.json"
    arguments = ["--router", TINY, "--data", str(table), "--out", str(out), "--json", str(numbers), "--resamples", "20"]
    assert main(["eval", *arguments, "--prices", "10", "1", "--perturb", "--threshold", "0.01"]) == 0
    printed = capsys.readouterr().out
    for words in ("APGR", "prompt length", "random", "ECE", "outcomes.jsonl", "row 121: not JSON", "attack by prefix"):
        assert words in printed
    assert (out / "report.html").is_file()
    document = json.loads(numbers.read_text())
    (found,) = document["tables"]
    assert found["strong"] == "openai/GPT-4-1106-preview"
    assert document["robustness"]["outcomes"]["tiny"]["changes"]
    first = json.dumps(found)
    assert main(["eval", *arguments, "--prices", "10", "1", "--threshold", "0.01"]) == 0
    assert json.dumps(json.loads(numbers.read_text())["tables"][0]) == first


@pytest.mark.parametrize(
    "command",
    [
        ["eval", "--resamples", "0", "--data"],
        ["calibrate", "--strong-share", "0.3", "--prompts"],
        ["calibrate", "--quality", "0.8", "--data"],
        ["calibrate", "--win-rate", "platt", "--data"],
        ["contamination", "--similarity", "2", "--train", "train.txt", "--eval"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_more_than_one_bad_row_in_twenty_is_an_error_unless_allowed(table, tmp_path, monkeypatch, capsys, command):
    """A table that was read wrongly would give numbers all the same."""
    monkeypatch.chdir(tmp_path)
    Path("train.txt").write_text("a prompt to compare with\n")
    if command[0] != "contamination":
        command = [command[0], "--router", TINY, *command[1:]]
    with table.open("a") as file:
        file.write("nonsense\n" * 6)
    assert main([*command, str(table)]) == 2
    message = capsys.readouterr().err
    assert f"{table}: 7 of 127 rows are bad (6%), expected at most 5%; --allow-bad-rows leaves them out" in message
    assert main([*command, str(table), "--allow-bad-rows"]) == 0
    assert "7 of 127 bad rows in" in "".join(capsys.readouterr())


def test_eval_of_routellms_folder_and_json_on_standard_output(capsys):
    evals = str(FIXTURES / "evals")
    benchmarks = ["--benchmark", "mmlu", "gsm8k", "mt-bench"]
    assert main(["eval", "--router", TINY, "--data", evals, *benchmarks, "--resamples", "10", "--json", "-"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert [(one["table"], one["prompts"]) for one in tables][1:] == [("gsm8k", 10), ("mt-bench", 6)]


def test_eval_marks_what_was_seen_and_leaves_out_what_is_contaminated(table, tmp_path, capsys):
    listed = tmp_path / "contaminated_prompts.jsonl"
    listed.write_text(json.dumps({"eval_prompt": "write 0 sums in python "}) + "\n")
    arguments = ["--contaminated", str(listed), "--seen", "outcomes", "--resamples", "0"]
    assert main(["eval", "--router", TINY, "--data", str(table), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "119 prompts" in printed
    assert "seen in training" in printed


def test_calibrate_prints_the_share_it_achieves_and_saves(table, tmp_path, capsys):
    artifact = tmp_path / "artifact"
    shutil.copytree(TINY, artifact)
    common = ["calibrate", "--router", str(artifact), "--prompts", str(table), "--strong-share", "0.3"]
    assert main([*common, "--json"]) == 0
    choice = json.loads(capsys.readouterr().out)
    assert abs(choice["achieved"] - 0.3) < 0.02
    assert choice["low"] < 0.3 < choice["high"]
    assert "needs about" in choice["warnings"][-1]
    assert main([*common, "--save", str(tmp_path / "t.json")]) == 0
    assert json.loads((tmp_path / "t.json").read_text())["thresholds"][0]["threshold"] == choice["threshold"]
    assert main([*common, "--save", str(tmp_path / "copy")]) == 0
    assert turnout.load(artifact).threshold == 0.5
    assert main([*common, "--save"]) == 0
    for folder in (artifact, tmp_path / "copy"):
        assert turnout.load(folder).threshold == pytest.approx(choice["threshold"], rel=1e-15)
    prompts = [json.loads(line)["prompt"] for line in table.read_text().splitlines()[:-1]]
    routed = turnout.load(artifact, strong_share=0.3).route_batch(prompts)
    assert sum(one.is_strong for one in routed) == pytest.approx(36, abs=1)


def test_calibrate_knows_costs_quality_and_win_rates(table, tmp_path, capsys):
    common = ["calibrate", "--router", TINY]
    prices = ["--prices-per-mtok", "10", "30", "0.5", "0.7"]
    budget = ["--cost-per-month", "5000", "--requests-per-month", "1000000"]
    assert main([*common, "--prompts", str(table), *budget, *prices]) == 0
    assert "cost per request" in capsys.readouterr().out
    assert main([*common, "--data", str(table), "--quality", "0.8"]) == 0
    assert "part of the gap recovered" in capsys.readouterr().out
    assert main([*common, "--data", str(table), "--win-rate", "isotonic", "--save", str(tmp_path / "c")]) == 0
    assert "cross-validated log loss" in capsys.readouterr().out
    assert turnout.load(tmp_path / "c").manifest["calibration"]["kind"] == "isotonic"
    assert main([*common, "--prompts", str(table), "--quality", "0.8"]) == 2
    assert "need outcomes" in capsys.readouterr().err
    assert main([*common, "--prompts", str(table)]) == 2


def test_contamination_lists_and_eval_honors(table, tmp_path, capsys):
    pytest.importorskip("faiss")
    train = tmp_path / "train.txt"
    train.write_text("WRITE 8 sums in python " + "why " * 8 + "\nsomething else entirely\n")
    out = tmp_path / "contaminated_prompts.jsonl"
    assert (
        main(["contamination", "--train", str(train), "--eval", str(table), "--out", str(out), "--similarity", "0.98"])
        == 0
    )
    listed = [json.loads(line)["eval_prompt"] for line in out.read_text().splitlines()]
    assert "write 8 sums in python " + "why " * 8 in listed
    assert f"{len(listed)} of 120" in capsys.readouterr().out
    assert main(["eval", "--router", TINY, "--data", str(table), "--contaminated", str(out), "--resamples", "0"]) == 0
    assert f"{120 - len(listed)} prompts" in capsys.readouterr().out


def test_import_writes_an_artifact_that_asks_for_embeddings(tmp_path, capsys):
    out = tmp_path / "routellm-mf"
    assert main(["import", "mf", str(FIXTURES / "mf"), "--out", str(out), "--threshold", "0.11593"]) == 0
    assert "embeddings of length 256" in capsys.readouterr().out
    assert turnout.load(out).threshold == 0.11593
    assert main(["calibrate", "--router", str(out), "--prompts", "-", "--strong-share", "0.5"]) == 2
    assert "--embedding-url" in capsys.readouterr().err
    assert main(["import", "mf", str(tmp_path), "--out", str(out)]) == 2
    assert "missing" in capsys.readouterr().err


def test_the_parser_and_the_package_import_nothing_heavy():
    code = (
        "import sys, turnout, turnout.cli; turnout.cli.parser();"
        "print([m for m in ('pyarrow', 'matplotlib', 'sklearn', 'scipy', 'httpx', 'faiss', 'safetensors', 'onnx', 'rich')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
