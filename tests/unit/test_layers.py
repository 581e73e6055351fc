"""Imports point down: the layers of the package, lazy and type-only imports counted."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "turnout"

#: From the top down. A room imports rooms of lower lines only, and itself.
LAYERS = [
    {"__main__"},
    {"cli", "commands"},
    {"serve", "integrations"},
    {"controller"},
    {"routers.bert", "routers.causal_llm", "routers.mf", "routers.sw_ranking"},
    {"training"},
    {"augment", "calibrate", "evaluate"},
    {"artifact", "graphs"},
    {"routing"},
    {"embeddings", "budget", "__init__"},
    {"router"},
    {"battles"},
    {"data"},
    {"extras", "engines", "progress", "_core"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def _room(module: str) -> str:
    """The room of a dotted module name below ``turnout``; every kind of router is a room of its own."""
    parts = module.split(".")[1:] or ["__init__"]
    return ".".join(parts[:2]) if parts[0] == "routers" and len(parts) > 1 else parts[0]


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            is_module = [(PACKAGE.parent / name.replace(".", "/")) for name in below]
            found |= {n for n, p in zip(below, is_module, strict=True) if p.with_suffix(".py").exists() or p.is_dir()}
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == "turnout"}


def _arrows() -> list[tuple[str, str, str]]:
    arrows = []
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["turnout", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        arrows += [(str(file.relative_to(PACKAGE)), _room(module), _room(name)) for name in _imports(file)]
    return arrows


def test_imports_point_down() -> None:
    up = [
        f"{file}: {room} imports {other}"
        for file, room, other in _arrows()
        if room != other and LEVEL[room] >= LEVEL[other]
    ]
    assert not up, "\n".join(sorted(set(up)))
