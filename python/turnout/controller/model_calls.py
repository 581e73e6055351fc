"""Calls of models: through the ``openai`` package, or through LiteLLM where a name begins with a provider."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from turnout._core import ConfigError
from turnout.conversation.needs import CAPABILITIES, able_to_serve, lacking
from turnout.extras import require
from turnout.model_client import NO_KEY, is_openai, model_client

if TYPE_CHECKING:
    import asyncio


class Endpoint(NamedTuple):
    """Where a model is called. ``base_url`` and ``api_key`` may be ``None``: then the environment's are used."""

    name: str
    base_url: str | None
    api_key: str | None


class _Called(NamedTuple):
    name: str
    capabilities: frozenset[str] | None


_MODEL_KEYS = {"base_url", "api_key", "name", "capabilities"}


class ModelCalls:
    """Calls models by name.

    A model goes to the first of these that fits:

    1. its own endpoint in ``models``;
    2. ``openai/NAME``: the OpenAI-compatible endpoint at ``api_base``, as NAME;
    3. ``PROVIDER/NAME`` with a provider that the installed LiteLLM knows: LiteLLM, with ``api_base`` and ``api_key``;
    4. the endpoint at ``api_base``, or OpenAI's, under its whole name.

    ``PROVIDER/NAME`` without LiteLLM and without ``api_base`` is an error that names the extra.

    Args:
        api_base: Base URL of models without an endpoint of their own.
        api_key: Their key.
        models: Endpoints of single models.

    Raises:
        ConfigError: An unknown key or capability in ``models``.
    """

    def __init__(self, api_base: str | None, api_key: str | None, models: Mapping[str, Mapping[str, Any]]) -> None:
        for name, options in models.items():
            if unknown := sorted(options.keys() - _MODEL_KEYS):
                raise ConfigError(
                    f"models[{name!r}]: unknown key {unknown[0]!r}, expected {', '.join(sorted(_MODEL_KEYS))}"
                )
            if unknown := sorted(set(options.get("capabilities", ())) - set(CAPABILITIES)):
                raise ConfigError(
                    f"models[{name!r}]: unknown capability {unknown[0]!r}, expected {', '.join(CAPABILITIES)}"
                )
        self._default = Endpoint("", api_base, api_key)
        self._models = models
        self._lock = threading.Lock()
        self._clients: dict[Endpoint, Any] = {}
        # Connections of asyncio belong to one event loop and are closed with it.
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Endpoint, Any]] = WeakKeyDictionary()

    def complete(self, request: Mapping[str, Any]) -> Any:
        """One chat completion; ``request["model"]`` is the name of the model."""
        endpoint = self.endpoint(str(request["model"]))
        if endpoint is None:
            return _litellm().completion(**self._for_litellm(request))
        with self._lock:
            client = self._clients.get(endpoint._replace(name=""))
            if client is None:
                client = self._clients[endpoint._replace(name="")] = model_client(
                    "OpenAI", endpoint.base_url, endpoint.api_key
                )
        return client.chat.completions.create(**_arguments(client, {**request, "model": endpoint.name}))

    async def acomplete(self, request: Mapping[str, Any]) -> Any:
        """:meth:`complete` for asyncio."""
        endpoint = self.endpoint(str(request["model"]))
        if endpoint is None:
            return await _litellm().acompletion(**self._for_litellm(request))
        # Imported here: importing it takes longer than importing this package.
        import asyncio

        with self._lock:
            clients = self._async_clients.setdefault(asyncio.get_running_loop(), {})
            client = clients.get(endpoint._replace(name=""))
            if client is None:
                client = clients[endpoint._replace(name="")] = model_client(
                    "AsyncOpenAI", endpoint.base_url, endpoint.api_key
                )
        return await client.chat.completions.create(**_arguments(client, {**request, "model": endpoint.name}))

    def serving(self, needs: frozenset[str], chosen: str, *others: str) -> str:
        """The chosen model where it serves what a request needs, else the first of the others that does.

        Raises:
            RoutingError: None does.
        """
        return able_to_serve([_Called(name, self._capabilities(name)) for name in (chosen, *others)], needs)[0].name

    def serves(self, model: str, needs: frozenset[str]) -> bool:
        """Whether a model serves what a request needs, as far as its endpoint says."""
        return not lacking(_Called(model, self._capabilities(model)), needs)

    def _capabilities(self, model: str) -> frozenset[str] | None:
        found = self._models.get(model, {}).get("capabilities")
        return None if found is None else frozenset(found)

    def endpoint(self, model: str) -> Endpoint | None:
        """Where a model is called; ``None`` for LiteLLM.

        Raises:
            ConfigError: Only LiteLLM could call it, and it is not installed.
        """
        own = self._models.get(model)
        if own is not None:
            base_url = own.get("base_url", self._default.base_url)
            # The common key and the environment's are for the common endpoint and for OpenAI: they are not sent elsewhere.
            common = self._default.api_key if "base_url" not in own else None if is_openai(base_url) else NO_KEY
            key = own.get("api_key", common)
            return Endpoint(own.get("name", model), base_url, key)
        provider, slash, rest = model.partition("/")
        if slash and provider == "openai":
            return self._default._replace(name=rest)
        if slash and importlib.util.find_spec("litellm") is not None:
            if provider in {str(getattr(one, "value", one)) for one in _litellm().provider_list}:
                return None
        elif slash and self._default.base_url is None:
            raise ConfigError(
                f"model {model!r} names the provider {provider!r}: pip install 'turnout[litellm]', give api_base, "
                f"or give the model an endpoint of its own with models={{{model!r}: {{'base_url': ...}}}}"
            )
        return self._default._replace(name=model)

    def _for_litellm(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"api_base": self._default.base_url, "api_key": self._default.api_key, **request}

    def __repr__(self) -> str:
        return f"ModelCalls({self._default.base_url!r}, models={sorted(self._models)})"


def _arguments(client: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Arguments as the client's method takes them: unknown ones go into the body unchanged."""
    known = _parameters(type(client.chat.completions))  # type: ignore[arg-type]
    extra = {key: value for key, value in request.items() if key not in known}
    if not extra:
        return request
    named = {key: value for key, value in request.items() if key in known}
    return {**named, "extra_body": {**extra, **(request.get("extra_body") or {})}}


@functools.cache
def _parameters(completions: type) -> frozenset[str]:
    import inspect

    return frozenset(inspect.signature(completions.create).parameters)  # type: ignore[attr-defined]


def _litellm() -> Any:
    require("litellm", "litellm", purpose="this model")
    import litellm

    return litellm
