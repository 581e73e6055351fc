"""What a request needs of a model beyond text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.conversation.messages import field, parts_of

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


def needs_of(request: Mapping[str, Any]) -> frozenset[str]:
    """The capabilities that a chat completion needs.

    Args:
        request: Body of a chat completion; its messages as :func:`turnout.conversation.prompt_of` takes them, in a list.

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
    for message in messages if isinstance(messages, list | tuple) else ():
        for part in parts_of(message):
            # One level deeper: results of tools hold images too.
            for one in (part, *parts_of(part)):
                if isinstance(kind := field(one, "type"), str) and kind in _PARTS:
                    found.add(_PARTS[kind])
    return frozenset(found)
