"""Which model made a stored response, and whose it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from turnout.serve.decisions.snapshot import Model, Snapshot
from turnout.serve.sessions.store import SessionStore


@dataclass(frozen=True)
class Made:
    """Who made an answer, by names: they hold over a reload."""

    model: str
    upstream: str
    #: Name of the client whose key made it; empty where clients need no key.
    client: str = ""

    def model_in(self, snapshot: Snapshot) -> Model | None:
        """The model, if it is still there at that upstream."""
        model = snapshot.models.get(self.model) or snapshot.passed_through(self.model)
        return model if model is not None and model.upstream.name == self.upstream else None


class MadeAnswers:
    """Remembers who made the answers, and the conversations, to which requests may refer.

    Args:
        store: Where that is kept, by the hash of the id.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def of(self, ids: Iterable[str]) -> list[Made | None]:
        """Who made what, for each id; ``None`` where that is not known.

        Args:
            ids: Of responses or conversations.
        """
        keys = [_hash(name) for name in ids]
        return [_read(found) for found in await self._store.get(keys)] if keys else []

    async def remember(self, ids: Iterable[str], model: Model, client: str) -> None:
        """Keeps who answers.

        Args:
            ids: Of the answer, and of what it continues; empty ones are left out.
            model: The model.
            client: Name of the client; empty where clients need no key.
        """
        if named := [name for name in ids if name]:
            value = json.dumps(asdict(Made(model.name, model.upstream.name, client)))
            await self._store.put({_hash(name): value for name in named})


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _read(text: str | None) -> Made | None:
    try:
        found = Made(**json.loads(text)) if text else None
    except (TypeError, ValueError):
        return None  # Of another version, or not ours.
    return found if found and all(isinstance(value, str) for value in asdict(found).values()) else None
