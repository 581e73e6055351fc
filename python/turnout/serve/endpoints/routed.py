"""An endpoint that decides, calls the model and relays the answer."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from turnout.serve.cascade.answers import cascaded
from turnout.serve.cascade.verdict import Verdict
from turnout.serve.decisions.attempts import Served
from turnout.serve.decisions.planning import Plan
from turnout.serve.dialects import Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.endpoints.planner import plan
from turnout.serve.endpoints.relay import BodyHash, relay, send_failure
from turnout.serve.http.asgi import (
    ClientGone,
    RawHeaders,
    Receive,
    Scope,
    Send,
    UntilDisconnect,
    client_of,
    header,
    read_body,
    send_error,
    sending_until,
)
from turnout.serve.http.json_body import check_once, parse
from turnout.serve.receipts.recent import Decided
from turnout.serve.settings.tables import Settings
from turnout.serve.shadow.evaluation import Kept, may_be_shadowed
from turnout.serve.state import State
from turnout.serve.tracing import CallSpan
from turnout.serve.upstreams import headers as passing
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.upstream import Request
from turnout.serve.upstreams.usage import UNKNOWN

logger = logging.getLogger("turnout.serve")


class RoutedEndpoint:
    """An ASGI application.

    Args:
        state: The server's state.
        dialect: What requests and answers are written in.
    """

    def __init__(self, state: State, dialect: Dialect) -> None:
        self.state = state
        self.dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request_id = passing.request_id(header(scope, b"x-request-id")) or uuid.uuid4().hex
        response_headers: RawHeaders = [(b"x-request-id", request_id.encode())]
        try:
            body = await read_body(scope, receive, self.state.snapshot.settings.server.max_body_bytes)
        except ClientGone:
            return
        except ApiError as error:
            self.state.metrics.errors.labels(error.code).inc()
            # The connection stays open while the rest arrives and is dropped: closed at once, it would lose the answer.
            await send_error(send, error, response_headers, self.dialect, request_id)
            return
        try:
            async with UntilDisconnect(receive):
                with self.state.tracer.request(scope["headers"]):
                    await self._respond(body, scope, send, request_id, response_headers)
        except ClientGone:
            self.state.metrics.errors.labels("client_gone").inc()
        except ApiError as error:
            self.state.metrics.errors.labels(error.code).inc()
            await send_error(send, error, response_headers, self.dialect, request_id)

    async def _respond(
        self, body: bytes, scope: Scope, send: Send, request_id: str, response_headers: RawHeaders
    ) -> None:
        """Decides and answers."""
        allows_shadow = may_be_shadowed(scope)
        with self.state.tracer.deciding() as span:
            parsed = await parse(body)
            if self.state.needs_key:
                await check_once(body, self.dialect.references)
            is_stream = self.dialect.is_stream(parsed)
            # A reload may come while it is decided or answered: prices are those of the decision.
            settings = self.state.snapshot.settings
            planned = await plan(parsed, len(body), scope, self.dialect, self.state)
            span.decided(planned)
        decided = self.state.decided(planned, request_id) if self.dialect.is_logged else None
        response_headers += _decision_headers(planned)
        forwarded = passing.to_upstream(scope["headers"], self.dialect.request_headers)
        query = passing.query(scope["query_string"], self.dialect.query)
        reads_logprobs = decided is not None and self.state.changes.reads_logprobs
        request = Request(
            *(self.dialect, body, forwarded, is_stream, request_id),
            query=query,
            reads_logprobs=reads_logprobs,
        )
        continues = self.dialect.continues(parsed)
        with self.state.tracer.calling(planned, self.dialect, forwarded) as call:
            client = client_of(scope)
            await self._answer(
                planned,
                settings,
                request,
                send,
                response_headers,
                decided,
                call,
                continues,
                client,
                parsed,
                allows_shadow,
            )

    async def _answer(
        self,
        planned: Plan,
        settings: Settings,
        request: Request,
        send: Send,
        response_headers: RawHeaders,
        decided: Decided | None,
        call: CallSpan,
        continues: tuple[str, ...] = (),
        client: str = "",
        parsed: Mapping[str, Any] = MappingProxyType({}),
        allows_shadow: bool = True,
    ) -> None:
        began = time.perf_counter()
        if decided is not None:
            request = replace(request, timed_out=self.state.changes.timed_out)
        served: Served | None = None
        verdict = Verdict()
        kept: Kept | None = None
        # Where the client leaves, or the server stops, before the end of the answer.
        failure = "not_delivered"
        try:
            served = await cascaded(
                planned,
                request,
                parsed,
                self.state.metrics,
                settings.prices_of,
                verdict,
                falls_back_on_context_overflow=settings.server.fallback_on_context_overflow,
            )
            response_headers += _served_headers(served)
            if decided is not None and served.is_translated:
                decided.receipt["translation"] = "litellm"
            response_headers += verdict.headers()
            if self.dialect.is_logged:
                await self.state.served(planned, served.model, (served.answer.id, *continues), client)
            if decided is not None:
                kept = self.state.shadow.draw(self.state.snapshot, allowed=allows_shadow)
            with sending_until(served.answer.deadline, send) as sending:
                tapped = sending if kept is None else kept.tapped(sending)
                # A signature covers what the client got.
                hashed = None if decided is None or self.state.receipt_key is None else BodyHash(tapped)
                await relay(served.answer, hashed or tapped, response_headers, self.state.metrics)
            failure = served.answer.failure
            if decided is not None and not failure:
                self.state.changes.took(served.model, served.seconds)
                self.state.changes.delivered(served.model, served.answer)
            elif failure.endswith("_timeout"):
                request.timed_out(served.model)
            if hashed is not None and decided is not None:
                decided.receipt["response_sha256"] = hashed.hexdigest
            if kept is not None and decided is not None:
                shadowing = self.state.shadow.delivered(kept, planned, served, request, parsed, request.request_id)
                decided.receipt["shadow"] = await shadowing
            if self.dialect.is_logged:
                await self.state.relayed(planned, served.model, served.answer.usage)
        except UpstreamError as error:
            logger.warning("%s", error)
            self.state.metrics.errors.labels(f"upstream_{error.reason}").inc()
            call.failed(error.reason)
            failure = error.reason
            if served is not None:
                if error.is_timeout:
                    request.timed_out(served.model)
                raise
            await send_failure(send, error, response_headers, request)
        finally:
            if kept is not None:
                kept.close()
            if served is not None:
                call.answered(served)
                served.answer.close()
            model = served.model if served else None
            reason = served.fallback_reason if served else ""
            usage = served.answer.usage if served else UNKNOWN
            if decided is not None and served is not None and failure:
                decided.receipt["failure"] = failure
            seconds = time.perf_counter() - began
            self.state.answered(decided, planned, settings, model, reason, seconds, usage, verdict)


def _decision_headers(planned: Plan) -> RawHeaders:
    routed, found = planned.routed, []
    if routed is not None:
        found = [
            (b"x-turnout-router", passing.safe_value(routed.router.name)),
            *((name.encode(), value.encode("ascii", "replace")) for name, value in routed.headers().items()),
            (b"x-turnout-decision-us", b"%.1f" % (routed.seconds * 1e6)),
        ]
    if planned.rule:
        found.append((b"x-turnout-rule", planned.rule.encode()))
    if planned.pinned_for:
        found.append((b"x-turnout-pinned", ",".join(sorted(planned.pinned_for)).encode()))
    return found


def _served_headers(served: Served) -> RawHeaders:
    found = [(b"x-turnout-model", served.model.header)]
    if served.is_translated:
        found.append((b"x-turnout-translation", b"litellm"))
    if served.fallback_reason:
        found.append((b"x-turnout-fallback", passing.safe_value(served.fallback_reason)))
    return found
