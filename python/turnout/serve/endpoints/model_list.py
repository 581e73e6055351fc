"""``GET /v1/models`` and ``GET /v1/models/NAME`` in OpenAI's shape, and in Anthropic's where its client asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout.serve.decisions.planning import spec_of
from turnout.serve.dialects import MESSAGES, of_scope
from turnout.serve.dialects.errors import ApiError

if TYPE_CHECKING:
    from turnout.serve.decisions.snapshot import Snapshot
    from turnout.serve.state import State

#: Models of a page in Anthropic's shape: where the client names no number, and at most.
_PAGE, _LONGEST_PAGE = 20, 1000


class ModelList:
    """Handlers over the server's state.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: routers, aliases and models."""
        names = _names(self.state.snapshot)
        if of_scope(request.scope) is MESSAGES:
            return JSONResponse(_page(names, request.query_params))
        return JSONResponse({"object": "list", "data": [_openai(name) for name in names]})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``: one of them, a name that matches a pattern, or a router with a threshold or a share."""
        name = request.path_params["name"]
        snapshot = self.state.snapshot
        if snapshot.names.resolve(name) not in snapshot.names.listed and not _is_routed(name, snapshot):
            raise ApiError(
                404,
                f"unknown model {name[:200]!r}; GET /v1/models lists the models",
                code="model_not_found",
                param="model",
            )
        return JSONResponse(_anthropic(name) if of_scope(request.scope) is MESSAGES else _openai(name))


def _is_routed(name: str, snapshot: Snapshot) -> bool:
    try:
        return spec_of(name, snapshot) is not None
    except ApiError:
        return False


def _names(snapshot: Snapshot) -> list[str]:
    return [*(f"router-{name}" for name in snapshot.routers), *snapshot.names.listed]


def _openai(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "turnout"}


def _anthropic(name: str) -> dict[str, Any]:
    # Anthropic's own mark of an unknown date is the epoch.
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
    }


def _page(names: list[str], query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the list, as ``limit`` and ``after_id`` or ``before_id`` ask for it."""
    limit = query.get("limit", str(_PAGE))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= _LONGEST_PAGE):
        raise ApiError(
            400, f"limit is {limit[:200]!r}, expected 1 to {_LONGEST_PAGE}", code="invalid_value", param="limit"
        )
    if (after := query.get("after_id")) is not None:
        rest = names[_position(names, after, "after_id") + 1 :]
        page, has_more = rest[: int(limit)], len(rest) > int(limit)
    elif (before := query.get("before_id")) is not None:
        rest = names[: _position(names, before, "before_id")]
        page, has_more = rest[-int(limit) :], len(rest) > int(limit)
    else:
        page, has_more = names[: int(limit)], len(names) > int(limit)
    return {
        "data": [_anthropic(name) for name in page],
        "has_more": has_more,
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def _position(names: list[str], name: str, field: str) -> int:
    if name not in names:
        raise ApiError(400, f"{field} is {name[:200]!r}, expected a listed model", code="invalid_value", param=field)
    return names.index(name)
