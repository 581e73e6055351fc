"""What a request needs of a model beyond text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from turnout.conversation.messages import field, parts_of
from turnout.errors import RoutingError

#: What a model may be said to serve.
CAPABILITIES = ("images", "audio", "files", "tools")

#: By the types of parts of OpenAI's and Anthropic's messages.
_PARTS = {
    "image": "images",
    "image_url": "images",
    "input_image": "images",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
    "document": "files",
    "file": "files",
    "input_file": "files",
}


def needs_of(request: Mapping[str, Any], conversation: str = "messages") -> frozenset[str]:
    """The capabilities that a request needs.

    Args:
        request: Its body; messages as :func:`turnout.conversation.prompt_of` takes them, in a list.
        conversation: The field that has them.

    Returns:
        Some of :data:`CAPABILITIES`.

    Example:
        >>> sorted(needs_of({"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "tools": [{}]}))
        ['images', 'tools']
    """
    found = set()
    if request.get("tools") or request.get("functions"):
        found.add("tools")
    messages = request.get(conversation)
    for message in messages if isinstance(messages, list | tuple) else ():
        for part in parts_of(message):
            # One level deeper: results of tools hold images too.
            for one in (part, *parts_of(part)):
                if isinstance(kind := field(one, "type"), str) and kind in _PARTS:
                    found.add(_PARTS[kind])
    return frozenset(found)


class Candidate(Protocol):
    """A model that a request may go to."""

    @property
    def name(self) -> str:
        """Its name, for errors."""

    @property
    def capabilities(self) -> frozenset[str] | None:
        """Some of :data:`CAPABILITIES`; ``None``: it serves everything."""


C = TypeVar("C", bound=Candidate)


def lacking(model: Candidate, needs: frozenset[str]) -> frozenset[str]:
    """What of a request's needs a model does not serve."""
    return frozenset() if model.capabilities is None else needs - model.capabilities


def able_to_serve(models: Sequence[C], needs: frozenset[str]) -> list[C]:
    """The models that serve what a request needs, in their order.

    Args:
        models: Candidates, the preferred one first.
        needs: As :func:`needs_of` gives them.

    Raises:
        RoutingError: None does.
    """
    able = [model for model in models if not lacking(model, needs)]
    if not able:
        names = ", ".join(dict.fromkeys(model.name for model in models))
        raise RoutingError(f"the request needs {', '.join(sorted(needs))}, which none of these models serves: {names}")
    return able
