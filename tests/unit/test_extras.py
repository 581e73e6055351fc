"""Every check for an extra names one that brings what it looks for, and no other text names an extra."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnout import ConfigError
from turnout.extras import require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
#: Modules whose package has another name.
PACKAGES = {
    "faiss": "faiss-cpu",
    "langchain_core": "langchain-core",
    "opentelemetry": "opentelemetry-api",
    "prometheus_client": "prometheus-client",
    "sklearn": "scikit-learn",
}
#: Packages that come with another.
BRINGS = {"ray": {"pyarrow", "starlette"}, "uvicorn": {"httptools", "uvloop"}}


def packages(extra: str) -> set[str]:
    found = set()
    for requirement in EXTRAS[extra]:
        name, _, inner = re.match(r"([\w.-]+)(\[([\w,-]+)\])?", requirement).groups()
        found |= (
            set().union(*map(packages, inner.split(","))) if name == "turnout" else {name} | BRINGS.get(name, set())
        )
    return found


def checks() -> Iterator[tuple[str, str, list[str]]]:
    for file in sorted((ROOT / "python/turnout").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                extra, *modules = node.args
                texts = [
                    text.value for module in modules for text in ast.walk(module) if isinstance(text, ast.Constant)
                ]
                yield f"{file.name}:{node.lineno}", extra.value, [text for text in texts if isinstance(text, str)]


def test_extras_bring_the_modules_that_are_looked_for() -> None:
    found = list(checks())
    assert len(found) > 20
    for place, extras, modules in found:
        brought = set().union(*(packages(extra) for extra in extras.split(",")))
        missing = {PACKAGES.get(module, module) for module in modules} - brought
        assert not missing, (place, extras, missing)


def test_documents_and_messages_name_extras_that_exist() -> None:
    files = [*(ROOT / "python/turnout").rglob("*.py"), *(ROOT / "docs").rglob("*.*"), ROOT / "README.md"]
    texts = {file: file.read_text() for file in files if file.suffix in {".py", ".md", ".toml"}}
    named = {(file.name, one) for file, text in texts.items() for one in re.findall(r"turnout\[([a-z,-]+)\]", text)}
    assert len(named) > 10
    earlier = {"augment", "calibrate", "contamination", "data", "ext-proc", "import", "otel", "ranking"}
    for file, names in sorted(named):
        assert set(names.split(",")) <= EXTRAS.keys() - earlier, (file, names)


def test_all_of_a_missing_extra_is_reported_at_once() -> None:
    words = r"^scoring needs no_such_a, no_such_b: pip install 'turnout\[eval\]'$"
    for kind in (ConfigError, ImportError):
        with pytest.raises(kind, match=words):
            require("eval", "no_such_a", "sys", "no_such_b", purpose="scoring")
