"""Reasoning efforts: what asks a model for one, in each dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.serve.dialects import CHAT, RESPONSES, Dialect
from turnout.serve.snapshot import Model

#: OpenAI's efforts. Names of others, and Anthropic's dialect, need ``body`` in the configuration.
OPENAI = frozenset(["none", "minimal", "low", "medium", "high", "xhigh"])


def fields_of(model: Model, dialect: Dialect) -> Mapping[str, Any] | None:
    """What is added to the body of a request.

    Args:
        model: The model.
        dialect: Of the request.

    Returns:
        Fields; none of them for a model without an effort, and ``None`` where it is not known how to ask for the effort.

    Example:
        >>> from types import SimpleNamespace
        >>> fields_of(SimpleNamespace(effort="high", body=None), RESPONSES)
        {'reasoning': {'effort': 'high'}}
    """
    if not model.effort:
        return {}
    if model.body is not None:
        return model.body
    if model.effort not in OPENAI:
        return None
    if dialect.name == CHAT.name:
        return {"reasoning_effort": model.effort}
    if dialect.name == RESPONSES.name:
        return {"reasoning": {"effort": model.effort}}
    return None
