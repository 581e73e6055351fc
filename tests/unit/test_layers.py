"""Imports point down: the layers of the package, lazy and type-only imports counted."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "python" / "turnout"

#: From the top down. A room imports rooms of later lines only. ``__init__`` only re-exports, so its own imports do not count.
LAYERS = [
    {"__main__"},
    {"commands"},
    {"__init__"},
    {"ext_proc"},
    {"serve.run", "integrations"},
    {"serve.workers"},
    {"serve.process"},
    {"serve.app"},
    {"serve.endpoints", "serve.playground"},
    {"serve.state"},
    {"serve.shadow"},
    {"serve.cascade", "serve.changes", "serve.describe", "serve.tracing"},
    {"serve.decisions"},
    {"serve.receipts", "serve.sessions"},
    {"serve.routers", "serve.upstreams"},
    {"serve.http", "serve.metrics", "serve.settings"},
    {"serve.dialects", "serve.metric_files", "serve.rare_log"},
    {"serve"},
    {"controller"},
    {"routers.bert", "routers.causal_llm", "routers.mf", "routers.sw_ranking"},
    {"training"},
    {"augment"},
    {"calibrate"},
    {"evaluate"},
    {"profiles"},
    {"artifact"},
    {"graphs"},
    {"registry"},
    {"embeddings", "budget"},
    {"scored_router", "model_client"},
    {"router"},
    {"data", "pool"},
    {"conversation", "cascade"},
    {
        "battle_store",
        "engines",
        "extras",
        "outcomes",
        "progress",
        "retry_after",
        "sample_prompts",
        "shipped",
        "terminal",
        "threads",
        "token_prices",
    },
    {"durable_files"},
    {"_core"},
    {"errors"},
]
#: Rooms that read the specification; nothing reads them.
SPECIFICATION = "reference"
#: The request path: what deciding loads, apart from the standard library and NumPy.
REQUEST_PATH = "import turnout; turnout.load().route('Hi'); turnout.Controller; import turnout.serve.app"
NOT_ON_THE_REQUEST_PATH = (
    "turnout.routers",
    "turnout.data",
    "turnout.evaluate",
    "turnout.training",
    "turnout.profiles",
    "turnout.artifact",
    "turnout.graphs",
)
#: Modules beside the room that they belong to: the entry point of the commands, and ``Router.add_battles``.
PART_OF = {"cli": "commands", "online_updates": "router"}
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def _room(module: str) -> str:
    """The room of a dotted module name below ``turnout``; kinds of routers, and parts of the server, are rooms of their own."""
    parts = module.split(".")[1:] or ["__init__"]
    room = ".".join(parts[:2]) if parts[0] in ("routers", "serve") and len(parts) > 1 else parts[0]
    return PART_OF.get(room, room)


def _is_module(name: str) -> bool:
    path = PACKAGE.parent / name.replace(".", "/")
    return path.is_dir() or any(path.with_suffix(ending).exists() for ending in (".py", ".pyi"))


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = {name for name in names if _is_module(name)}
            found |= modules if len(modules) == len(names) else modules | {node.module}
    return {name for name in found if name.split(".")[0] == "turnout"}


def _arrows() -> list[tuple[str, str, str]]:
    arrows = []
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["turnout", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        arrows += [(str(file.relative_to(PACKAGE)), _room(module), _room(name)) for name in _imports(file)]
    return arrows


def test_imports_point_down() -> None:
    arrows = {arrow for arrow in _arrows() if arrow[1] not in ("__init__", SPECIFICATION)}
    unknown = {room for _, *rooms in arrows for room in rooms} - set(LEVEL)
    assert unknown == set(), "rooms without a layer"
    up = [
        f"{file} imports {other}"
        for file, room, other in sorted(arrows)
        if room != other and LEVEL[room] >= LEVEL[other]
    ]
    assert up == []


def test_the_product_imports_no_specification() -> None:
    assert [file for file, room, other in _arrows() if other == SPECIFICATION != room] == []


def test_the_request_path_loads_no_training_and_no_tables() -> None:
    code = f"{REQUEST_PATH}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.startswith(NOT_ON_THE_REQUEST_PATH)] == []
