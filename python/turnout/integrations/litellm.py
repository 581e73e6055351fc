"""LiteLLM: a hook of the proxy that replaces a model name with a model of a pair or a pool, and a classifier for its complexity router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout._core import ConfigError, InvalidInputError, NoFeasibleModelError
from turnout.conversation import Context, prompt_of
from turnout.errors import RoutingError
from turnout.extras import require
from turnout.pool.chat_request import chat_request
from turnout.pool.router import PoolRouter
from turnout.router import Router

require("litellm", "litellm", purpose=__name__)

from litellm.exceptions import BadRequestError
from litellm.integrations.custom_logger import CustomLogger

#: Key of the decision in the metadata of a request, which LiteLLM's logs and callbacks see.
METADATA_KEY = "turnout"
#: Types of calls that generate text; the conversation is in one of :data:`_FIELDS`. Calls of other types pass unchanged.
_GENERATING = frozenset(
    {
        "completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses", "anthropic_messages",
        "aanthropic_messages", "generate_content", "agenerate_content", "generate_content_stream", "agenerate_content_stream",
        "create_interaction", "acreate_interaction", "compact_responses", "acompact_responses",
    }
)  # fmt: skip
_FIELDS = ("messages", "input", "prompt", "contents")
#: Fields for the metadata of a call, in the order in which they are searched.
_METADATA = ("litellm_metadata", "metadata")


class _Routed(dict[str, Any]):
    """A decision in the metadata. Clients can write metadata but not this type, and headers are built from this type alone."""


class RoutingHook(CustomLogger):
    """Routes requests for some model names; all others pass unchanged.

    LiteLLM calls a hook only if its own class defines it: create instances of this class, do not derive from it.

    Args:
        routers: Model names that clients use, each with the router that decides, of a pair or of a pool. The models of the router
            (``strong`` and ``weak``, or those of the pool with their efforts, ``model:effort``) are names in the proxy's ``model_list``, and so is the name itself, because the proxy checks names and keys before it calls hooks.
        context: What is judged; see :func:`turnout.conversation.prompt_of`.

    Raises:
        ConfigError: A name routes to itself.

    Example:
        >>> import turnout
        >>> hook = RoutingHook({"auto": turnout.load(strong="large", weak="small", threshold=0.5)})
    """

    def __init__(self, routers: Mapping[str, Router | PoolRouter], *, context: Context = "last_user") -> None:
        super().__init__()
        for name, router in routers.items():
            models = router.models if isinstance(router, PoolRouter) else (router.strong, router.weak)
            if name in models:
                shown = ", ".join(map(repr, models))
                raise ConfigError(
                    f"model name {name!r} routes to itself: choose a name other than the router's models {shown}"
                )
        self._routers = dict(routers)
        self._context = context

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """Replaces ``model`` with the chosen model in calls that generate text. LiteLLM calls this before each request.

        Args:
            user_api_key_dict: The client's key; not used.
            cache: LiteLLM's cache; not used.
            data: The request; changed in place.
            call_type: Type of the call, such as ``"acompletion"``.

        Returns:
            The changed request; ``None`` if the request is not routed.

        Raises:
            BadRequestError: The call has no text to route on, unreadable content, or text that is not valid Unicode. LiteLLM answers 400.
        """
        name = data.get("model")
        if not isinstance(name, str) or name not in self._routers or call_type not in _GENERATING:
            return None
        try:
            routed = await self._decided(name, data)
        except (InvalidInputError, NoFeasibleModelError, RoutingError) as error:
            raise _bad_request(str(error), name) from error
        # LiteLLM uses `litellm_metadata` where `metadata` is a field of the provider's API (Anthropic's messages, OpenAI's responses).
        key = next((key for key in _METADATA if isinstance(data.get(key), dict)), "metadata")
        data[key] = {**data.get(key, {}), METADATA_KEY: routed}
        data["model"] = routed["model"]
        return data

    async def _decided(self, name: str, data: dict[str, Any]) -> _Routed:
        router, prompt = self._routers[name], _prompt(data, self._context)
        if not isinstance(router, PoolRouter):
            decision = await router.aroute(prompt)
            return _Routed(router=name, model=decision.model, win_rate=decision.win_rate, threshold=decision.threshold)
        field = _field(data)
        is_chat = isinstance(data.get(field), list) and not any(isinstance(one, str) for one in data[field])
        asked = chat_request(router, data, field) if is_chat else {}
        return _Routed(router=name, **(await router.aroute(prompt, **asked)).to_dict())

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, object] | None = None,
    ) -> dict[str, str] | None:
        """Adds response headers with the decision. LiteLLM calls this after each request.

        Args:
            data: The request, with the decision in its metadata.
            user_api_key_dict: The client's key; not used.
            response: The model's response; not used.
            request_headers: Headers of the request; not used.
            litellm_call_info: LiteLLM's data about the call; not used.

        Returns:
            ``x-turnout-router``, ``-model``, ``-win-rate`` and ``-threshold``, or of a pool ``-success``, ``-expected-cost`` and ``-reason``;
            ``None`` if the request was not routed.
        """
        for key in _METADATA:
            metadata = data.get(key)
            routed = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
            if isinstance(routed, _Routed):
                return {f"x-turnout-{key.replace('_', '-')}": str(value) for key, value in routed.items()}
        return None


class TierClassifier:
    """A classifier for LiteLLM's complexity router (``classifier_type: custom``): it names the tier of each request.

    LiteLLM chooses among the models of the tier and keeps its affinity of sessions, its fallbacks and its checks of capabilities. A request
    that cannot be judged raises, and ``classifier_fallback`` of the configuration decides.

    Args:
        router: Decides. Names of its models do not matter here.
        strong: Tier of requests for the strong model.
        weak: Tier of requests for the weak model.
        context: What is judged; see :func:`turnout.conversation.prompt_of`.

    Example:
        >>> import turnout
        >>> classifier = TierClassifier(turnout.load(strong_share=0.3), strong="COMPLEX", weak="SIMPLE")
    """

    def __init__(
        self, router: Router, *, strong: str = "COMPLEX", weak: str = "SIMPLE", context: Context = "last_user"
    ) -> None:
        self._router = router
        self._tiers = {True: strong, False: weak}
        self._context = context

    async def classify(self, context: Any) -> str:
        """The tier of a request. LiteLLM calls this for each request that it classifies.

        Args:
            context: LiteLLM's ``RoutingContext``.

        Returns:
            The name of the tier.

        Raises:
            RouterError: The request has no text to route on, or the router failed.
        """
        messages = context.structured_messages or context.raw_messages
        decision = await self._router.aroute(prompt_of(messages, self._context))
        return self._tiers[decision.is_strong]


def _field(data: dict[str, Any]) -> str:
    return next((field for field in _FIELDS if data.get(field) is not None), "messages")


def _prompt(data: dict[str, Any], context: Context) -> str:
    field = _field(data)
    found = data.get(field)
    # A text completion may hold several prompts; the other interfaces take a text, or one message, in place of messages. Interactions
    # also take the parts of one message.
    texts = [found] if isinstance(found, str) else found
    if field == "input" and isinstance(found, list) and found and all(_is_part(one) for one in found):
        found = [{"role": "user", "content": found}]
    if field != "messages" and isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        found = [{"role": "user", "content": "\n\n".join(texts)}]
    try:
        return prompt_of([found] if isinstance(found, Mapping) else found, context)
    except RoutingError as error:
        raise error if field == "messages" else RoutingError(f"{field}: {error}", argument=field) from error


def _is_part(one: Any) -> bool:
    return isinstance(one, Mapping) and one.get("type") in ("text", "image", "audio", "document", "video")


def _bad_request(message: str, model: str) -> BadRequestError:
    return BadRequestError(message=f"turnout: {message}", model=model, llm_provider="")
