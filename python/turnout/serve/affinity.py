"""Session affinity: a conversation stays with its first model, whose provider has the beginning in its prompt cache."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from turnout.conversation.messages import is_user, words_of
from turnout.errors import RoutingError
from turnout.serve.errors import ApiError
from turnout.serve.settings import AffinitySettings


class Affinity:
    """Remembers for each session whether it went to the strong model; the least recently used go first.

    Args:
        settings: Of ``[affinity]``.
        clock: Seconds that never run backwards, for tests.
    """

    def __init__(self, settings: AffinitySettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._sessions: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()

    def session_of(self, header: bytes | None, messages: Sequence[Mapping[str, Any]], model: str) -> bytes | None:
        """The key of a request's session; ``None`` if it has none.

        Args:
            header: Value of the configured header.
            messages: The conversation; everything up to the first words of the user identifies it.
            model: The model name of the request; another router or threshold is another session.
        """
        if self._settings.by == "header":
            return hashlib.sha256(model.encode() + b"\0" + header).digest() if header else None
        for place, message in enumerate(messages):
            if is_user(message) and _has_words(message, place):
                return hashlib.sha256(model.encode() + b"\0" + _json(messages[: place + 1])).digest()
        return None

    def recall(self, session: bytes) -> bool | None:
        """Whether the session's model is the strong one; ``None`` for a new session."""
        found = self._sessions.get(session)
        if found is None or found[1] < self._clock():
            self._sessions.pop(session, None)
            return None
        return found[0]

    def remember(self, session: bytes, is_strong: bool) -> None:
        """Keeps the session on a model for another ``ttl_s`` seconds."""
        self._sessions[session] = (is_strong, self._clock() + self._settings.ttl_s)
        self._sessions.move_to_end(session)
        while len(self._sessions) > self._settings.sessions:
            self._sessions.popitem(last=False)


def _has_words(message: Mapping[str, Any], place: int) -> bool:
    """Whether a user message holds more than results of tools. One that cannot be read is not routed on, but identifies its session."""
    try:
        return words_of(message, place) is not None
    except RoutingError:
        return True


def _json(messages: Sequence[Mapping[str, Any]]) -> bytes:
    try:
        return orjson.dumps(messages)
    except TypeError:
        raise ApiError(400, "messages are nested too deeply", code="invalid_json", param="messages") from None
