"""Text from files cannot command the terminal that shows it."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest

import turnout
from turnout.cli import main

ESCAPES = "\x1b[2J\x9b2J\x07\x7f\u202e"
PACKAGE = Path(turnout.__file__).parent


@pytest.fixture
def folder(artifact: Path, tmp_path: Path) -> Path:
    """An artifact whose names and provenance hold escapes."""
    folder = Path(shutil.copytree(artifact, tmp_path / "router"))
    manifest = json.loads((folder / "router.json").read_text())
    strong = manifest["pair"]["strong"]
    manifest["name"] += ESCAPES
    manifest["models"] = [name + ESCAPES if name == strong else name for name in manifest["models"]]
    manifest["pair"]["strong"] += ESCAPES
    manifest["provenance"] = {f"key{ESCAPES}": [f"value{ESCAPES}", {"long": ESCAPES * 100}]}
    (folder / "router.json").write_text(json.dumps(manifest))
    (folder / f"document{ESCAPES}").write_text("")
    return folder


@pytest.mark.parametrize(
    "options", [["inspect"], ["inspect", "--models"], ["inspect", "--json"], ["route", "--router"]]
)
def test_control_characters_are_shown_as_escapes(
    folder: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [f"what is {ESCAPES} and two", "hello"] if options[0] == "route" else []
    assert main([*options, str(folder), *prompts]) == 0
    out = capsys.readouterr().out
    assert out
    assert all(character.isprintable() or character == "\n" for character in out)
    if "--json" in options:
        assert json.loads(out)["manifest"]["pair"]["strong"].endswith(ESCAPES)
    else:
        assert "\\x1b[2J" in out


def is_harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def test_lines_of_json_hold_the_same_texts_without_control_characters(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"prompt": f"what is {ESCAPES}", f"column{ESCAPES}": [ESCAPES]}
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps(row))
    assert main(["route", "--router", str(artifact), "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert is_harmless(out)
    assert json.loads(out).items() >= row.items()


def test_tables_of_an_evaluation_show_escapes(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    strong, weak = f"strong{ESCAPES}", f"weak{ESCAPES}"
    rows = [{"prompt": f"what is {row}?", strong: row % 2, weak: (row // 2) % 2} for row in range(40)]
    file = tmp_path / f"table{ESCAPES}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + f'{{"{ESCAPES}": \n')
    options = ["--data", str(file), "--strong", strong, "--weak", weak, "--resamples", "0"]
    assert main(["eval", "--router", str(artifact), *options]) == 0
    printed = "".join(capsys.readouterr())
    assert is_harmless(printed)
    assert "strong\\x1b[2J\\x9b2J\\x07\\x7f\\u202e" in printed
    assert main(["eval", "--router", str(artifact), *options, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert is_harmless(out + err)
    assert json.loads(out)["tables"][0]["strong"] == strong


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_terminal_module_prints(file: Path) -> None:
    """Whatever prints by another way may print raw text from files."""
    if file == PACKAGE / "terminal.py":
        return
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert not [name.lineno for name in calls if isinstance(name, ast.Name) and name.id in ("print", "Console")]
