"""The service in a thread of this process, behind a gateway that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import grpc
from scripted_upstream import wait_until
from tests.serve.ext_proc.messages import BUFFERED, METHOD, ProcessingRequest, ProcessingResponse

from turnout.ext_proc.service import Service
from turnout.serve.settings.file import settings_of
from turnout.serve.state import State

PATH = "/v1/chat/completions"
#: Tables of a pair whose upstream is not called.
PAIR = """\
[pair]
strong = "big"
weak = "small"
[upstreams.one]
base_url = "http://localhost:1"
key_env = "NOT_SET_ANYWHERE"
[models.big]
upstream = "one"
[models.small]
upstream = "one"
[routers.mf]
path = "{artifact}"
"""


def chat(model: str = "router-mf-0.0", text: str = "Hello!", **fields: Any) -> bytes:
    """The body of a chat completion."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields}).encode()


def head(
    path: str = PATH, *, mode: int | None = BUFFERED, method: str = "POST", is_end: bool = False, **headers: str
) -> Any:
    """The first message about a request."""
    found = ProcessingRequest(request_headers={"end_of_stream": is_end})
    sent = {":method": method, ":path": path, "content-length": "1", **headers}
    for name, value in sent.items():
        found.request_headers.headers.headers.add(key=name.replace("_", "-"), raw_value=value.encode())
    if mode is not None:
        found.protocol_config.request_body_mode = mode
    return found


def body(content: bytes, *, is_end: bool = True) -> Any:
    """A piece of the body of a request."""
    return ProcessingRequest(request_body={"body": content, "end_of_stream": is_end})


class Gateway:
    """A client of the service, which is stopped at the end.

    Args:
        tables: The configuration.
    """

    def __init__(self, tables: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.state, self.service, port = self._run(self._start(tables))
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1)])
        self.call = self._channel.stream_stream("/" + "/".join(METHOD))

    @staticmethod
    async def _start(tables: dict[str, Any]) -> tuple[State, Service, int]:
        state = State(settings_of(tables))
        service = Service(state)
        return state, service, await service.start("127.0.0.1", 0)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self, grace_s: float = 0.0) -> None:
        """Stops the service."""
        self._run(self.service.stop(grace_s))

    def close(self) -> None:
        """Stops everything."""
        self.stop()
        self._channel.close()
        self._run(self.state.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def ask(self, *messages: Any) -> list[Any]:
        """All answers to the messages about one request. Bytes are sent as they are."""
        sent = (one if isinstance(one, bytes) else one.SerializeToString() for one in messages)
        return [ProcessingResponse.FromString(one) for one in self.call(sent, timeout=30)]

    def outcome(self, name: str) -> float:
        """How many requests had an outcome, as the event loop has counted them."""
        registry = self.state.metrics.registry
        return registry.get_sample_value("turnout_ext_proc_requests_total", {"outcome": name}) or 0.0

    def counted(self, **expected: float) -> None:
        """Waits until requests had outcomes: they are counted when the gateway has its answers."""
        wait_until(lambda: {name: self.outcome(name) for name in expected} == expected)


def headers_of(response: Any) -> dict[str, str]:
    """What an answer sets."""
    part = getattr(response, response.WhichOneof("kind")).response
    return {one.header.key: one.header.raw_value.decode() for one in part.header_mutation.set_headers}


def removed_by(response: Any) -> list[str]:
    """The headers that an answer removes."""
    return list(getattr(response, response.WhichOneof("kind")).response.header_mutation.remove_headers)
