"""Health, readiness, metrics, reload, and changes of models."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import RouterError
from turnout.serve.dialects.errors import ApiError

if TYPE_CHECKING:
    from turnout.serve.changes import Change
    from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")


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
        return JSONResponse(_listed(self.state.changes.unconfirmed))

    async def confirm_changes(self, request: Request) -> Response:
        """``POST /admin/changes/confirm`` of the admin listener: they are forgotten, and pin nothing any more."""
        return JSONResponse(_listed(self.state.changes.confirm()))


def _listed(changes: list[Change]) -> dict[str, Any]:
    return {"object": "list", "changes": [one._asdict() for one in changes]}
