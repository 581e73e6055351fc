"""Sessions: a turn, or a whole conversation, stays with the model that began it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnout.conversation import first_words, has_answer, is_new_turn
from turnout.conversation.harness import Harness
from turnout.serve.dialects import Dialect
from turnout.serve.http.asgi import Scope, client_of
from turnout.serve.sessions.cached import Cached
from turnout.serve.sessions.store import SessionStore
from turnout.serve.settings.tables import SessionSettings
from turnout.serve.upstreams.usage import Usage


@dataclass(frozen=True)
class Session:
    """What a request belongs to."""

    #: Hashes of what is in the request: a store holds no text of it.
    key: str
    #: Of the client's own id, where it names one: what goes on after a summary of the conversation is found by it.
    id_key: str | None
    #: Whether the model that began it continues; not at its first request, unless a header names it.
    is_begun: bool
    #: ``turn`` or ``conversation``.
    kind: str
    #: Of what is known of the conversation's cache; empty where the model does not change between turns.
    cache_key: str = ""


class Sessions:
    """Remembers the model of each session, by name.

    Args:
        settings: Of ``[sessions]``.
        store: Where they are kept.
        keeps_caches: Whether decisions depend on what providers have cached.
    """

    def __init__(
        self, settings: SessionSettings, store: SessionStore, keeps_caches: Callable[[], bool] = lambda: True
    ) -> None:
        self._settings = settings
        self._keeps_caches = keeps_caches
        self._store = store
        self._headers = tuple(name.lower().encode() for name in settings.headers)
        self._names = frozenset(self._headers)

    def of(
        self, request: Mapping[str, Any], dialect: Dialect, scope: Scope, prompt_sha256: str, harness: Harness
    ) -> Session | None:
        """The session of a request; ``None`` where sessions are off.

        Within one session turns are distinguished by the text that is judged: in a loop of tools it stays the same.

        Args:
            request: The body.
            dialect: What it is written in.
            scope: Of ASGI; a header may name the session, which is of the client whose key was sent.
            prompt_sha256: SHA-256 of the text that is judged, hexadecimal.
            harness: Knows the text that agents add.

        Returns:
            The session, or ``None``.

        Raises:
            RoutingError: The last message of the user cannot be read.
        """
        if self._settings.stay == "off":
            return None
        messages, sent = dialect.messages(request), self._id_of(scope)
        client, model, body_id = client_of(scope), str(request["model"]), dialect.session_id(request)
        id_key = _digest(client, model, sent or b"", body_id) if sent or body_id else None
        # A header names one session. A user, or a key of a cache, may have several conversations.
        first = first_words(messages, harness)
        key = _digest(client, model, sent or b"", *(() if sent else (body_id, first)))
        if self._settings.stay == "conversation":
            # Many conversations begin with the same words.
            return Session(key, None, bool(sent) or has_answer(messages), "conversation")
        if id_key and not first:
            return Session(id_key, None, True, "turn")
        # Of hashes, a half is enough.
        turn = key[: len(key) // 2] + prompt_sha256[: len(key) // 2]
        # Agents within one session have conversations, and so caches, of their own.
        cache_key = f"{_digest(key, first) if sent else key}:cache"
        return Session(turn, id_key, not is_new_turn(messages, harness), "turn", cache_key)

    def _id_of(self, scope: Scope) -> bytes | None:
        """The session that a header of the client names. Of a header that comes twice the first one counts."""
        found = {name: value for name, value in reversed(scope["headers"]) if name in self._names}
        return next((found[name] for name in self._headers if found.get(name)), None)

    async def recall(self, session: Session | None) -> tuple[str | None, Cached | None]:
        """What is known of a session, with one call of the store.

        Args:
            session: Of a request; ``None`` where sessions are off.

        Returns:
            The model that continues, ``None`` where a router decides; and what the conversation's last answer said of the provider's cache.
        """
        if session is None:
            return None, None
        begun = [key for key in (session.key, session.id_key) if key] if session.is_begun else []
        keys = [*begun, *([session.cache_key] if session.cache_key and self._keeps_caches() else [])]
        if not keys:
            return None, None
        found = await self._store.get(keys)
        cached = Cached.read(found[-1]) if len(keys) > len(begun) else None
        return next((model for model in found[: len(begun)] if model), None), cached

    async def remember(self, session: Session | None, model: str) -> None:
        """Keeps a session on a model.

        Args:
            session: Of the request.
            model: The model's name.
        """
        if session is not None:
            await self._store.put({key: model for key in (session.key, session.id_key) if key})

    async def keep(self, session: Session | None, model: str, usage: Usage) -> None:
        """Keeps what an answer says of the provider's cache, where decisions depend on it.

        Args:
            session: Of the request.
            model: Name of the model that answered.
            usage: Tokens of the answer.
        """
        if session is not None and session.cache_key and self._keeps_caches():
            cached = Cached(model, usage.kept_tokens, time.time())
            await self._store.put({session.cache_key: cached.text()})


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()
