"""Ray Serve: the router as a deployment with replicas on the machines of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turnout._core import Decision, InvalidInputError, InvalidTypeError, NoFeasibleModelError, PoolDecision
from turnout.conversation import judged_text
from turnout.extras import require
from turnout.pool.router import PoolRouter
from turnout.registry.names import OBJECTIVES
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
        router_options: As :func:`turnout.load` takes them, ``pool`` among them.

    Raises:
        RouterError: As :func:`turnout.load`; the deployment then does not become healthy and Ray shows the message.
    """

    def __init__(self, artifact: str | Path | None = None, **router_options: Any) -> None:
        self._router = load(artifact, **router_options)
        #: Keys of a request over HTTP besides the prompts.
        self._numbers = tuple(OBJECTIVES.values()) if isinstance(self._router, PoolRouter) else ("threshold",)

    async def route(self, prompt: str, threshold: float | None = None, **request: Any) -> Decision | PoolDecision:
        """Decides one prompt: ``await handle.route.remote(prompt)``. Raises as the router's ``route``.

        Args:
            prompt: The prompt.
            threshold: For a pair.
            **request: For a pool, as :class:`turnout.pool.PoolRequest`.
        """
        return await self._router.aroute(judged_text(prompt), **_given(threshold, request))

    def route_batch(
        self, prompts: list[str], threshold: float | None = None, **request: Any
    ) -> list[Decision] | list[PoolDecision]:
        """Decides many prompts in one call of the core. Raises as the router's ``route_batch``.

        Args:
            prompts: The prompts.
            threshold: For a pair.
            **request: For a pool, as :class:`turnout.pool.PoolRequest`.
        """
        texts = [judged_text(prompt) for prompt in prompts]
        return self._router.route_batch(texts, **_given(threshold, request))

    async def __call__(self, request: Request) -> JSONResponse:
        """``POST {"prompt": ...}`` or ``{"prompts": [...]}``, with an optional ``threshold`` or an objective of a pool, answers decisions as JSON.

        A prompt that cannot be routed is answered with status 400 and ``{"error": {"message", "type"}}``.
        """
        try:
            prompts, options, many = await _read(request, self._numbers)
            decisions: list[Any] = self.route_batch(prompts, **options)
        except (InvalidInputError, InvalidTypeError, NoFeasibleModelError) as error:
            return JSONResponse({"error": {"message": str(error), "type": "invalid_request_error"}}, status_code=400)
        if isinstance(self._router, PoolRouter):
            rows = [one.to_dict() for one in decisions]
        else:
            rows = [{"model": one.model, "win_rate": one.win_rate, "threshold": one.threshold} for one in decisions]
        return JSONResponse({"decisions": rows} if many else rows[0])


def deployment(
    artifact: str | Path | None = None, *, name: str = "turnout", router: dict[str, Any] | None = None, **options: Any
) -> serve.Application:
    """Creates an application for ``ray.serve.run``.

    Args:
        artifact: Artifact folder, at the same path on every machine.
        name: Name of the deployment.
        router: Options of :func:`turnout.load`, such as ``strong``, ``weak`` and ``threshold``, or ``pool``.
        **options: Options of Ray's deployment: ``num_replicas`` (a number or ``"auto"``), ``autoscaling_config``, ``ray_actor_options``, ...

    Returns:
        An application of :class:`RouterReplica`.

    Example:
        >>> app = deployment(router={"threshold": 0.5}, num_replicas=2)  # then: ray.serve.run(app, route_prefix="/v1/route")
    """
    return serve.deployment(name=name, **options)(RouterReplica).bind(artifact, **(router or {}))


def _given(threshold: float | None, request: dict[str, Any]) -> Any:
    return request if threshold is None else {"threshold": threshold, **request}


async def _read(request: Request, numbers: tuple[str, ...]) -> tuple[list[str], dict[str, float], bool]:
    """Prompts, threshold or objective, and whether the request has a list of prompts."""
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
    if unknown := set(document) - {"prompt", "prompts", *numbers}:
        raise InvalidInputError(
            f"unknown keys {sorted(unknown)}, expected `prompt` or `prompts`, and {', '.join(f'`{name}`' for name in numbers)}"
        )
    many = "prompts" in document
    prompts = document["prompts"] if many else [document["prompt"]]
    if not isinstance(prompts, list) or len(prompts) > MAX_PROMPTS:
        raise InvalidInputError(f"`prompts` must be a list of at most {MAX_PROMPTS} prompts")
    options = {name: document[name] for name in numbers if document.get(name) is not None}
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInputError(f"`{name}` is of type {type(value).__name__}, expected a number")
    return prompts, options, many
