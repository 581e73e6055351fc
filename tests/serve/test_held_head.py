"""The head of an answer and the beginning of its body are one write."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn

from turnout.serve.http.connection import Connection, Connections, Limits
from turnout.serve.http.held_head import HeldHead

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Writes(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written = []

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.written.append("closed")

    def abort(self):
        self.written.append("aborted")

    def is_closing(self):
        return self.written[-1:] in (["closed"], ["aborted"])

    def get_write_buffer_size(self):
        return 0


@pytest.mark.parametrize("is_held_back", [False, True])
def test_the_head_waits_for_the_body_but_not_for_long(is_held_back):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        if is_held_back:
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd"})

    async def run():
        config = uvicorn.Config(app, log_config=None, lifespan="off")
        config.load()
        given = {"config": config, "server_state": uvicorn.server.ServerState(), "app_state": {}}
        transport, connection = Writes(), Connection(group=Connections(Limits()), **given)
        connection.connection_made(transport)
        connection.data_received(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await asyncio.wait_for(asyncio.gather(*connection.tasks), 30)
        await asyncio.sleep(0)
        written = [one for one in transport.written if one != "closed"]
        connection.connection_lost(None)
        return written

    first, *rest = asyncio.run(run())
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    if is_held_back:
        assert first.endswith(b"\r\n\r\n")
        assert rest == [b"ab", b"cd"]
    else:
        assert first.endswith(b"\r\n\r\nab")
        assert rest == [b"cd"]


def test_what_is_held_goes_out_before_the_end_and_not_after_an_abort():
    async def run(end):
        transport = Writes()
        held = HeldHead(transport, asyncio.get_running_loop())
        held.write(HEAD)
        getattr(held, end)()
        await asyncio.sleep(0)
        return transport.written

    assert asyncio.run(run("close")) == [HEAD, "closed"]
    assert asyncio.run(run("abort")) == ["aborted"]
    assert asyncio.run(run("is_closing")) == [HEAD]
