"""The scripts of ``examples/`` for FastAPI and other frameworks; ``make test-integrations`` has all of these."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import turnout

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


def test_langchain_chain_answers_with_the_chosen_model(run: Run) -> None:
    lines = run("langchain_chain.py", "langchain_core").splitlines()
    assert len(lines) == 2
    threshold = turnout.load().route("Hello!").threshold
    assert all(("strong" if float(line.split()[0]) >= threshold else "weak") in line for line in lines)


def test_litellm_completion_calls_the_chosen_model(run: Run) -> None:
    lines = run("litellm_completion.py", "litellm").splitlines()
    assert len(lines) == 10
    assert all(line.endswith(f"I am {line.split()[0].removeprefix('openai/')}") for line in lines)


def test_ray_dataset_routes_every_row(run: Run, tmp_path: Path) -> None:
    printed = run("ray_dataset.py", "ray", "ray.data")
    counts = [int(count) for count in re.findall(r": (\d+) rows", printed)]
    rows = len((EXAMPLES / "data" / "questions.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert sum(counts) == rows
    assert list((tmp_path / "routed").glob("*.parquet"))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> object:
    """The application of ``fastapi_app.py``."""
    pytest.importorskip("fastapi", reason="examples/fastapi_app.py needs fastapi")
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint)
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # FastAPI looks annotations up in the module.
    monkeypatch.setitem(sys.modules, "fastapi_app", module)
    spec.loader.exec_module(module)
    return module.app


async def test_fastapi_app_answers_with_the_chosen_model(app: object) -> None:
    import httpx

    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for threshold, model in ((0.0, "gpt-4o"), (1.0, "gpt-4o-mini")):
            answer = await client.post("/chat", json={"prompt": "What is 2 + 2?", "threshold": threshold})
            assert answer.status_code == 200
            assert answer.json()["text"] == f"I am {model}"
            assert answer.json()["model"] == model
        refused = await client.post("/chat", json={"prompt": "What is 2 + 2?", "threshold": 2.0})
        assert refused.status_code == 400
        assert "threshold" in refused.json()["detail"]
