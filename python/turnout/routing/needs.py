"""What a request needs of a model beyond text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: What a model may be said to serve.
CAPABILITIES = ("images", "audio", "files", "tools")

_PARTS = {
    "image_url": "images",
    "input_image": "images",
    "input_audio": "audio",
    "file": "files",
    "input_file": "files",
}


def needs_of(request: Mapping[str, Any]) -> frozenset[str]:
    """The capabilities that a chat completion asks for.

    Args:
        request: Body of a chat completion.

    Returns:
        Some of :data:`CAPABILITIES`.

    Example:
        >>> sorted(needs_of({"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "tools": [{}]}))
        ['images', 'tools']
    """
    found = set()
    if request.get("tools") or request.get("functions"):
        found.add("tools")
    messages = request.get("messages")
    for message in messages if isinstance(messages, Sequence) else ():
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list | tuple):
            for part in content:
                kind = part.get("type") if isinstance(part, Mapping) else None
                if isinstance(kind, str) and kind in _PARTS:
                    found.add(_PARTS[kind])
    return frozenset(found)
