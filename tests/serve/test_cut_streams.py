"""Streams that end too early or stall: OpenAI's clients raise APIError, and never an error of parsing."""

from __future__ import annotations

import asyncio
import json
import zlib

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_upstream import event, wait_until

from turnout.serve.dialects.sse import EventBuffer, EventTooLongError, events

HELLO = [{"role": "user", "content": "Hello!"}]
WEAK = {"model": "router-mf-1.0", "messages": HELLO}
FIRST, SECOND = event({"content": "one"}), event({"content": "two" * 20})
LINES = SECOND.replace(b'"choices"', b'\ndata: "choices"')  # One event of two lines.

CUTS = {
    "between events": FIRST,
    "after a comment": FIRST + b": wait\n\n",
    "within a field": FIRST + b"dat",
    "within JSON": FIRST + SECOND[:60],
    "within a string": FIRST + SECOND[:-40],
    "before the empty line": FIRST + SECOND[:-1],
    "between lines of an event": FIRST + LINES[: LINES.index(b"\ndata") + 1],
    "within CRLF": FIRST + SECOND.replace(b"\n", b"\r\n")[:-1],
    "within a character": FIRST + event({"content": "\u4e2d"}, "m").replace(b"\\u4e2d", "中".encode())[:-60],
}


def sent(cut: bytes, packing: str, ends: str):
    async def script(exchange):
        await exchange.begin_stream(**({"content_encoding": "gzip"} if packing else {}))
        packer = zlib.compressobj(wbits=31)
        for part in (cut[: len(FIRST)], cut[len(FIRST) :]):
            content = packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) if packing else part
            if content:
                await exchange.chunk(content)
                await asyncio.sleep(0.01)
        if ends == "reset":
            exchange.abort()
        elif ends == "close":
            exchange.writer.close()
        elif ends == "clean":
            await exchange.chunk(b"")
        else:
            await exchange.is_gone.wait()

    return script


async def texts(client: openai.AsyncOpenAI) -> list[str]:
    """What a client gets before it raises."""
    found = []

    async def read() -> None:
        stream = await client.chat.completions.create(**WEAK, stream=True)
        async for chunk in stream:
            found.append(chunk.choices[0].delta.content)  # noqa: PERF401 - the ones before the error count

    with pytest.raises(openai.APIError, match="interrupted") as caught:
        await read()
    assert caught.type is openai.APIError  # The server's own error, not one of a connection.
    return found


@pytest.mark.parametrize("packing", ["", "gzip"])
@pytest.mark.parametrize("ends", ["reset", "close", "stall"])
async def test_a_stream_cut_anywhere_ends_with_an_error_that_clients_raise(start, upstream, packing, ends):
    settings = {"base_url": upstream.base_url, "breaker_failures": 1000}
    if ends == "stall":
        settings["idle_timeout_s"] = 0.5
    server = start(upstreams={"main": settings})
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        for cut in CUTS.values():
            upstream.default = sent(cut, packing, ends)
            found = await asyncio.gather(*(texts(client) for _ in range(3)))
            assert all(one == ["one"] for one in found)
    assert len(upstream.requests) == 3 * len(CUTS)  # Nothing was sent again.
    reason = "idle_timeout" if ends == "stall" else "lost"
    assert server.metric("turnout_errors_total", code=f"stream_{reason}") == 3 * len(CUTS)
    wait_until(lambda: server.state.snapshot.upstreams["main"].in_flight == 0)


@pytest.mark.parametrize("cut", ["within a field", "within JSON", "within a string", "between lines of an event"])
async def test_a_stream_that_ends_within_an_event_is_cut_too(server, upstream, cut):
    upstream.default = sent(CUTS[cut] if cut != "within a field" else FIRST + b'data: {"cho', "", "clean")
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        assert await texts(client) == ["one"]


@pytest.mark.parametrize(
    "end", [b"", b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n", b": bye", SECOND[:-1], SECOND[:-2]]
)
def test_a_last_event_without_its_empty_line_is_completed(server, upstream, end):
    upstream.default = sent(FIRST + end, "", "clean")
    chunks = list(server.openai().chat.completions.create(**WEAK, stream=True))
    assert len(chunks) == 1 + end.startswith(SECOND[:-2])
    assert server.post({**WEAK, "stream": True}).content.startswith(FIRST + end)


@pytest.mark.parametrize("is_stream", [False, True])
def test_silence_within_the_first_event_or_an_answer_falls_back(start, upstream, is_stream):
    async def stalling(exchange):
        if is_stream:
            await exchange.begin_stream()
            await exchange.chunk(b": wait\n\n")
        else:
            await exchange.send(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
        await exchange.is_gone.wait()

    upstream.by_model["small"] = stalling
    server = start(upstreams={"main": {"base_url": upstream.base_url, "idle_timeout_s": 0.3}})
    answer = server.post({**WEAK, "stream": is_stream})
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "idle_timeout")


def test_comments_keep_a_slow_stream_alive(start, upstream):
    async def slow(exchange):
        await exchange.begin_stream()
        await exchange.chunk(FIRST)
        for _ in range(8):
            await asyncio.sleep(0.2)
            await exchange.chunk(b": still here\n\n")
        await exchange.chunk(SECOND + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.default = slow
    server = start(upstreams={"main": {"base_url": upstream.base_url, "idle_timeout_s": 1.2}})
    assert len(list(server.openai().chat.completions.create(**WEAK, stream=True))) == 2


def test_an_event_without_end_is_cut_and_not_held_in_memory(server, upstream, monkeypatch):
    monkeypatch.setattr("turnout.serve.dialects.sse.LONGEST_EVENT", 100_000)

    async def endless(exchange):
        await exchange.begin_stream()
        await exchange.chunk(FIRST + b"data: ")
        while not exchange.is_gone.is_set():
            await exchange.chunk(b"x" * 10_000)

    upstream.default = endless
    with pytest.raises(openai.APIError, match="100,000 bytes"):
        list(server.openai().chat.completions.create(**WEAK, stream=True))


BLOCKS = st.lists(
    st.sampled_from([b"data: a\n\n", b"data: b\r\n\r\n", b": c\r\r", b"data: d\ndata: e\n\n", b"id: 1\r\ndata:\n\r\n"])
)


@given(BLOCKS, st.lists(st.integers(1, 12)), st.binary(max_size=6).filter(lambda rest: not set(rest) & set(b"\r\n")))
def test_pieces_are_whole_events_however_chunks_are_cut(blocks, sizes, rest):
    stream = b"".join(blocks) + rest
    buffer, pieces, begin = EventBuffer(), [], 0
    for size in [*sizes, len(stream)]:
        pieces.append(buffer.push(stream[begin : begin + size]))
        begin += size
    assert b"".join(pieces) + buffer.rest() == stream
    # An end such as \r\n\r\n may be seen after its \r\n\r, so that the next piece begins with the last line end.
    assert buffer.rest().lstrip(b"\n") == rest
    assert [data for piece in pieces for data in events(piece)] == events(b"".join(blocks))


def test_a_long_event_in_small_chunks_is_joined_once():
    buffer = EventBuffer()
    for _ in range(10_000):
        assert buffer.push(b"x" * 100) == b""
    assert len(buffer.push(b"\n\nrest")) == 1_000_002
    assert buffer.rest() == b"rest"
    with pytest.raises(EventTooLongError):
        buffer.push(b"x" * (17 << 20))


def test_the_error_event_is_one_line_of_json(server, upstream):
    upstream.default = sent(CUTS["within JSON"], "", "reset")
    body = server.post({**WEAK, "stream": True}).content
    assert body.startswith(FIRST + b"data: ")
    error = json.loads(body.removeprefix(FIRST + b"data: "))["error"]
    assert (error["type"], error["code"], error["param"]) == ("server_error", "upstream_lost", None)
    assert body.endswith(b"\n\n")
