"""The script for a shell completes commands, options, choices and files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from turnout.cli import main
from turnout.commands.completion import SHELLS

pytest.importorskip("shtab")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("turnout rou", {"route"}),
        ("turnout battles co", {"compact"}),
        ("turnout calibrate --str", {"--strong", "--strong-score", "--strong-share"}),
        ("turnout inspect --engine nat", {"native"}),
        ("turnout calibrate --prompts some", {"some.csv"}),
        ("turnout route some", {"some.csv"}),
    ],
)
def test_bash_completes(words, expected, tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "completion.sh").write_text(capsys.readouterr().out)
    (tmp_path / "some.csv").touch()
    parts = words.split()
    code = (
        f"source ./completion.sh; COMP_WORDS=({' '.join(parts)}); COMP_CWORD={len(parts) - 1}; COMP_LINE='{words}'; "
        f'COMP_POINT=${{#COMP_LINE}}; _shtab_turnout turnout {parts[-1]} {parts[-2]}; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_of_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in ("route", "explain-receipt", "tune-index"):
        assert command in script


def test_without_shtab_the_message_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "completion needs shtab: pip install 'turnout[completion]'" in capsys.readouterr().err


def test_names_of_values_that_are_files_are_those_of_the_options():
    """A value that is a file is called so in the help texts, which is how completion knows it."""
    from turnout.cli import parser
    from turnout.commands.completion import _FILES, _FOLDERS, _actions

    paths = {action.metavar for action in _actions(parser()) if action.type is Path and action.choices is None}
    assert paths <= {*_FILES, *_FOLDERS}
