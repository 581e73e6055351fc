"""What the tests share: the tiny artifact and its variants, hypothesis profiles, Python in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import turnout

ROOT = Path(__file__).parents[1]

# HYPOTHESIS_PROFILE=slow searches for minutes instead of seconds.
_quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("fast", max_examples=200, deadline=None, derandomize=True, suppress_health_check=_quiet)
settings.register_profile("slow", max_examples=20_000, deadline=None, suppress_health_check=_quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session")
def artifact() -> Path:
    """The artifact of a few KB."""
    return ROOT / "models" / "tiny"


@pytest.fixture(scope="session")
def router(artifact: Path) -> turnout.Router:
    """The router of it."""
    return turnout.load(artifact)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small BERT of the fixtures, imported: an artifact that runs in ONNX Runtime."""
    from turnout.routers.bert.import_ import import_bert

    return import_bert(ROOT / "tests" / "fixtures" / "networks" / "bert", tmp_path_factory.mktemp("network") / "bert")


def fixture_script(name: str) -> Any:
    """A script of ``tests/fixtures`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "fixtures" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_tiny() -> Any:
    """``write`` makes variants of the tiny artifact."""
    return fixture_script("make_tiny")


@pytest.fixture(scope="session")
def make_pool() -> Any:
    """``write`` makes the tiny artifact with profiles."""
    return fixture_script("make_pool")


@pytest.fixture(scope="session")
def external(make_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variant whose embeddings come from the caller."""
    folder: Path = make_tiny.write(tmp_path_factory.mktemp("artifacts") / "external", external=True)
    return folder


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    """Short and long, ASCII and not, empty, with special tokens, beyond the token limit."""
    texts = [
        "",
        " ",
        "what is the sum of two even numbers?",
        "Prove that there are infinitely many primes.",
        "write code in python",
        "naïve café, ÉCOLE — Straße",
        "中文 and English 한국어 яблоко",
        "a\u0301 combining \U0001f600 emoji \u200b zero width",
        "[CLS] special [SEP] tokens [UNK] [MASK]",
        "unprovable " * 100,
        "x" * 300,
        "!?.,;" * 50,
        "tab\tline\nfeed\r\n\x00nul\x7f",
    ]
    return texts + [f"how many {word * (row % 9)} {row}" for row, word in enumerate(texts * 8)]


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Runs a script in a fresh interpreter and returns what it prints; the test fails where the script does."""

    def run(script: str, *arguments: str, timeout: float = 60.0, environment: dict[str, str] | None = None) -> str:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script), *arguments]
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
            check=False,
        )
        assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


@pytest.fixture(scope="session")
def edit_manifest() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """Changes ``router.json`` of a folder in place."""

    def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
        path = folder / "router.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        change(manifest)
        path.write_text(json.dumps(manifest), encoding="utf-8")

    return edit
