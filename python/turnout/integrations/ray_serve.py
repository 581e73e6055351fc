"""Ray Serve: the router as a deployment with replicas on the machines of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turnout._core import Decision, InvalidInputError, InvalidTypeError
from turnout.conversation import judged_text
from turnout.extras import require
from turnout.router import load

require("ray", "ray", "starlette", purpose=__name__)

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

#: Prompts in one request over HTTP.
MAX_PROMPTS = 10_000
#: Bytes of one request over HTTP.
MAX_BYTES = 16 << 20


class RouterReplica:
    """One replica: a router, called through a handle or over HTTP. Created by :func:`deployment`.

    Args:
        artifact: Artifact folder, at the same path on every machine; by default the router that ships with the package.
        router_options: As :func:`turnout.load` takes them.

    Raises:
        RouterError: As :func:`turnout.load`; the deployment then does not become healthy and Ray shows the message.
    """

    def __init__(self, artifact: str | Path | None = None, **router_options: Any) -> None:
        self._router = load(artifact, **router_options)

    async def route(self, prompt: str, threshold: float | None = None) -> Decision:
        """Decides one prompt: ``await handle.route.remote(prompt)``. Raises as :meth:`turnout.Router.route`."""
        return await self._router.aroute(judged_text(prompt), threshold=threshold)

    def route_batch(self, prompts: list[str], threshold: float | None = None) -> list[Decision]:
        """Decides many prompts in one call of the core. Raises as :meth:`turnout.Router.route_batch`."""
        return self._router.route_batch([judged_text(prompt) for prompt in prompts], threshold=threshold)

    async def __call__(self, request: Request) -> JSONResponse:
        """``POST {"prompt": ...}`` or ``{"prompts": [...]}``, with an optional ``threshold``, answers decisions as JSON.

        A prompt that cannot be routed is answered with status 400 and ``{"error": {"message", "type"}}``.
        """
        try:
            prompts, threshold, many = await _read(request)
            decisions = self._router.route_batch([judged_text(prompt) for prompt in prompts], threshold=threshold)
        except (InvalidInputError, InvalidTypeError) as error:
            return JSONResponse({"error": {"message": str(error), "type": "invalid_request_error"}}, status_code=400)
        rows = [{"model": one.model, "win_rate": one.win_rate, "threshold": one.threshold} for one in decisions]
        return JSONResponse({"decisions": rows} if many else rows[0])


def deployment(
    artifact: str | Path | None = None, *, name: str = "turnout", router: dict[str, Any] | None = None, **options: Any
) -> serve.Application:
    """Creates an application for ``ray.serve.run``.

    Args:
        artifact: Artifact folder, at the same path on every machine.
        name: Name of the deployment.
        router: Options of :func:`turnout.load`, such as ``strong``, ``weak`` and ``threshold``.
        **options: Options of Ray's deployment: ``num_replicas`` (a number or ``"auto"``), ``autoscaling_config``, ``ray_actor_options``, ...

    Returns:
        An application of :class:`RouterReplica`.

    Example:
        >>> app = deployment(router={"threshold": 0.5}, num_replicas=2)  # then: ray.serve.run(app, route_prefix="/v1/route")
    """
    return serve.deployment(name=name, **options)(RouterReplica).bind(artifact, **(router or {}))


async def _read(request: Request) -> tuple[list[str], float | None, bool]:
    """Prompts, threshold, and whether the request has a list of prompts."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise InvalidInputError(f"the request is longer than {MAX_BYTES} bytes: send fewer prompts at a time")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the request is not valid JSON: {error}") from error
    if not isinstance(document, dict) or ("prompt" in document) == ("prompts" in document):
        raise InvalidInputError("expected a JSON object with either `prompt` or `prompts`")
    if unknown := set(document) - {"prompt", "prompts", "threshold"}:
        raise InvalidInputError(f"unknown keys {sorted(unknown)}, expected `prompt` or `prompts`, and `threshold`")
    many = "prompts" in document
    prompts = document["prompts"] if many else [document["prompt"]]
    if not isinstance(prompts, list) or len(prompts) > MAX_PROMPTS:
        raise InvalidInputError(f"`prompts` must be a list of at most {MAX_PROMPTS} prompts")
    threshold = document.get("threshold")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
        raise InvalidInputError(f"`threshold` is of type {type(threshold).__name__}, expected a number")
    return prompts, threshold, many
