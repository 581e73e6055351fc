"""The command line: ``turnout route | inspect | demo | ...``. Each command is a module of :mod:`turnout.commands`."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Sequence

import turnout
from turnout import commands
from turnout.terminal import echo, printable

#: Exit code of everything that is the caller's to mend: options, files, artifacts. ``argparse`` uses the same one.
EXIT_ERROR = 2
#: Exit codes that a shell gives to a program ended by Ctrl-C, or by a reader that went away.
EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 130, 141


def parser() -> argparse.ArgumentParser:
    """The parser with every command of :mod:`turnout.commands`."""
    root = argparse.ArgumentParser(
        prog="turnout", description="Routes prompts to a strong or a weak language model in microseconds."
    )
    root.add_argument("--version", action="version", version=f"turnout {turnout.__version__}")
    subparsers = root.add_subparsers(metavar="COMMAND", required=True)
    for module in pkgutil.iter_modules(commands.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{commands.__name__}.{module.name}").add_parser(subparsers)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments without the program's name; by default the process's own.

    Returns:
        The exit code: 0; 1 if some rows could not be routed; 2 for an error, which is reported in one line on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give that flush something to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except (turnout.RouterError, OSError) as error:
        echo(f"turnout: error: {printable(' '.join(_text(error).split()))}", file=sys.stderr)
        return EXIT_ERROR
    return code


def _text(error: Exception) -> str:
    """The text of an error; of one of the operating system without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return str(error)
