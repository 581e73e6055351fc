"""Sessions: a turn, or a whole conversation, stays with the model that began it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnout.conversation import first_words, is_new_turn
from turnout.conversation.harness import Harness
from turnout.errors import RoutingError
from turnout.serve.asgi import Scope, header
from turnout.serve.dialects import Dialect
from turnout.serve.expiring import ExpiringMap
from turnout.serve.settings import SessionSettings


@dataclass(frozen=True)
class Session:
    """What a request belongs to."""

    key: bytes
    #: Whether the model that began it goes on; not at the beginning of a turn, where only turns stay.
    is_begun: bool
    #: ``turn`` or ``conversation``.
    kind: str


class Sessions:
    """Remembers the model of each session, by name.

    Args:
        settings: Of ``[sessions]``.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._headers = tuple(name.lower().encode() for name in settings.headers)
        self._models: ExpiringMap[bytes, str] = ExpiringMap(settings.most, settings.ttl_s)

    def of(
        self, request: Mapping[str, Any], dialect: Dialect, sent: bytes | None, prompt: str, harness: Harness
    ) -> Session | None:
        """The session of a request; ``None`` where sessions are off.

        Within one session a turn is told from others by the text that is judged: in a loop of tools it stays the same.

        Args:
            request: The body.
            dialect: What it is written in.
            sent: The client's own id, of :meth:`id_of`.
            prompt: The text that is judged.
            harness: Knows the text that agents add.

        Raises:
            RoutingError: Messages that cannot be read.
        """
        if self._settings.stay == "off":
            return None
        messages = dialect.messages(request)
        digest = hashlib.sha256()
        for part in (str(request["model"]).encode(), sent or b"", *self._begins(request, dialect, sent, harness)):
            digest.update(len(part).to_bytes(8, "big") + part)
        if self._settings.stay == "conversation":
            return Session(digest.digest(), True, "conversation")
        digest.update(prompt.encode("utf-8", "surrogatepass"))
        return Session(digest.digest(), not is_new_turn(messages, harness), "turn")

    def _begins(
        self, request: Mapping[str, Any], dialect: Dialect, sent: bytes | None, harness: Harness
    ) -> tuple[bytes, ...]:
        """The body's own id, and the user's first words, as several conversations may share an id; none where a header names the session."""
        if sent:
            return ()
        try:
            first = first_words(dialect.messages(request), harness)
        except RoutingError:  # Only what is judged must be readable.
            first = ""
        texts = (dialect.session_id(request), first)
        return tuple(text.encode("utf-8", "surrogatepass") for text in texts)

    def id_of(self, scope: Scope) -> bytes | None:
        """The session that a header of the client names.

        Args:
            scope: Of ASGI.
        """
        return next((found for name in self._headers if (found := header(scope, name))), None)

    def recall(self, session: Session) -> str | None:
        """The model that goes on; ``None`` where a router decides."""
        return self._models.get(session.key) if session.is_begun else None

    def remember(self, session: Session, model: str) -> None:
        """Keeps a session on a model.

        Args:
            session: The session.
            model: The model's name.
        """
        self._models.put(session.key, model)
