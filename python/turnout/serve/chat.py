"""``POST /v1/chat/completions``: decide, ask, relay."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Any

from turnout.routing import needs_of
from turnout.serve import headers as passing
from turnout.serve.asgi import (
    ClientGone,
    RawHeaders,
    Receive,
    Scope,
    Send,
    header,
    read_body,
    send_error,
    send_whole,
    sending_until,
)
from turnout.serve.attempts import Served, ask
from turnout.serve.errors import ApiError
from turnout.serve.json_body import INLINE_BYTES, parse
from turnout.serve.planning import Plan, candidates, plan
from turnout.serve.recent import Decided
from turnout.serve.state import State
from turnout.serve.upstream import Answer, UpstreamError

logger = logging.getLogger("turnout.serve")


class ChatCompletions:
    """The endpoint, an ASGI application.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request_id = passing.request_id(header(scope, b"x-request-id")) or uuid.uuid4().hex
        told: RawHeaders = [(b"x-request-id", request_id.encode())]
        try:
            body = await read_body(scope, receive, self.state.snapshot.settings.server.max_body_bytes)
        except ClientGone:
            return
        except ApiError as error:
            await send_error(send, error, [*told, (b"connection", b"close")])
            return
        try:
            with self.state.tracer.span("turnout.decide") as span:
                planned = await self._plan(await parse(body), len(body), scope)
                _describe(span, planned)
            decided = self.state.decided(planned, request_id)
            told += _decision_headers(planned)
            async with _UntilDisconnect(receive):
                with self.state.tracer.span("turnout.answer") as span:
                    await self._answer(planned, body, scope, send, told, decided)
        except ClientGone:
            self.state.metrics.errors.labels("client_gone").inc()
        except ApiError as error:
            self.state.metrics.errors.labels(error.code).inc()
            await send_error(send, error, told)

    async def _plan(self, request: dict[str, Any], size: int, scope: Scope) -> Plan:
        """The plan of a request, and of its session where sessions stay with their model."""
        snapshot, affinity = self.state.snapshot, self.state.affinity
        planned = await plan(request, snapshot)
        routed = planned.routed
        if affinity is None or routed is None:
            return planned
        sent = header(scope, snapshot.settings.affinity.header.lower().encode())
        arguments = (sent, request["messages"], request["model"])
        # A long beginning is hashed on a worker thread, as it was parsed on one.
        if size > INLINE_BYTES:
            session = await asyncio.to_thread(affinity.session_of, *arguments)
        else:
            session = affinity.session_of(*arguments)
        if session is None:
            return planned
        known = affinity.recall(session)
        if known is not None and known != routed.is_strong:
            first = routed.pair.strong if known else routed.pair.weak
            planned = candidates(routed, needs_of(request), snapshot, first)
            self.state.metrics.affinity_hits.inc()
        affinity.remember(session, planned.candidates[0] is routed.pair.strong)
        return planned

    async def _answer(
        self, planned: Plan, body: bytes, scope: Scope, send: Send, told: RawHeaders, decided: Decided | None
    ) -> None:
        began = time.perf_counter()
        served: Served | None = None
        try:
            served = await ask(planned.candidates, body, passing.to_upstream(scope["headers"]), self.state.metrics)
            told += _served_headers(served)
            await self._relay(served.answer, sending_until(served.answer.deadline, send), told)
        except UpstreamError as error:
            logger.warning("%s", error)
            self.state.metrics.errors.labels(f"upstream_{error.reason}").inc()
            if served is not None:
                raise
            await _send_failure(send, error, told)
        finally:
            if served is not None:
                served.answer.close()
            name = served.model.name if served else None
            reason = served.fallback_reason if served else ""
            self.state.answered(decided, planned, name, reason, time.perf_counter() - began)

    async def _relay(self, answer: Answer, send: Send, told: RawHeaders) -> None:
        if answer.status in (401, 403):
            raise ApiError(502, "the upstream refused the key that the server has for it", code="upstream_unauthorized")
        relayed = [*passing.to_client(answer.headers.items()), *told]
        if not answer.is_stream and answer.is_whole:
            await send_whole(
                send, answer.status, relayed, answer.first if answer.status < 400 else answer.without_key()
            )
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": relayed})
        await send({"type": "http.response.body", "body": answer.first, "more_body": True})
        while True:
            try:
                chunk = await answer.next()
            except UpstreamError as error:
                if not answer.is_stream:
                    raise  # The connection closes before the announced end, which tells the client.
                logger.warning("%s after its answer had begun", error)
                self.state.metrics.errors.labels(f"stream_{error.reason}").inc()
                cut = ApiError(502, f"the stream was cut short: {error}", code="upstream_lost")
                chunk = b"\n\ndata: " + cut.body() + b"\n\n"
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = b""
            if not chunk:
                await send({"type": "http.response.body", "body": b""})
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


class _UntilDisconnect:
    """Cancels what runs inside when the client goes, and turns that into :class:`ClientGone`."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._watch = asyncio.ensure_future(self._disconnect())

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._watch.cancel()
        if self._gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise ClientGone from None

    async def _disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()


async def _send_failure(send: Send, error: UpstreamError, told: RawHeaders) -> None:
    """The last upstream's own words where it had some, else an error of the gateway."""
    answer = error.answer
    if answer is not None:
        await send_whole(send, answer.status, [*passing.to_client(answer.headers.items()), *told], answer.without_key())
        return
    status = {
        "overloaded": 429,
        "breaker_open": 503,
        "connect_timeout": 504,
        "first_byte_timeout": 504,
        "total_timeout": 504,
    }
    code = f"upstream_{error.reason}"
    found = ApiError(status.get(error.reason, 502), str(error), code=code, retry_after_s=error.retry_after_s)
    await send_error(send, found, told)


def _describe(span: Any, planned: Plan) -> None:
    if span is not None and planned.routed is not None:
        span.set_attribute("turnout.router", planned.routed.router.name)
        span.set_attribute("turnout.win_rate", planned.routed.decision.win_rate)
        span.set_attribute("turnout.threshold", planned.routed.decision.threshold)
        span.set_attribute("turnout.model", planned.routed.chosen.name)


def _decision_headers(planned: Plan) -> RawHeaders:
    routed = planned.routed
    if routed is None:
        return []
    found = [
        (b"x-turnout-router", passing.safe_value(routed.router.name)),
        (b"x-turnout-win-rate", repr(routed.decision.win_rate).encode()),
        (b"x-turnout-threshold", repr(routed.decision.threshold).encode()),
        (b"x-turnout-decision-us", b"%.1f" % (routed.seconds * 1e6)),
    ]
    if planned.pinned_for:
        found.append((b"x-turnout-pinned", ",".join(sorted(planned.pinned_for)).encode()))
    return found


def _served_headers(served: Served) -> RawHeaders:
    found = [(b"x-turnout-model", served.model.header)]
    if served.fallback_reason:
        found.append((b"x-turnout-fallback", passing.safe_value(served.fallback_reason)))
    return found
