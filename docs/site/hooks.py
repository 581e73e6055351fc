"""A hook of MkDocs that fills pages with what is kept elsewhere: files of the repository, and the help of every command."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INCLUDE = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills a page."""
    markdown = INCLUDE.sub(lambda found: included(ROOT / found[1]), markdown)
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", "\n".join(sections(command_line())))
    return markdown


def included(path: Path) -> str:
    """A file without its first heading, since the page has one; its links lead from ``docs``."""
    text = path.read_text(encoding="utf-8").rstrip()
    if path.suffix == ".md":
        text = text.partition("\n")[2].replace("](../docs/", "](")
    return text


def command_line() -> argparse.ArgumentParser:
    """The parser of ``turnout``. argparse wraps lines at the width of the terminal, which must not change the page."""
    os.environ["COLUMNS"] = "110"
    from turnout.cli import parser

    return parser()


def sections(parser: argparse.ArgumentParser) -> list[str]:
    """A section with the help text of every subcommand, depth first."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                found.append(f"## {command.prog}\n\n```text\n{command.format_help()}```\n")
                found.extend(sections(command))
    return found
