"""Adds ``discarded`` to the ``usage`` of an answer: what the answers before it took, which were discarded. All other bytes stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from turnout.serve.cascade.verdict import Verdict
from turnout.serve.dialects import MESSAGES, RESPONSES, Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.dialects.judging import BYTE_ORDER_MARK
from turnout.serve.dialects.sse import events, split, with_data
from turnout.serve.http.json_body import beside_the_loop, set_fields, set_fields_of
from turnout.serve.upstreams.answer import Answer, EventRelay
from turnout.serve.upstreams.usage import usage_of

#: Events of Responses that end an answer.
_ENDS = ("response.completed", "response.incomplete", "response.failed")


async def with_discarded(answer: Answer, dialect: Dialect, verdict: Verdict) -> Answer:
    """An answer whose ``usage`` also says what the discarded ones took.

    In streams the events that have ``usage`` get it: the chunk of ``stream_options.include_usage``, ``message_delta`` and
    ``response.completed``. An answer that the server does not read whole (more than 4 MiB) stays as it is.

    Args:
        answer: The answer that is served.
        dialect: What it is written in.
        verdict: Has the discarded answers.
    """
    if answer.status != 200:
        return answer
    if isinstance(answer.rest, EventRelay):
        added = _Added(dialect, verdict)
        answer.rest.edit = added
        return replace(answer, first=added(answer.first))
    if answer.rest is not None:
        return answer
    return await beside_the_loop(len(answer.first), lambda: _whole(answer, verdict))


def _whole(answer: Answer, verdict: Verdict) -> Answer:
    first = answer.first
    found = orjson.loads(first.removeprefix(BYTE_ORDER_MARK))
    if not isinstance(found.get("usage"), dict):
        return answer
    try:
        return replace(answer, first=set_fields(first, _field(verdict.discarded(answer.usage))))
    except ApiError:
        # ``usage`` occurs twice: the receipt has it.
        return answer


class _Added:
    """Adds it to the events of a stream."""

    def __init__(self, dialect: Dialect, verdict: Verdict) -> None:
        self._dialect = dialect
        self._verdict = verdict

    def __call__(self, piece: bytes) -> bytes:
        """The piece of complete events, with what was added."""
        if b'"usage"' not in piece:
            return piece
        return b"".join(self._event(one) if b'"usage"' in one else one for one in split(piece))

    def _event(self, event: bytes) -> bytes:
        for data in events(event):
            try:
                found = orjson.loads(data)
                changed = self._changed(data, found) if isinstance(found, dict) else None
            except (orjson.JSONDecodeError, ApiError):
                changed = None
            if changed is not None:
                return with_data(event, changed)
        return event

    def _changed(self, data: bytes, found: Mapping[str, Any]) -> bytes | None:
        inner, kind = found, found.get("type")
        if self._dialect.name == RESPONSES.name:
            response = found.get("response")
            inner = response if kind in _ENDS and isinstance(response, dict) else {}
        elif self._dialect.name == MESSAGES.name and kind != "message_delta":
            return None
        if not isinstance(inner.get("usage"), dict):
            return None
        fields = _field(self._verdict.discarded(usage_of(found)))
        return set_fields(data, fields) if inner is found else set_fields_of(data, "response", fields)


def _field(discarded: list[dict[str, Any]]) -> dict[str, Any]:
    return {"usage": {"discarded": discarded}}
