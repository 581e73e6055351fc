"""The tiny router, once."""

from __future__ import annotations

from pathlib import Path

import pytest

import turnout

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tiny():
    """The artifact of a few KB."""
    return turnout.load(ROOT / "models" / "tiny")
