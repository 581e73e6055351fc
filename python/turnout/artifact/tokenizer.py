"""The tokenizer file of an artifact."""

from __future__ import annotations

import json


def tokenizer_of(text: str) -> bytes:
    """A ``tokenizer.json`` without the parts that the router does not use: special tokens around a text, padding, truncation.

    Args:
        text: The teacher's ``tokenizer.json``.

    Returns:
        The text of the artifact's.
    """
    document = json.loads(text)
    for part in ("truncation", "padding", "post_processor", "decoder"):
        document[part] = None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
