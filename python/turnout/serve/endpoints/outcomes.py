"""``POST /v1/outcomes``: what came of answered requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import InvalidInputError, InvalidTypeError, OverloadedError
from turnout.errors import OutcomeConflictError, OutcomesError
from turnout.outcomes import Outcomes
from turnout.outcomes.outcome import outcome_of
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.asgi import client_of, read_body
from turnout.serve.http.json_body import parse

if TYPE_CHECKING:
    from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")

#: Outcomes of one request.
_MOST_OUTCOMES = 1_000
#: Requests that may wait for the disk.
_MOST_WAITING = 256


class OutcomesEndpoint:
    """The endpoint.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        # SQLite has one writer at a time: more threads would only wait for each other.
        self._thread = ThreadPoolExecutor(1, "turnout-outcomes")
        self._waiting = 0

    async def record(self, request: Request) -> Response:
        """Records one outcome, or ``{"outcomes": [...]}``; answers when they are on the disk."""
        outcomes = self.state.outcomes
        if outcomes is None:
            raise ApiError(404, "no outcomes are kept; set path in [outcomes]", code="outcomes_off")
        body = await read_body(request.scope, request.receive, self.state.snapshot.settings.server.max_body_bytes)
        found = _outcomes(await parse(body))
        source = client_of(request.scope)
        if self._waiting >= _MOST_WAITING:
            raise ApiError(429, "too many outcomes wait for the disk; try again", code="overloaded", retry_after_s=1.0)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            recorded = await loop.run_in_executor(self._thread, _record, outcomes, found, source)
        finally:
            self._waiting -= 1
        for name, count in recorded.items():
            self.state.metrics.outcomes.labels(name).inc(count)
        for one in map(outcome_of, found):
            self.state.changes.outcome(one)
        return JSONResponse({"object": "outcomes", **recorded})


def _record(outcomes: Outcomes, found: Sequence[Mapping[str, Any]], source: str) -> dict[str, int]:
    try:
        return outcomes.record_many(found, source=source)._asdict()
    except OutcomeConflictError as error:
        raise ApiError(409, str(error), code="outcome_conflict", param="receipt_id") from None
    except (InvalidInputError, InvalidTypeError) as error:
        raise ApiError(400, str(error), code="invalid_outcome", param=error.argument) from None
    except OverloadedError as error:
        raise ApiError(429, str(error), code="overloaded", retry_after_s=1.0) from None
    except OutcomesError as error:
        logger.error("%s", error)
        is_full = error.limit is not None
        message = "the database of outcomes is full" if is_full else "the outcomes could not be stored; see the log"
        raise ApiError(507 if is_full else 500, message, code="outcomes_failed") from None


def _outcomes(found: dict[str, Any]) -> list[dict[str, Any]]:
    if "outcomes" not in found:
        return [found]
    many = found["outcomes"]
    if not isinstance(many, list) or len(found) > 1:
        raise ApiError(
            400, "expected one outcome, or outcomes alone with an array", code="invalid_type", param="outcomes"
        )
    if len(many) > _MOST_OUTCOMES:
        raise ApiError(
            400,
            f"outcomes has {len(many)} items, expected at most {_MOST_OUTCOMES}",
            code="invalid_value",
            param="outcomes",
        )
    return many
