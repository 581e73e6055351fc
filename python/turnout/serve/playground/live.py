"""The last decisions, sent as they are made (server-sent events)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from turnout.serve.dialects.errors import ApiError
from turnout.serve.receipts.recent import Decided

if TYPE_CHECKING:
    from turnout.serve.state import State

#: Decisions of the first event, and of any later one.
_LAST = 300
#: Pages that may watch at a time.
_MAX_WATCHERS = 64
#: Between two events, so that a busy server does not flood a page.
_PAUSE_S = 0.25
#: How long nothing may happen before a comment keeps the connection alive, and how soon a shutdown is noticed.
_QUIET_S = 1.0
#: Of a receipt: no hash of a prompt and no request id leaves through here.
_FIELDS = (
    "time", "router", "model", "is_strong", "win_rate", "threshold", "success", "expected_cost", "decision_us", "served", "fallback",
)  # fmt: skip


class Live:
    """``GET /playground/api/decisions``.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._watchers = 0

    async def answer(self, request: Request) -> Response:
        """Events ``{"count", "decisions": [...]}``, the oldest decision first; ends when the server shuts down.

        A decision comes again, with the same ``number``, when its answer has ended: ``served`` then has the model that
        answered, and ``fallback`` the reason where that is not the chosen one.

        Raises:
            ApiError: 429 where too many pages watch already.
        """
        if self._watchers >= _MAX_WATCHERS:
            raise ApiError(429, "too many open pages of this server", code="overloaded", retry_after_s=5.0)
        return StreamingResponse(self._events(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _events(self) -> AsyncIterator[bytes]:
        recent, seen = self.state.recent, 0
        was_ready = self.state.is_ready
        self._watchers += 1
        try:
            while self.state.is_ready or not was_ready:
                found, seen = recent.since(seen, _LAST), recent.revision
                yield _event(recent.count, found)
                await asyncio.sleep(_PAUSE_S)
                while self.state.is_ready or not was_ready:
                    try:
                        await asyncio.wait_for(recent.next_revision(seen), _QUIET_S)
                        break
                    except asyncio.TimeoutError:
                        yield b": still here\n\n"
        finally:
            self._watchers -= 1


def _event(count: int, found: list[Decided]) -> bytes:
    decisions = [{"number": one.number, **{field: one.receipt.get(field) for field in _FIELDS}} for one in found]
    return b"data: " + json.dumps({"count": count, "decisions": decisions}).encode() + b"\n\n"
