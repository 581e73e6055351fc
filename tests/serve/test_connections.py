"""Connections that send too much, too slowly, nothing at all, or that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import threading
import time
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
import uvicorn.server
from scripted_upstream import completion, event

from turnout.serve.http.connection import Connection, Connections, Limits

HELLO = [{"role": "user", "content": "Hello!"}]
WEAK = {"model": "router-mf-1.0", "messages": HELLO}
FIELD = b"x-field-%06d: " + b"v" * 100 + b"\r\n"


def connect(url):
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 20)


def received(connection):
    """Everything until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    return found


def sent_until_closed(connection, parts, most):
    """Bytes that the server took before it closed the connection."""
    sent = 0
    with contextlib.suppress(ConnectionError, TimeoutError):
        for part in parts:
            connection.sendall(part)
            sent += len(part)
            if sent >= most:
                break
    return sent


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def fields():
    number = 0
    while True:
        yield b"".join(FIELD % (number + one) for one in range(100))
        number += 100


def one_endless_field(begin=b"x-field: "):
    yield begin
    while True:
        yield b"v" * 65536


def endless_line():
    while True:
        yield b"/" * 65536


@pytest.mark.parametrize("begin", [b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n", b"GET /"])
@pytest.mark.parametrize("parts", [fields, one_endless_field, endless_line])
def test_a_head_without_end_is_refused_at_the_limit(server, begin, parts):
    with connect(server.url) as connection:
        connection.sendall(begin)
        # What the kernel's buffers take is counted too.
        assert sent_until_closed(connection, parts(), 64 << 20) < 32 << 20
        received(connection)
    assert server.closed in ([], ["head_too_large"])  # A line that is not HTTP is refused earlier, by the parser.


def test_a_head_over_the_limit_is_told_so_before_authentication(start, tmp_path):
    (tmp_path / "keys").write_text(f"team-a:{'0' * 64}\n")
    server = start(server={"client_keys_file": str(tmp_path / "keys")})
    with connect(server.url) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n" + FIELD % 1 * 620)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "head_too_large"
    assert server.closed == ["head_too_large"]


def test_a_head_within_the_limit_and_a_body_beyond_it_pass(server):
    headers = {f"x-field-{number}": "v" * 100 for number in range(400)}
    messages = [{"role": "user", "content": "word " * 100_000}]
    assert server.post({**WEAK, "messages": messages}, headers=headers).status_code == 200


def test_chunks_of_one_byte_pass(server):
    body = json.dumps({**WEAK, "user": "x" * 30_000}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    assert len(chunks) > Limits().head_bytes
    with connect(server.url) as connection:
        connection.sendall(head + chunks)
        assert received(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("framing", [b"0\r\n", b"1;"])
def test_trailers_and_chunk_extensions_without_end_are_cut(server, framing):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    with connect(server.url) as connection:
        connection.sendall(head + framing)
        parts = fields() if framing == b"0\r\n" else one_endless_field(b"")
        assert sent_until_closed(connection, parts, 64 << 20) < 32 << 20
    until(lambda: server.closed == ["head_too_large"])


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: "])
def test_a_connection_without_a_request_ends(start, begun):
    server = start(limits=Limits(head_s=0.5))
    with connect(server.url) as connection:
        connection.sendall(begun)
        assert received(connection) == b""
    assert server.closed == ["head_timeout"]


def test_a_head_that_arrives_byte_by_byte_ends(start):
    server = start(limits=Limits(head_s=0.5))
    with connect(server.url) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET / HTTP/1.1\r\nx: ")
        while not server.closed:
            connection.sendall(b"v")
            time.sleep(0.02)
    assert server.closed == ["head_timeout"]


def test_an_idle_connection_ends_after_an_answer_and_a_long_answer_is_no_idleness(start, upstream):
    async def slow(exchange):
        await asyncio.sleep(2.5)
        await exchange.whole(200, completion("m", "late"))

    upstream.default = slow
    server = start(limits=Limits(head_s=0.5))
    body = json.dumps(WEAK).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with connect(server.url) as connection:
        connection.sendall(head + body)
        assert b"late" in received(connection)
    assert server.closed == []


def test_a_connection_waits_between_two_requests_as_long_as_for_the_first(piped):
    assert piped.connection.timeout_keep_alive == Limits().head_s


def test_silent_connections_make_room_for_others(start):
    server = start(limits=Limits(connections=20))
    silent = [connect(server.url) for _ in range(60)]
    until(lambda: server.closed.count("no_room") >= 40)
    for _ in range(5):
        assert httpx.get(server.url + "/health").status_code == 200
    for one in silent:
        one.close()


def test_connections_with_requests_are_not_closed_for_new_ones(start, upstream):
    go = threading.Event()

    async def wait(exchange):
        while not go.is_set():
            await asyncio.sleep(0.01)
        await exchange.whole(200, completion("m", "kept"))

    upstream.default = wait
    server = start(limits=Limits(connections=2))
    body = json.dumps(WEAK).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    with connect(server.url) as one, connect(server.url) as two:
        for connection in (one, two):
            connection.sendall(head % len(body) + body)
        until(lambda: len(upstream.requests) == 2)
        with connect(server.url) as third:
            assert received(third) == b""
        go.set()
        assert b"kept" in received(one)
        assert b"kept" in received(two)


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_does_not_read_frees_its_slot_at_the_deadline(start, upstream, is_stream):
    async def endless(exchange):
        if is_stream:
            await exchange.begin_stream()
        else:
            await exchange.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            await exchange.chunk(b'{"choices": [{"message": {"role": "assistant", "content": "')
        try:
            while True:
                await exchange.chunk(event({"content": "x" * 50_000}) if is_stream else b"x" * 50_000)
        finally:
            ended.append(exchange)

    ended = []
    upstream.default = endless
    server = start(
        upstreams={"main": {"base_url": upstream.base_url, "total_timeout_s": 2.0}}, server={"max_concurrency": 1}
    )
    body = json.dumps({**WEAK, "stream": is_stream}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with connect(server.url) as connection:
        connection.sendall(head + body)
        until(lambda: server.state.in_flight == 1)
        assert server.post(WEAK).status_code == 429
        until(lambda: server.state.in_flight == 0)
    until(lambda: ended)


def test_an_answer_that_is_not_read_ends_with_its_connection(start, upstream):
    async def large(exchange):
        await exchange.whole(200, completion("m", "x" * 3_900_000))

    upstream.default = large
    server = start(limits=Limits(send_s=0.5))
    body = json.dumps(WEAK).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with connect(server.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(3):  # Pipelined, so that kernel buffers cannot hold all of it.
            connection.sendall(head + body)
        until(lambda: server.closed == ["send_timeout"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_client_that_sends_too_much_reads_why(start, path, is_chunked):
    server = start(server={"max_body_bytes": 1_000_000})
    body = json.dumps({**WEAK, "user": "x" * 30_000_000}).encode()
    with httpx.Client(timeout=30) as client:
        for _ in range(3):
            content = iter([body]) if is_chunked else body
            answer = client.post(server.url + path, content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert server.metric("turnout_errors_total", code="body_too_large") == 3
        assert client.post(server.url + "/v1/chat/completions", json=WEAK).status_code == 200


def test_bodies_in_flight_have_one_budget_which_is_given_back(start, upstream):
    go = threading.Event()

    async def wait(exchange):
        while not go.is_set():
            await asyncio.sleep(0.01)
        await exchange.whole(200, completion("m", "x"))

    upstream.default = wait
    server = start(server={"max_body_bytes": 1_000_000, "max_bodies_bytes": 1_000_000})
    large = {**WEAK, "user": "x" * 600_000}
    asking = threading.Thread(target=server.post, args=(large,))
    asking.start()
    until(lambda: upstream.requests)
    refused = server.post(large)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
    assert refused.headers["retry-after"] == "1"
    assert server.post({"model": "mf", "prompt": "x" * 600_000}, "/v1/route").status_code == 429
    assert server.metric("turnout_errors_total", code="overloaded") == 2
    go.set()
    asking.join(20)
    assert server.post(large).status_code == 200
    until(lambda: server.state.bodies.used == 0)


class Pipe(asyncio.Transport):
    """A transport whose client reads where the test says so."""

    def __init__(self):
        super().__init__()
        self.unread = 0
        self.reads = True
        self.is_closed = False

    def get_write_buffer_size(self):
        return self.unread

    def write(self, data):
        self.unread += len(data)

    def is_closing(self):
        return self.is_closed

    def close(self):
        self.is_closed = True

    abort = close

    def pause_reading(self):
        self.reads = False

    def resume_reading(self):
        self.reads = True


@pytest.fixture
def piped():
    """A connection without a server, its transport, and the reasons for which it was closed. Its requests are never answered."""
    closed = []
    group = Connections(Limits(send_s=10.0), closed.append)
    config = uvicorn.Config(lambda scope, receive, send: None, log_config=None, lifespan="off")
    loop = SimpleNamespace(time=lambda: 0.0, create_task=lambda work: work.close() or asyncio.Future(loop=owner))
    owner = asyncio.new_event_loop()
    uvicorns = {"config": config, "server_state": uvicorn.server.ServerState(), "app_state": {}, "_loop": loop}
    connection, pipe = Connection(group=group, **uvicorns), Pipe()
    connection.connection_made(pipe)
    yield SimpleNamespace(connection=connection, pipe=pipe, closed=closed, group=group)
    owner.close()


REQUEST = b"GET /health HTTP/1.1\r\n\r\n"


def test_requests_far_ahead_of_their_answers_end_a_connection(server):
    with connect(server.url) as connection:
        assert sent_until_closed(connection, iter(lambda: REQUEST * 1000, b""), 64 << 20) < 32 << 20
    until(lambda: server.closed == ["pipelining"])


def test_requests_beyond_the_limit_are_not_kept(piped):
    piped.connection.data_received(REQUEST * 5000)
    assert piped.closed == ["pipelining"]
    assert len(piped.connection.pipeline) == Limits().pipelined


def test_a_few_requests_ahead_are_all_answered(server):
    with connect(server.url) as connection:
        connection.sendall(REQUEST * 16 + b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert received(connection).count(b"HTTP/1.1 200 ") == 17
    assert server.closed == []


def test_nothing_more_is_read_while_requests_wait(piped):
    piped.connection.data_received(REQUEST * 3)
    read = []
    for _ in range(2):
        piped.connection.on_response_complete()
        read.append(piped.pipe.reads)
    assert read == [False, True]


def test_a_client_that_reads_slowly_is_served_and_one_that_reads_next_to_nothing_is_not(piped):
    piped.connection.head_by = math.inf
    piped.pipe.unread = 1_000_000
    piped.connection.pause_writing()
    for now in range(9, 90, 9):
        piped.pipe.unread -= 20_000
        piped.group.sweep(now)
        assert piped.closed == []
    for now in range(90, 110):
        piped.pipe.unread -= 100
        piped.group.sweep(now)
    assert piped.closed == ["send_timeout"]
