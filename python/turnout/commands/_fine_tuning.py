"""Options of the commands that fine-tune an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from turnout.graphs.precision import PRECISIONS

if TYPE_CHECKING:
    import argparse


def add_fine_tuning_options(parser: argparse.ArgumentParser, rows: str) -> None:
    """Adds the checkpoint, the number of epochs, and the precision of the artifact.

    Args:
        parser: Of the command.
        rows: What is trained on, for the help text.
    """
    parser.add_argument(
        "--encoder", type=Path, required=True, metavar="DIR", help="Hugging Face checkpoint to fine-tune"
    )
    parser.add_argument(
        "--epochs", type=int, default=3, metavar="N", help=f"passes over the {rows} at most (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=[precision for precision in PRECISIONS if precision != "float16"],
        help="precision of the artifact's matrices (default: %(default)s)",
    )
