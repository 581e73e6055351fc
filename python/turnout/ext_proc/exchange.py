"""The conversation with a gateway about one HTTP request."""

from __future__ import annotations

from typing import Any

from turnout.ext_proc.decider import OTHER_PATH, UNDECIDED, Decider, Verdict, dialect_of
from turnout.ext_proc.messages import (
    BUFFERED,
    FULL_DUPLEX_STREAMED,
    NONE,
    OVERWRITE,
    SKIP,
    STREAMED,
    ProcessingResponse,
)
from turnout.serve.dialects import Dialect
from turnout.serve.http.asgi import RawHeaders

#: Bytes of one piece of a streamed body; Envoy accepts less than 64 KiB.
_PIECE = 60 * 1024


class ProtocolError(Exception):
    """The gateway sent what the protocol does not have at this point."""


class Exchange:
    """Answers the messages about one request.

    In the mode ``BUFFERED`` the body comes in one message. In ``FULL_DUPLEX_STREAMED`` it comes in pieces, all of which are held with the
    headers until the decision. In ``STREAMED`` and ``BUFFERED_PARTIAL`` only a body that comes in one piece is read: pieces that were
    passed on cannot be changed any more, and pieces that were held back would be lost with trailers.

    The HTTP answer passes unchanged. The first answer asks the gateway not to send it, nor a body that is not read: a gateway that allows
    its mode to be overridden then has no more messages for the exchange, and ends it before the model has answered. The gateway ends the
    exchange: not every gateway goes on with a request whose exchange was closed.

    Args:
        decider: Decides.
    """

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._mode: int | None = None
        self._is_duplex = self._is_answer_duplex = False
        self._dialect: Dialect | None = None
        self._headers: RawHeaders = []
        self._has_begun = False
        #: Headers of the answers that the client sent.
        self._forged: list[str] = []
        self._pieces: list[bytes] = []
        self._held = 0
        #: Whether what comes of the request goes on as it comes: after the decision, or without one.
        self.is_passing = False

    async def answer(self, message: Any) -> list[Any]:
        """The answers to one message, after those to earlier ones that waited for it.

        Args:
            message: A ``ProcessingRequest``.

        Raises:
            ProtocolError: It does not belong here.
        """
        kind = message.WhichOneof("kind")
        if kind is None or (kind == "request_headers") == self._has_begun:
            raise ProtocolError(kind)
        if kind == "request_headers":
            return self._begin(message)
        if kind == "request_body":
            return await self._body(message.request_body.body, message.request_body.end_of_stream)
        if kind == "request_trailers":
            before = [] if self.is_passing or not self._is_duplex else await self._body(b"", False, is_last=True)
            return [*before, ProcessingResponse(request_trailers={})]
        if kind == "response_body" and self._is_answer_duplex:
            return _streamed(kind, message.response_body.body, message.response_body.end_of_stream)
        return [ProcessingResponse(**{kind: {}})]

    @property
    def is_holding(self) -> bool:
        """Whether a request waits for the rest of its body, which comes in pieces."""
        return self._has_begun and self._is_duplex and not self.is_passing

    def give_up(self) -> list[Any]:
        """The answers for a request whose body takes too long: it goes on without a decision, as far as it came."""
        self.is_passing = True
        body = b"".join(self._pieces)
        self.close()
        before = [self._with_headers(self._decider.unchanged("body_timeout"))]
        return [*before, *(_streamed("request_body", body, False) if body else [])]

    def close(self) -> None:
        """Releases what is held."""
        self._decider.state.bodies.give_back(self._held)
        self._held = 0
        self._pieces = []

    def _begin(self, message: Any) -> list[Any]:
        self._has_begun = True
        self._headers = [
            (one.key.lower().encode(), one.raw_value or one.value.encode())
            for one in message.request_headers.headers.headers
        ]
        sent = dict(reversed(self._headers))
        model_header = self._decider.settings.model_header
        self._forged = [name for name in (model_header, UNDECIDED) if name.encode() in sent]
        if message.HasField("protocol_config"):
            self._mode = message.protocol_config.request_body_mode
            self._is_duplex = self._mode == FULL_DUPLEX_STREAMED
            self._is_answer_duplex = message.protocol_config.response_body_mode == FULL_DUPLEX_STREAMED
        self._dialect = dialect_of(sent.get(b":method", b""), sent.get(b":path", b""))
        reason = self._why_not(sent, message.request_headers.end_of_stream)
        if not reason:
            return [] if self._is_duplex else [self._first(Verdict())]
        self.is_passing = True
        return [self._first(self._decider.unchanged(reason))]

    def _first(self, verdict: Verdict) -> Any:
        """The answer to the headers before the body comes, with what the gateway should send of the rest."""
        found = self._with_headers(verdict)
        # Without the mode of the gateway, an override might turn on what it does not send; one of full duplex needs trailers too.
        if self._mode is not None and not self._is_duplex and not self._is_answer_duplex:
            found.mode_override.response_header_mode = SKIP
            found.mode_override.request_body_mode = NONE if self.is_passing else self._mode
        return found

    def _why_not(self, sent: dict[bytes, bytes], is_empty: bool) -> str:
        """Why nothing is decided for a request, by its headers; empty if something is."""
        if self._dialect is None:
            return OTHER_PATH
        if is_empty or self._mode == NONE:
            return "no_body"
        if sent.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            return "invalid_content_encoding"
        if self._mode == STREAMED and not self._decider.settings.rewrite_body:
            return "streamed"  # Headers go on before the body comes.
        return ""

    async def _body(self, piece: bytes, is_end: bool, *, is_last: bool = False) -> list[Any]:
        """Answers a piece of the body.

        Args:
            piece: The piece.
            is_end: Whether the request ends with it.
            is_last: Whether the body ends with it, though trailers follow.
        """
        if self.is_passing:
            return (
                _streamed("request_body", piece, is_end) if self._is_duplex else [ProcessingResponse(request_body={})]
            )
        self._pieces.append(piece)
        is_whole = is_end or is_last or self._mode == BUFFERED
        if reason := self._hold(len(piece)):
            verdict = self._decider.unchanged(reason)
        elif is_whole and self._dialect is not None:
            verdict = await self._decider.decide(self._dialect, self._headers, b"".join(self._pieces))
        elif self._is_duplex:
            return []
        else:
            verdict = self._decider.unchanged("streamed")
        self.is_passing = True
        body = b"".join(self._pieces) if verdict.body is None else verdict.body
        self.close()
        if self._is_duplex:
            return [self._with_headers(verdict), *_streamed("request_body", body, is_end)]
        response = self._changes(verdict)
        if verdict.body is not None:
            response["body_mutation"] = {"body": verdict.body}
        return [ProcessingResponse(request_body={"response": response})]

    def _hold(self, size: int) -> str:
        """Counts bytes that are held; why they may not be."""
        state = self._decider.state
        if self._held + size > state.snapshot.settings.server.max_body_bytes:
            return "body_too_large"
        if not state.bodies.take(size):
            return "overloaded"
        self._held += size
        return ""

    def _with_headers(self, verdict: Verdict) -> Any:
        return ProcessingResponse(request_headers={"response": self._changes(verdict)})

    def _changes(self, verdict: Verdict) -> dict[str, Any]:
        """The changes of headers. Those that the client sent under the same names are removed, and no route is kept that they led to."""
        headers = list(verdict.headers)
        if verdict.body is not None and any(name == b"content-length" for name, _ in self._headers):
            headers.append(("content-length", str(len(verdict.body)).encode()))
        names = {name for name, _ in headers}
        forged = [name for name in self._forged if name not in names]
        if not headers and not forged:
            return {}
        return {
            "header_mutation": {
                "set_headers": [
                    {"header": {"key": name, "raw_value": value}, "append_action": OVERWRITE} for name, value in headers
                ],
                "remove_headers": forged,
            },
            "clear_route_cache": True,
        }


def _streamed(kind: str, body: bytes, is_end: bool) -> list[Any]:
    """A body in pieces, the last one with the end of the request or answer."""
    found = []
    for start in range(0, max(len(body), 1), _PIECE):
        piece = {"body": body[start : start + _PIECE], "end_of_stream": is_end and start + _PIECE >= len(body)}
        found.append(ProcessingResponse(**{kind: {"response": {"body_mutation": {"streamed_response": piece}}}}))
    return found
