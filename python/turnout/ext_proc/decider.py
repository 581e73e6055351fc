"""From a request that a gateway holds to what it goes on with. Whatever fails, the request goes on as it came."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from prometheus_client import Counter, Histogram

from turnout._core import ExtProcRequest
from turnout.serve.decisions.efforts import body_for
from turnout.serve.dialects import CHAT, COMPACT, COUNT_INPUT_TOKENS, COUNT_TOKENS, MESSAGES, RESPONSES
from turnout.serve.dialects.errors import ApiError
from turnout.serve.endpoints.planner import plan
from turnout.serve.http.asgi import client_of, header
from turnout.serve.http.json_body import parse
from turnout.serve.http.timeout import Timeout
from turnout.serve.rare_log import RareLog
from turnout.serve.state import State
from turnout.serve.upstreams import headers as passing
from turnout.serve.upstreams.error import UpstreamError

logger = logging.getLogger("turnout.ext_proc")

#: Outcomes, besides the codes of :class:`~turnout.serve.dialects.errors.ApiError`.
DECIDED, OTHER_PATH, GATEWAY_GONE = "decided", "other_path", "gateway_gone"
#: What bodies are written in, by the end of their path: gateways put prefixes before it. The first that fits counts.
DIALECTS = (COUNT_TOKENS, MESSAGES, CHAT, COUNT_INPUT_TOKENS, COMPACT, RESPONSES)
_SECONDS = (100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.1, 0.25, 1.0)


class Decider:
    """Decides as the server does, and counts what came of it.

    Args:
        state: The state of a server, whose upstreams are not called.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        settings = state.snapshot.settings.ext_proc
        self._rewrites_body, self._deadline_s = settings.rewrite_body, settings.deadline_ms / 1e3
        registry = state.metrics.registry
        self._outcomes = Counter(
            "turnout_ext_proc_requests",
            "Requests of gateways: decided, other_path, gateway_gone, or why they went on unchanged.",
            ["outcome"],
            registry=registry,
        )
        self._decided = self._outcomes.labels(DECIDED)
        self._seconds = Histogram(
            "turnout_ext_proc_seconds",
            "Time from the whole body of a request to its decision.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._rare = RareLog(logger)

    async def decide(self, request: ExtProcRequest) -> None:
        """Decides for one request within the deadline, which began when its body came, and answers it.

        A request whose gateway gave up, or that went on without a decision, is not counted here: the server has counted it.

        Args:
            request: A request of a gateway; its path is one of :data:`DIALECTS`.
        """
        waited_s = request.waited_s
        began = time.perf_counter() - waited_s
        timeout = Timeout()
        try:
            if waited_s >= self._deadline_s:
                raise TimeoutError
            with timeout.at(asyncio.get_running_loop().time() + self._deadline_s - waited_s):
                found = await self._decide(request)
        except ApiError as error:
            reason = error.code
        except UpstreamError as error:
            reason = error.reason
        except TimeoutError:
            reason = "deadline"
        except Exception as error:
            # Without its text, which may quote the request.
            logger.error("unexpected %s while deciding", type(error).__name__, exc_info=logger.isEnabledFor(10))
            reason = "internal_error"
        else:
            if found is not None and request.decided(*found):
                self._seconds.observe(time.perf_counter() - began)
                self._decided.inc()
            return
        finally:
            timeout.close()
        if request.unchanged(passing.safe_value(reason)):
            self.unchanged(reason)

    def unchanged(self, reason: str, count: int = 1) -> None:
        """Counts requests that go on as they came.

        Args:
            reason: Why; :data:`OTHER_PATH` and :data:`GATEWAY_GONE` are nothing to report.
            count: How many.
        """
        self._outcomes.labels(reason).inc(count)
        if reason not in (OTHER_PATH, GATEWAY_GONE):
            self._rare.add(f"%d requests went on without a decision: {reason}%s", "", count)

    async def _decide(self, request: ExtProcRequest) -> tuple[bytes, bytes | None] | None:
        """The value of the header, and the body where it changes. Where the gateway gave up, nothing is logged and no session stays with a model."""
        dialect, body, state = DIALECTS[request.path], request.body, self.state
        scope = {"headers": request.headers}
        request_id = passing.request_id(header(scope, b"x-request-id")) or uuid.uuid4().hex
        parsed = await parse(body)
        settings = state.snapshot.settings
        planned = await plan(parsed, len(body), scope, dialect, state)
        model = planned.candidates[0]
        try:
            # In every case: a body that names two models is not decided for.
            changed = await body_for(model, body, dialect)
        except asyncio.CancelledError:
            if dialect.is_logged and not request.is_abandoned:
                state.decided_only(planned, settings, request_id, "deadline")
            raise
        if request.is_abandoned:
            return None
        if dialect.is_logged:
            await state.decided_for_another(planned, settings, request_id, dialect.continues(parsed), client_of(scope))
        return model.header, changed if self._rewrites_body and changed != body else None
