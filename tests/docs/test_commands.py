"""The commands of README and docs run as they are written, from the root of the repository.

A block that cannot run here says why in a comment before it: ``<!-- not run: reason -->``; blocks that install packages need none. Files that commands write go to a folder of
their own, which shows the repository's folders under their names. A block ``text`` right after the commands is what they print; ``...`` in it stands for any text.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Programs whose lines are commands, also in blocks without a language.
PROGRAM = re.compile(
    r"^(turnout|pip|make|python3?|cat|zcat|echo|curl|source|git|docker|litellm|ray|serve) ", re.MULTILINE
)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (.+) -->\s*\Z")
#: What the commands before it print.
OUTPUT = re.compile(r"\n*```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: Folders of the repository that commands read.
READ = ("docs", "examples", "models", "tests")


class Block(NamedTuple):
    """A block of commands: where it is, what it says, why it is not run, if so, and what it prints, if the page says so."""

    place: str
    script: str
    reason: str | None
    output: str | None


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent, language, body = match.groups()
        script = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        if language in ("sh", "bash") or (not language and PROGRAM.search(script)):
            marked = NOT_RUN.search(text[: match.start()])
            reason = marked[1] if marked else None
            if all(line.startswith("pip install ") for line in script.splitlines()):
                reason = "installs packages"
            line = text.count("\n", 0, match.start()) + 1
            output = OUTPUT.match(text, match.end())
            found.append(Block(f"{document.relative_to(ROOT)}:{line}", script, reason, output and output[1]))
    return found


ALL = {document: blocks(document) for document in DOCUMENTS}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the root of the repository, with ``turnout`` on the path."""
    for name in READ:
        if (ROOT / name).is_dir():
            (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "turnout"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m turnout "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environment(checkout: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(checkout / "cache"),
        "KEY": "a-key-of-a-client",
    }


@pytest.mark.parametrize(
    "document",
    [document for document, found in ALL.items() if any(block.reason is None for block in found)],
    ids=lambda document: str(document.relative_to(ROOT)),
)
def test_commands_run_as_written(document: Path, checkout: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("faiss")
    pytest.importorskip("onnxruntime")
    for block in ALL[document]:
        if block.reason is None:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.script],
                cwd=checkout,
                env=environment(checkout),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block.place}\n{block.script}\n{done.stderr}"
            if block.output is not None:
                as_written = doctest.OutputChecker().check_output(block.output, done.stdout, OPTIONS)
                assert as_written, f"{block.place}\n{block.script}\nprints\n{done.stdout}"


def test_commands_that_are_not_run_say_why_and_are_the_fewer() -> None:
    found = [block for one in ALL.values() for block in one]
    marked = [block for block in found if block.reason is not None]
    run = sum(block.script.count("turnout ") for block in found if block.reason is None)
    assert all(len(block.reason or "") > 10 for block in marked)
    assert run >= 25, [block.place for block in marked]


def test_pages_show_what_commands_print() -> None:
    assert sum(block.output is not None for one in ALL.values() for block in one) >= 5


def test_the_sample_files_are_those_that_their_script_makes(tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_text((ROOT / "examples/data/make.py").read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, str(script)], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".py"}
    kept = {
        path.name: path.read_bytes()
        for path in (ROOT / "examples/data").iterdir()
        if path.suffix not in (".py", ".md", ".toml")
    }
    assert made == kept
    assert sum(map(len, kept.values())) < 100_000
