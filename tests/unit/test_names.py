"""Shipped routers by name in every command, and what a name that is not known gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import turnout
from turnout.cli import main
from turnout.shipped import shipped_names

TINY = Path(__file__).parents[2] / "models" / "tiny"
SHIPPED = "shipped routers: mf, sw_ranking"


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "outcomes.csv"
    path.write_text("prompt,big,small\n" + "".join(f"question {row},{row % 2},{row % 3 % 2}\n" for row in range(30)))
    return str(path)


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


def commands(router: str, table: str) -> list[list[str]]:
    """Every command that takes the name of a router."""
    return [
        ["route", "--router", router, "Hi"],
        ["inspect", router],
        ["eval", "--router", router, "--data", table],
        ["calibrate", "--router", router, "--prompts", table, "--strong-share", "0.5"],
        ["battles", "add", router, table],
        ["battles", "compact", router],
    ]


def test_the_default_is_first_among_the_shipped_names():
    assert shipped_names() == ["mf", "sw_ranking"]


@pytest.mark.parametrize("name", ["mf", "sw_ranking"])
def test_inspect_and_route_take_shipped_names(name, capsys):
    assert main(["inspect", name]) == 0
    assert f"artifacts/{name}" in capsys.readouterr().out.replace(os.sep, "/")
    assert main(["route", "--router", name, "What is 2 + 2?"]) == 0


def test_a_miss_lists_the_shipped_routers_and_the_nearest(tmp_path, capsys, table):
    with pytest.raises(
        turnout.ArtifactError, match=rf"sw-ranking: no such artifact folder.*{SHIPPED}; did you mean 'sw_ranking'\?"
    ):
        turnout.load("sw-ranking")
    for arguments in commands("sw_rank", table):
        assert f"{SHIPPED}; did you mean 'sw_ranking'?" in failed(capsys, *arguments), arguments
    with pytest.raises(
        turnout.ConfigError,
        match=r"no router 'radnom'; known routers: mf, sw_ranking, random.*; did you mean 'random'\?",
    ):
        turnout.Controller(["radnom"], strong_model="a", weak_model="b")


def test_a_kind_that_does_not_ship_is_an_error_with_the_commands_that_make_one(capsys, table):
    made = (
        "for a bert router, import a checkpoint with `turnout import bert CHECKPOINT --out FOLDER`, "
        "or train one with `turnout train bert --encoder CHECKPOINT --outcomes TABLE --out FOLDER`"
    )
    with pytest.raises(turnout.ArtifactError) as missing:
        turnout.load("bert")
    assert str(missing.value) == f"bert: no such artifact folder or shipped router; {SHIPPED}; {made}"
    for arguments in commands("bert", table):
        assert f"{missing.value}\n" in failed(capsys, *arguments), arguments
    with pytest.raises(turnout.ConfigError) as unknown:
        turnout.Controller(["bert"], strong_model="a", weak_model="b")
    assert str(unknown.value).startswith("no router 'bert'; known routers: mf, sw_ranking, random")
    assert f"; {made}; then name its folder with `path` in the router's configuration" in str(unknown.value)
    upstream = ["--strong-model", "a", "--weak-model", "b", "--base-url", "http://localhost:1/v1"]
    assert str(unknown.value) in failed(capsys, "serve", "--router", "bert", *upstream)


def test_battles_of_a_router_of_another_kind_are_refused(tmp_path, capsys, table):
    for action in (["add", "mf", table], ["compact", "mf"]):
        assert "battles belong to routers of kind sw_ranking" in failed(capsys, "battles", *action)


def test_a_folder_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sw_ranking").symlink_to(TINY, target_is_directory=True)
    assert turnout.load("sw_ranking").manifest["name"] == "tiny"


def test_classes_are_found_beside_the_working_folder(tmp_path, table):
    (tmp_path / "own_router.py").write_text(
        "import own_length\nclass Longer:\n    def win_rate(self, prompt):\n        return own_length.of(prompt)\n"
    )
    (tmp_path / "own_length.py").write_text("def of(prompt):\n    return min(len(prompt) / 100, 1.0)\n")
    # As the installed command runs: the working folder is not on the path.
    code = "import sys; sys.path[:] = [one for one in sys.path if one]; from turnout.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [
        "eval",
        "--router",
        "own_router:Longer",
        "--data",
        table,
        "--strong",
        "big",
        "--weak",
        "small",
        "--json",
        "-",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--resamples", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "own_router:Longer" in json.loads(done.stdout)["tables"][0]["routers"]


@pytest.mark.parametrize(
    ("code", "name", "told"),
    [
        ("class R(:", "R", "class 'broken:R': importing broken raised SyntaxError: "),
        ("raise ValueError('no weights')", "R", "importing broken raised ValueError: no weights"),
        ("raise SystemExit(3)", "R", "importing broken raised SystemExit: 3"),
        ("class R:\n    def __init__(self):\n        raise OSError('no weights')", "R", "OSError: no weights"),
        ("class R: pass", "Q", "module 'broken' has no attribute 'Q'"),
        ("class R: pass", "R", "without win_rate(prompt) -> float"),
    ],
)
def test_a_class_that_cannot_be_made_is_one_line(code, name, told, tmp_path, monkeypatch, capsys, table):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    (tmp_path / "broken.py").write_text(code)
    assert told in failed(
        capsys, "eval", "--router", f"broken:{name}", "--data", table, "--strong", "big", "--weak", "small"
    )


def test_a_class_may_lie_within_another(tmp_path, monkeypatch):
    from turnout.registry import open_router

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nested_router.py").write_text(
        "class A:\n    class B:\n        def win_rate(self, prompt):\n            return 0.25\n"
    )
    assert open_router("own", {"class": "nested_router:A.B"}).win_rate("x") == 0.25


@pytest.mark.parametrize("name", ["MF", "mf ", "own:Class", "", b"brt", "x" * 500])
def test_any_name_that_is_no_folder_lists_the_shipped_routers(name):
    with pytest.raises(turnout.ArtifactError, match=f"no such artifact folder.*{SHIPPED}"):
        turnout.load(name)


def test_seen_takes_the_tables_of_data_by_file_or_name_and_nothing_else(capsys, table):
    common = ["eval", "--router", str(TINY), "--data", table, "--strong", "big", "--weak", "small", "--resamples", "0"]
    for name in (table, "outcomes", os.path.relpath(table)):
        assert main([*common, "--seen", name]) == 0
        assert "seen in training" in capsys.readouterr().out
    assert "--seen other is not one of the tables: outcomes" in failed(capsys, *common, "--seen", "other")


def test_a_table_was_seen_if_its_content_is_that_of_a_training_file(capsys, table, tmp_path, make_tiny):
    from turnout.data import file_record

    folder = make_tiny.write(tmp_path / "artifact")
    record = file_record(Path(table))
    assert record["rows"] == 30
    from turnout.artifact.manifest import rewrite_manifest

    manifest = json.loads((folder / "router.json").read_text())
    manifest["provenance"]["data"] = [{**record, "file": "another-name.csv"}]
    rewrite_manifest(folder, manifest)
    common = ["--strong", "big", "--weak", "small", "--resamples", "0", "--router", str(folder), "--data"]
    assert main(["eval", *common, table]) == 0
    assert "seen in training" in capsys.readouterr().out
    renamed = tmp_path / "another-name.csv"
    renamed.write_text(Path(table).read_text() + "one more,1,0\n")
    assert main(["eval", *common, str(renamed)]) == 0
    assert "seen in training" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "2"], "--threshold is 2, expected a number in 0..1"),
        (["--threshold", "nan"], "--threshold is nan, expected a number in 0..1"),
        (["--strong", "big", "--weak", "big"], "both 'big'"),
        (["--strong", "big", "--weak", "org/BIG"], "both 'big'"),
        (["--router", str(TINY), str(TINY)], "is given twice"),
        (["--resamples", "-1"], "--resamples is -1, expected 0 or more"),
    ],
)
def test_eval_refuses_what_makes_no_sense(arguments, message, capsys, table):
    pair = [] if "--strong" in arguments else ["--strong", "big", "--weak", "small"]
    router = [] if "--router" in arguments else ["--router", str(TINY)]
    assert message in failed(capsys, "eval", "--data", table, "--resamples", "0", *router, *pair, *arguments)


def test_calibrate_refuses_one_model_twice(capsys, table):
    arguments = ["--data", table, "--quality", "0.9", "--strong", "big", "--weak", "BIG"]
    assert "both 'big'" in failed(capsys, "calibrate", "--router", str(TINY), *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["route", "--no-such-option"],
        ["route", "missing.csv"],
        ["inspect", "brt"],
        ["route", "--threshold", "2", "Hi"],
        ["no-such-command"],
    ],
)
def test_errors_of_the_command_line_import_no_numpy(arguments):
    code = (
        "import sys; from turnout.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"


def test_a_prompt_is_routed_without_numpy():
    code = "import sys; from turnout.cli import main; main(['route', 'Hi']); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_dir_shows_every_public_name():
    assert set(turnout.__all__) <= set(dir(turnout))
    assert "read_prompts" in dir(__import__("turnout.data").data)
