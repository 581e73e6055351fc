"""LiteLLM's proxy: a call hook that turns one model name into the strong or the weak model, request by request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import turnout
from turnout.extras import require
from turnout.routing import Context, RoutingError, prompt_of

require("litellm", "litellm", purpose=__name__)

from litellm.exceptions import BadRequestError
from litellm.integrations.custom_logger import CustomLogger

#: Under this key of the request's metadata the decision reaches LiteLLM's logs and callbacks.
METADATA_KEY = "turnout"
#: Kinds of call whose body has ``messages``.
_CHAT = frozenset({"completion", "acompletion"})


class _Routed(dict[str, Any]):
    """A decision in the metadata. Clients write metadata too, but cannot make one of these: headers are built from nothing else."""


class RoutingHook(CustomLogger):
    """Routes requests for some model names; all others pass untouched.

    LiteLLM calls a hook only if its own class defines it: make instances of this class, do not derive from it.

    Args:
        routers: Model names that clients ask for, each with the router that decides. The router's ``strong`` and ``weak`` are names in
            the proxy's ``model_list``, and so is the name itself, because the proxy checks names and keys before hooks run.
        context: Which of the messages are routed on; see :func:`turnout.routing.prompt_of`.

    Raises:
        ConfigError: A name routes to itself.

    Example:
        >>> import turnout
        >>> hook = RoutingHook({"auto": turnout.load(strong="large", weak="small", threshold=0.5)})
    """

    def __init__(self, routers: Mapping[str, turnout.Router], *, context: Context = "last_user") -> None:
        super().__init__()
        for name, router in routers.items():
            if name in (router.strong, router.weak):
                raise turnout.ConfigError(
                    f"model name {name!r} routes to itself: choose a name other than the router's models {router.strong!r}, {router.weak!r}"
                )
        self._routers = dict(routers)
        self._context = context

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """Replaces ``model`` by the chosen one.

        Raises:
            BadRequestError: There is no message of the user, its text has no UTF-8 form, or the call is no chat completion. LiteLLM
                answers 400.
        """
        name = data.get("model")
        if not isinstance(name, str) or name not in self._routers:
            return None
        if call_type not in _CHAT:
            raise _bad_request(f"model {name!r} routes chat completions, found a call of type {call_type!r}", name)
        try:
            decision = await self._routers[name].aroute(prompt_of(data.get("messages"), self._context))
        except (turnout.InvalidInputError, RoutingError) as error:
            raise _bad_request(str(error), name) from error
        routed = _Routed(router=name, model=decision.model, win_rate=decision.win_rate, threshold=decision.threshold)
        metadata = data.get("metadata")
        data["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), METADATA_KEY: routed}
        data["model"] = decision.model
        return data

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, object] | None = None,
    ) -> dict[str, str] | None:
        """Response headers that tell the decision: ``x-turnout-router``, ``-model``, ``-win-rate``, ``-threshold``."""
        metadata = data.get("metadata")
        routed = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
        if not isinstance(routed, _Routed):
            return None
        return {f"x-turnout-{key.replace('_', '-')}": str(value) for key, value in routed.items()}


def _bad_request(message: str, model: str) -> BadRequestError:
    return BadRequestError(message=f"turnout: {message}", model=model, llm_provider="")
