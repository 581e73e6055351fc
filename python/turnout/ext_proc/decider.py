"""From a request that a gateway holds to what it goes on with. Whatever fails, the request goes on as it came."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from turnout.serve.decisions.efforts import body_for
from turnout.serve.dialects import CHAT, COUNT_TOKENS, MESSAGES, RESPONSES, Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.endpoints.planner import plan
from turnout.serve.http.asgi import RawHeaders, client_of, header
from turnout.serve.http.json_body import parse
from turnout.serve.http.timeout import Timeout
from turnout.serve.rare_log import RareLog
from turnout.serve.state import State
from turnout.serve.upstreams import headers as passing
from turnout.serve.upstreams.error import UpstreamError

logger = logging.getLogger("turnout.ext_proc")

#: The header of the gateway's request that has the reason why nothing was decided.
UNDECIDED = "x-turnout-undecided"
#: Outcomes, besides the codes of :class:`~turnout.serve.dialects.errors.ApiError`.
DECIDED, OTHER_PATH = "decided", "other_path"
_DIALECTS = (COUNT_TOKENS, MESSAGES, CHAT, RESPONSES)
_SECONDS = (100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.1, 0.25, 1.0)


@dataclass(frozen=True)
class Verdict:
    """What a request goes on with."""

    #: Headers to set.
    headers: tuple[tuple[str, bytes], ...] = ()
    #: ``None`` for the body that came.
    body: bytes | None = None


def dialect_of(method: bytes, path: bytes) -> Dialect | None:
    """What the body of a request is written in, by the end of its path: gateways put prefixes before it. ``None`` for other requests.

    Args:
        method: Of HTTP.
        path: With the query.

    Example:
        >>> dialect_of(b"POST", b"/openai/v1/chat/completions?x=1").name
        'chat'
        >>> dialect_of(b"GET", b"/v1/models")
    """
    if method != b"POST":
        return None
    end = path.partition(b"?")[0].rstrip(b"/")
    return next((one for one in _DIALECTS if end.endswith(one.path.encode())), None)


class Decider:
    """Decides as the server does, and counts what came of it.

    Args:
        state: The state of a server, whose upstreams are not called.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.settings = state.snapshot.settings.ext_proc
        registry = state.metrics.registry
        self._outcomes = Counter(
            "turnout_ext_proc_requests",
            "Requests of gateways: decided, other_path, or why they went on unchanged.",
            ["outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "turnout_ext_proc_seconds",
            "Time from the whole body of a request to its decision.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._rare = RareLog(logger)

    async def decide(self, dialect: Dialect, headers: RawHeaders, body: bytes) -> Verdict:
        """Decides for one request within the deadline.

        Args:
            dialect: What the body is written in.
            headers: Of the request, names in lower case.
            body: The whole body.
        """
        began = time.perf_counter()
        timeout = Timeout()
        try:
            with timeout.at(asyncio.get_running_loop().time() + self.settings.deadline_ms / 1e3):
                found = await self._decide(dialect, headers, body)
        except ApiError as error:
            return self.unchanged(error.code)
        except UpstreamError as error:
            return self.unchanged(error.reason)
        except TimeoutError:
            return self.unchanged("deadline")
        except Exception as error:
            # Without its text, which may quote the request.
            logger.error("unexpected %s while deciding", type(error).__name__, exc_info=logger.isEnabledFor(10))
            return self.unchanged("internal_error")
        finally:
            timeout.close()
        self._seconds.observe(time.perf_counter() - began)
        self._outcomes.labels(DECIDED).inc()
        return found

    def unchanged(self, reason: str) -> Verdict:
        """For a request that goes on as it came.

        Args:
            reason: Why; :data:`OTHER_PATH` is nothing to report.
        """
        self._outcomes.labels(reason).inc()
        if reason == OTHER_PATH:
            return Verdict()
        self._rare.add(f"%d requests went on without a decision: {reason}%s", "")
        return Verdict(((UNDECIDED, passing.safe_value(reason)),))

    async def _decide(self, dialect: Dialect, headers: RawHeaders, body: bytes) -> Verdict:
        state, scope = self.state, {"headers": headers}
        request_id = passing.request_id(header(scope, b"x-request-id")) or uuid.uuid4().hex
        parsed = await parse(body)
        settings = state.snapshot.settings
        planned = await plan(parsed, len(body), scope, dialect, state)
        model = planned.candidates[0]
        try:
            # In every case: a body that names two models is not decided for.
            changed = await body_for(model, body, dialect)
        except asyncio.CancelledError:
            if dialect.is_logged:
                state.decided_only(planned, settings, request_id, "deadline")
            raise
        if dialect.is_logged:
            await state.decided_for_another(planned, settings, request_id, dialect.continues(parsed), client_of(scope))
        return Verdict(
            ((self.settings.model_header, model.header),),
            changed if self.settings.rewrite_body and changed != body else None,
        )
