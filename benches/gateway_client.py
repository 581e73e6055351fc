"""A gateway that asks Envoy's external processor about requests, over a few connections as Envoy does, and costs little itself.

HTTP/2 as far as gRPC on loopback needs it: the headers of all streams are the same bytes, because none of them enters a table of HPACK, and
those of the server are not read. Every answer is.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field

METHOD = ("envoy.service.ext_proc.v3.ExternalProcessor", "Process")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_WINDOW = 65_535
_FRAME = struct.Struct(">HBBBI")
#: Seconds without any answer after which a run has failed.
_PATIENCE_S = 60.0


def field_of(number: int, value: bytes | int) -> bytes:
    """A field of a protocol buffer: a number, or bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def fields_of(message: bytes) -> dict[int, list[bytes | int]]:
    """The fields of a protocol buffer, by number."""
    found: dict[int, list[bytes | int]] = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        if key & 7 == 2:
            found.setdefault(key >> 3, []).append(message[at : at + value])
            at += value
        else:
            assert key & 7 == 0, f"wire type {key & 7}"
            found.setdefault(key >> 3, []).append(value)
    return found


def outcome_of(answer: bytes, model: str) -> str:
    """Why an answer about a body changes nothing; empty for one that names the model, which is checked."""
    (response,) = fields_of(fields_of(answer)[3][0])[1]
    parts = fields_of(response)
    sent = [fields_of(fields_of(option)[1][0]) for one in parts.get(2, []) for option in fields_of(one)[1]]
    headers = {one[1][0]: one[3][0] for one in sent}
    if reason := headers.get(b"x-turnout-undecided"):
        return reason.decode()
    (body,) = fields_of(parts[3][0])[1]
    assert json.loads(body)["model"] == model
    if headers:
        assert headers == {b"x-turnout-model": model.encode(), b"content-length": str(len(body)).encode()}
    return ""


@dataclass
class Load:
    """What came of the requests of :func:`load`."""

    #: Seconds of each request: from its first message, from its body, and between when it was due and when it was sent.
    request: list[float] = field(default_factory=list)
    body: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    #: Those that went on without a decision, by reason.
    undecided: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class _Connection:
    """One connection, and the exchanges on it."""

    def __init__(self, port: int) -> None:
        self.socket = _connected(port)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # 4: the window of each stream. The connection's own is set with a window update.
        settings = struct.pack(">HI", 4, 1 << 20)
        window = struct.pack(">I", (1 << 31) - 1 - _WINDOW)
        self.socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window))
        self.received = b""
        self.next_stream = 1
        self.credit = _WINDOW
        self.waiting: deque[tuple[int, bytes]] = deque()
        #: By stream: when it began, when its body was sent, its messages so far, and their bytes that have no end yet.
        self.streams: dict[int, list] = {}

    def send(self, data_bytes: int, frames: bytes) -> None:
        """Sends frames as soon as the server has room for their data."""
        self.waiting.append((data_bytes, frames))
        self.flush()

    def flush(self) -> None:
        while self.waiting and self.waiting[0][0] <= self.credit:
            size, frames = self.waiting.popleft()
            self.credit -= size
            self.socket.sendall(frames)


class Client:
    """Asks about the same request again and again.

    Args:
        port: Of the server.
        connections: Number of connections, which take turns.
        messages: About the headers and about the body of the request.
        model: The model that every answer must name.
    """

    def __init__(self, port: int, connections: int, messages: tuple[bytes, bytes], model: str) -> None:
        self._connections = [_Connection(port) for _ in range(connections)]
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/" + "/".join(METHOD),
            ":authority": f"127.0.0.1:{port}",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._head = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
        self._messages = [b"\0" + struct.pack(">I", len(one)) + one for one in messages]
        self._model = model
        self._outcomes: dict[bytes, str] = {}
        self._load = Load()
        self._answered = 0

    def close(self) -> None:
        for one in self._connections:
            one.socket.close()

    def load(self, rate: float, requests: int) -> Load:
        """Sends requests at a fixed rate, whether or not earlier ones were answered, and waits for all of them."""
        self._load, self._answered = Load(), 0
        by_socket = {one.socket: one for one in self._connections}
        sent, now = 0, time.perf_counter()
        began = progress = now
        while self._answered < requests:
            due = began + sent / rate
            while sent < requests and now >= due:
                self._begin(self._connections[sent % len(self._connections)], now - due)
                sent += 1
                due, now = began + sent / rate, time.perf_counter()
            # Not epoll, which sleeps whole milliseconds.
            wait_s = max(due - now, 0.0) if sent < requests else 1.0
            readable, _, _ = select.select(list(by_socket), (), (), wait_s)
            for one in readable:
                self._receive(by_socket[one])
            now = time.perf_counter()
            progress = now if readable else progress
            assert now < progress + _PATIENCE_S, f"{requests - self._answered} requests have no answer"
        self._load.seconds = time.perf_counter() - began
        return self._load

    def _begin(self, connection: _Connection, late_s: float) -> None:
        stream, connection.next_stream = connection.next_stream, connection.next_stream + 2
        first = self._messages[0]
        self._load.late.append(late_s)
        connection.streams[stream] = [time.perf_counter(), 0.0, 0, b""]
        frames = _frame(_HEADERS, _END_HEADERS, stream, self._head) + _frame(_DATA, 0, stream, first)
        connection.send(len(first), frames)

    def _receive(self, connection: _Connection) -> None:
        received = connection.socket.recv(1 << 18)
        assert received, "the server closed a connection"
        data = connection.received + received
        at = 0
        while len(data) - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(data, at)
            end = at + 9 + (high << 8 | low)
            if len(data) < end:
                break
            self._frame(connection, kind, flags, stream, data[at + 9 : end])
            at = end
        connection.received = data[at:]

    def _frame(self, connection: _Connection, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == _DATA:
            assert not flags & _PADDED
            self._data(connection, stream, content)
        elif kind == _HEADERS and flags & _END_STREAM:
            self._end(connection, stream, "closed early")
        elif kind == _RESET:
            self._end(connection, stream, "reset")
        elif kind == _SETTINGS and not flags & _ACK:
            connection.socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            connection.socket.sendall(_frame(_PING, _ACK, 0, content))
        elif kind == _WINDOW_UPDATE and not stream:
            connection.credit += int.from_bytes(content, "big")
            connection.flush()
        assert kind != _GOAWAY, content

    def _data(self, connection: _Connection, stream: int, content: bytes) -> None:
        state = connection.streams[stream]
        message = state[3] + content
        if len(message) < 5 or len(message) < 5 + int.from_bytes(message[1:5], "big"):
            state[3] = message
            return
        state[3] = b""
        state[2] += 1
        if state[2] == 1:
            body = self._messages[1]
            state[1] = time.perf_counter()
            connection.send(len(body), _frame(_DATA, 0, stream, body))
            return
        assert state[2] == 2, "a third answer"
        ended = time.perf_counter()
        self._load.request.append(ended - state[0])
        self._load.body.append(ended - state[1])
        # All answers are the same bytes: each kind of them is read once.
        if message not in self._outcomes:
            assert message[0] == 0
            assert len(message) == 5 + int.from_bytes(message[1:5], "big")
            self._outcomes[message] = outcome_of(message[5:], self._model)
        if reason := self._outcomes[message]:
            self._load.undecided[reason] += 1
        connection.send(0, _frame(_DATA, _END_STREAM, stream, b""))

    def _end(self, connection: _Connection, stream: int, why: str) -> None:
        state = connection.streams.pop(stream, None)
        if state is None:
            return
        if state[2] < 2:
            self._load.undecided[f"gRPC {why}"] += 1
        self._answered += 1


def _connected(port: int) -> socket.socket:
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.05)


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return _FRAME.pack(len(content) >> 8, len(content) & 255, kind, flags, stream) + content


def _text(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
