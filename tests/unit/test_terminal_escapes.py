"""Text from files cannot command the terminal that shows it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from turnout.cli import main

ESCAPES = "\x1b[2J\x9b2J\x07\u202e"


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
