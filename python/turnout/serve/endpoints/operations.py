"""Health, readiness, metrics, reload, and changes of models."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import RouterError
from turnout.serve.changes import StaleRevisionError
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.asgi import read_body
from turnout.serve.http.json_body import parse

if TYPE_CHECKING:
    from turnout.serve.changes import Change
    from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")

#: Of the body of a confirmation.
_MOST_BYTES = 16 * 1024


class Operations:
    """What those who run a server ask of it.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def health(self, request: Request) -> Response:
        """``GET /health``: the process is alive."""
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """``GET /ready``: routers are loaded, and the server is not shutting down."""
        ready = self.state.is_ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics`` of the admin listener."""
        self.state.publish()
        return Response(self.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def reload(self, request: Request) -> Response:
        """``POST /admin/reload`` of the admin listener."""
        try:
            await self.state.reload()
        except (RouterError, OSError) as error:
            logger.error("reload failed; keeping the current configuration: %s", error)
            raise ApiError(
                409, f"reload failed; keeping the current configuration: {error}", code="reload_failed"
            ) from None
        # What this worker could read, the others can.
        self.state.reload_others()
        routers = {name: router.artifact_hash for name, router in self.state.routers.items()}
        return JSONResponse({"status": "reloaded", "routers": routers})

    async def changes(self, request: Request) -> Response:
        """``GET /admin/changes`` of the admin listener: changes of models that are not confirmed yet."""
        changes = self.state.changes
        return JSONResponse({"object": "list", "revision": changes.revision, "changes": _listed(changes.unconfirmed)})

    async def confirm_changes(self, request: Request) -> Response:
        """``POST /admin/changes/confirm`` of the admin listener: those of a revision are forgotten, and pin nothing any more."""
        body = await read_body(request.scope, request.receive, _MOST_BYTES)
        revision = (await parse(body)).get("revision") if body else None
        if not isinstance(revision, str):
            message = 'revision is missing, expected {"revision": "..."} with that of GET /admin/changes'
            raise ApiError(400, message, code="invalid_value", param="revision")
        try:
            confirmed = self.state.changes.confirm(revision)
        except StaleRevisionError as error:
            found = f"has not seen: {error}" if error.changes else "is not known"
            message = f"nothing was confirmed: revision {revision[:100]!a} {found}; read GET /admin/changes again"
            raise ApiError(409, message, code="stale_revision", param="revision") from None
        return JSONResponse({"object": "list", "changes": _listed(confirmed)})


def _listed(changes: list[Change]) -> list[dict[str, Any]]:
    return [one._asdict() for one in changes]
