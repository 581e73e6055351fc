"""``turnout route --pool``, ``turnout pool check`` and ``turnout inspect --pool``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from turnout.cli import main

TOML = """
objective = {target = 0.7}
fallback = {model = "small"}
[limits]
deny_tags = ["beta"]
[models.large]
like = "strong-other"
input_price = 5
output_price = 20
[models.middle]
success = 0.8
input_price = 1
output_price = 4
capabilities = ["tools"]
[models.middle.efforts.high]
success = 0.85
output_tokens = 2000
[models.small]
success = 0.6
input_price = 0.1
output_price = 0.4
latency_ms = {p95 = 900}
"""


@pytest.fixture
def toml(tmp_path: Path) -> str:
    file = tmp_path / "pool.toml"
    file.write_text(TOML)
    return str(file)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_route_prints_a_table_of_all_models(capsys: pytest.CaptureFixture[str], toml: str, profiled: Path) -> None:
    code, out, _ = run(
        capsys, "route", "--router", str(profiled), "--pool", toml, "what is the sum", "--needs", "images"
    )
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "what is the sum"
    assert lines[1].split()[:2] == ["model", "success"]
    assert {line.split()[0] for line in lines[2:6]} == {"large", "middle", "middle:high", "small"}
    assert sum("not feasible: does not serve images" in line for line in lines) == 2
    assert "small" in lines[2] or "large" in lines[2]
    assert lines[6].startswith(lines[2].split()[0] + ": ")


def test_route_prints_json_and_writes_files(
    capsys: pytest.CaptureFixture[str], toml: str, profiled: Path, tmp_path: Path
) -> None:
    common = ["route", "--router", str(profiled), "--pool", toml, "--target", "0.82"]
    code, out, _ = run(capsys, *common, "--json", "what is", "the sum")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["prompt"] for row in rows] == ["what is", "the sum"]
    assert all(set(row) == {"prompt", "model", "success", "expected_cost", "reason"} for row in rows)
    (tmp_path / "prompts.txt").write_text("what is\nthe sum\n")
    code, out, err = run(capsys, *common, str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "out.jsonl"))
    assert code == 0
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["model"] for row in written] == [row["model"] for row in rows]
    assert err.startswith("2 rows to ")
    code, out, _ = run(capsys, *common, str(tmp_path / "prompts.txt"))
    assert [line.split()[0] for line in out.splitlines()] == [row["model"] for row in rows]


def test_a_prompt_that_no_model_may_serve_is_a_row_that_could_not_be_routed(
    capsys: pytest.CaptureFixture[str], toml: str, profiled: Path
) -> None:
    options = ["--needs", "audio", "--unavailable", "large", "--unavailable", "small"]
    code, out, err = run(capsys, "route", "--router", str(profiled), "--pool", toml, "what is", *options)
    assert code == 1
    assert "middle: does not serve audio" in err
    assert out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pool", "{toml}", "--strong", "a"], "--strong is for a pair of models, and --pool has none"),
        (["--target", "0.5"], "--target is for a pool: give --pool"),
        (["--pool", "{toml}", "--target", "2"], "target is 2, expected a number in 0..=1"),
        (["--pool", "{toml}", "--unavailable", "x"], "which is not a model of the pool"),
        (["--pool", "absent.toml"], "No such file"),
    ],
)
def test_options_that_do_not_fit_are_errors(
    capsys: pytest.CaptureFixture[str], toml: str, profiled: Path, options: list[str], message: str
) -> None:
    given = [option.format(toml=toml) for option in options]
    code, _, err = run(capsys, "route", "--router", str(profiled), *given, "what is")
    assert code == 2
    assert message in err


def test_check_and_inspect_print_the_models(capsys: pytest.CaptureFixture[str], toml: str, profiled: Path) -> None:
    code, out, _ = run(capsys, "pool", "check", toml, "--router", str(profiled))
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["large", "middle", "middle:high", "small"]
    assert "like strong-other, fitted on 102 prompts, ECE 0.020" in lines[1]
    assert "0.85 for every prompt" in lines[3]
    assert lines[5] == "4 models; prices in USD per million tokens; objective target = 0.7"
    assert 'limits: deny_tags = ["beta"]' in lines
    assert "fallback: small" in lines
    assert run(capsys, "inspect", "--pool", toml, str(profiled))[1] == out
    described = json.loads(run(capsys, "pool", "check", toml, "--router", str(profiled), "--json")[1])
    assert described["pool"]["models"]["small"]["latency_ms"] == {"p95": 900.0}
    assert described["candidates"][0]["profile"] == "strong-other"


def test_a_wrong_file_is_an_error_with_its_place(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text("[models.a]\nsuccess = 2\n")
    code, _, err = run(capsys, "pool", "check", str(tmp_path / "pool.toml"))
    assert code == 2
    assert "pool.toml: models.a.success: line 2, column 11: 2, expected a number in 0..=1" in err
