"""The page of headers, errors and metrics has all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from turnout.serve.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "server-reference.md").read_text(encoding="utf-8")
FILES = [file for room in ("serve", "ext_proc") for file in (ROOT / "python" / "turnout" / room).rglob("*.py")]


def _texts() -> Iterator[str]:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
                yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


def test_headers() -> None:
    found = {text for text in _texts() if re.fullmatch(r"x-turnout-[a-z-]+[a-z]", text)}
    assert len(found) > 10
    assert {header for header in found if f"`{header}`" not in PAGE} == set()


def test_codes_of_errors() -> None:
    codes = set()
    for file in FILES:
        codes |= set(re.findall(r'\bcode="([a-z_]+)"', file.read_text(encoding="utf-8")))
    assert len(codes) > 20
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()


def test_metrics_and_their_labels() -> None:
    rows = re.findall(r"^\| `(turnout_\w+)` \| (.*?) \|", PAGE, re.MULTILINE)
    written = {name: re.findall(r"`(\w+)`", labels) for name, labels in rows}
    metrics = vars(Metrics()).values()
    known = {
        f"{one._name}_total" if one._type == "counter" else one._name: list(one._labelnames)
        for one in metrics
        if hasattr(one, "_labelnames")
    }
    assert written == known
