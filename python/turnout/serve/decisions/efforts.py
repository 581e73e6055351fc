"""The body that a model gets: with its name, and with what asks it for its reasoning effort in each dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.serve.decisions.snapshot import Model
from turnout.serve.dialects import CHAT, RESPONSES, Dialect
from turnout.serve.http.json_body import with_fields, with_model
from turnout.serve.upstreams.error import UpstreamError

#: OpenAI's efforts. Names of others, and Anthropic's dialect, need ``body`` in the configuration.
OPENAI = frozenset(["none", "minimal", "low", "medium", "high", "xhigh"])


def fields_of(model: Model, dialect: Dialect) -> Mapping[str, Any] | None:
    """What is added to the body of a request.

    Args:
        model: The model.
        dialect: Of the request.

    Returns:
        Fields; none of them for a model without an effort and for summaries, and ``None`` where it is not known how to ask for the effort.

    Example:
        >>> from types import SimpleNamespace
        >>> fields_of(SimpleNamespace(effort="high", body=None), RESPONSES)
        {'reasoning': {'effort': 'high'}}
    """
    if not model.effort or dialect.is_summary:
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


async def body_for(model: Model, body: bytes, dialect: Dialect) -> bytes:
    """The body of a request for a model; all bytes but those of its name and its effort are unchanged.

    Args:
        model: The model.
        body: Text of a JSON object with the key ``model``; empty for a request without a body.
        dialect: What it is written in.

    Raises:
        ApiError: 400 if a key that changes occurs more than once.
        UpstreamError: It is not known how to ask for the effort.
    """
    if not body:
        return b""
    found = await with_model(body, model.upstream_name)
    fields = fields_of(model, dialect)
    if fields is None:
        message = f"model {model.label} has no body for the {dialect.name} dialect"
        raise UpstreamError("effort", message, is_outage=False)
    return await with_fields(found, fields) if fields else found
