"""Reads the requests of the page: a small JSON object with a prompt."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.asgi import read_body
from turnout.serve.http.json_body import parse

#: Largest body of the page; longer prompts go through the API.
_MAX_BYTES = 512 * 1024


async def request_object(request: Request) -> dict[str, Any]:
    """Reads the JSON object in a request's body.

    Raises:
        ApiError: 400 for anything else, 413 for more than 512 KiB.
    """
    return await parse(await read_body(request.scope, request.receive, _MAX_BYTES))


def prompt_in(found: dict[str, Any]) -> str:
    """Returns the prompt of a request.

    Raises:
        ApiError: 400 if there is none.
    """
    prompt = found.get("prompt")
    if not isinstance(prompt, str):
        raise ApiError(
            400, f"prompt is of type {type(prompt).__name__}, expected a string", code="invalid_type", param="prompt"
        )
    return prompt
