"""Server-sent events, as far as a relay needs them: where an event ends, and what its data is."""

from __future__ import annotations

import re

#: An event ends with an empty line; lines end as the sender likes.
_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
#: The data of the last event.
DONE = b"[DONE]"
#: Lines that an event stream may begin with, after a byte order mark.
_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?:data|event|id|retry)?:")

#: An event with a picture in base64 has some MB. Beyond this an answer is cut.
LONGEST_EVENT = 16 * 1024 * 1024


class EventTooLongError(Exception):
    """No event ended within :data:`LONGEST_EVENT` bytes."""


class EventBuffer:
    """Turns chunks that end anywhere into pieces of complete events."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def push(self, chunk: bytes) -> bytes:
        """The complete events so far that were not returned before; empty where there is none.

        Args:
            chunk: The next bytes of the stream.

        Raises:
            EventTooLongError: An event does not end.
        """
        # The usual case: a chunk is one event.
        if not self._parts and chunk.endswith(b"\n\n"):
            return chunk
        # An end may be split between two chunks, so the search includes the last bytes of the previous chunk.
        before = self._last_bytes(3)
        end = max(_after_last(before + chunk, mark) for mark in _ENDS) - len(before)
        if end <= 0:
            self._parts.append(chunk)
            self._size += len(chunk)
            if self._size > LONGEST_EVENT:
                raise EventTooLongError(f"an event has more than {LONGEST_EVENT:,} bytes")
            return b""
        piece = b"".join([*self._parts, chunk[:end]])
        self._parts = [chunk[end:]] if end < len(chunk) else []
        self._size = len(chunk) - end
        return piece

    def rest(self) -> bytes:
        """The beginning of an event that has not ended."""
        return b"".join(self._parts)

    def _last_bytes(self, count: int) -> bytes:
        tail = b""
        for part in reversed(self._parts):
            tail = part[-count:] + tail
            if len(tail) >= count:
                break
        return tail[-count:]


def is_event_stream(beginning: bytes) -> bool:
    """Whether bytes can be the beginning of an event stream.

    Example:
        >>> is_event_stream(b": keep-alive"), is_event_stream(b'{"error": {}}')
        (True, False)
    """
    return _BEGINNING.match(beginning) is not None


def events(piece: bytes) -> list[bytes]:
    """The data of each event in a piece of complete events; comments and events without data are left out.

    Example:
        >>> events(b": wait\\n\\ndata: a\\ndata: b\\n\\nid: 3\\r\\ndata:c\\r\\n\\r\\n")
        [b'a\\nb', b'c']
    """
    found: list[bytes] = []
    data: list[bytes] = []
    for line in _LINE_END.split(piece.removeprefix(_BYTE_ORDER_MARK)):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            found.append(b"\n".join(data))
            data = []
    return found


def split(piece: bytes) -> list[bytes]:
    """The events of a piece of complete events, each as it is.

    Example:
        >>> split(b": wait\\n\\nid: 3\\r\\ndata:c\\r\\n\\r\\n")
        [b': wait\\n\\n', b'id: 3\\r\\ndata:c\\r\\n\\r\\n']
    """
    ends = [found.end() for found in _EVENT_END.finditer(piece)]
    return [part for begin, end in zip([0, *ends], [*ends, len(piece)], strict=True) if (part := piece[begin:end])]


def with_data(event: bytes, data: bytes) -> bytes:
    """An event with other data in the place of its own; its other lines and its line ends stay.

    Args:
        event: One complete event that has data.
        data: The other data.

    Example:
        >>> with_data(b"id: 3\\r\\ndata: a\\r\\ndata: b\\r\\n\\r\\n", b"c")
        b'id: 3\\r\\ndata: c\\r\\n\\r\\n'
    """
    mark = _BYTE_ORDER_MARK if event.startswith(_BYTE_ORDER_MARK) else b""
    lines = _LINE.findall(event[len(mark) :])
    first = next(at for at, line in enumerate(lines) if line.startswith(b"data:"))
    end = lines[first][len(lines[first].rstrip(b"\r\n")) :]
    changed = [b"data: " + line + end for line in data.split(b"\n")]
    after = [line for line in lines[first:] if not line.startswith(b"data:")]
    return b"".join([mark, *lines[:first], *changed, *after])


def _after_last(text: bytes, mark: bytes) -> int:
    index = text.rfind(mark)
    return index + len(mark) if index >= 0 else 0
