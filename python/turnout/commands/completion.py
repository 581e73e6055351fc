"""``turnout completion``: a script that completes commands, options and files in a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from turnout.extras import require

EPILOG = """\
examples:
  turnout completion bash > ~/.local/share/bash-completion/completions/turnout
  turnout completion zsh > ~/.zfunc/_turnout          # a folder of $fpath
  turnout completion fish > ~/.config/fish/completions/turnout.fish

Needs `pip install 'turnout[completion]'`. The script itself needs nothing: write it again after an update.
"""

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
#: Values that are files or folders, by their names in the help texts.
_FILES = ("FILE", "F", "TABLE", "PROMPT", "WHERE")
_FOLDERS = ("DIR", "ARTIFACT", "ROUTER", "CHECKPOINT_DIR", "FOLDER", "PATH")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for a shell",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require("completion", "shtab", purpose="completion")
    import shtab

    from turnout.cli import parser

    root = parser()
    for action in _actions(root):
        if action.choices is None and action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.choices is None and action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(root, shell=args.shell) + "\n")
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
        else:
            yield action
