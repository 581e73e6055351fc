"""A ``Controller`` with the interface and behavior of RouteLLM's, on turnout's routers."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from turnout._core import ConfigError, Decision
from turnout.controller.model_calls import ModelCalls
from turnout.conversation import Context, judged_text, prompt_of
from turnout.conversation.messages import listed
from turnout.conversation.needs import needs_of
from turnout.errors import RoutingError
from turnout.extras import require
from turnout.pool.chat_request import chat_request
from turnout.registry import RouteSpec, naming, open_pool, open_router, parse_model_name
from turnout.registry.names import unit_number
from turnout.scored_router import AnyRouter
from turnout.terminal import printable_console

if TYPE_CHECKING:
    from turnout._core import PoolDecision
    from turnout.pool.model import Pool
    from turnout.pool.request import PoolRequest
    from turnout.pool.router import PoolRouter


@dataclass(frozen=True)
class ModelPair:
    """Names of the two models."""

    strong: str
    weak: str


class Controller:
    """Routes chat completions between two models, or those of a pool, with the interface of RouteLLM's ``Controller`` and of OpenAI's client.

    Model calls go through the ``openai`` package (extra ``[openai]``) to any OpenAI-compatible endpoint, and through LiteLLM (extra
    ``[litellm]``) if a model's name begins with a provider of LiteLLM; see
    :class:`turnout.controller.model_calls.ModelCalls`. Deciding alone (:meth:`route`) needs neither. Safe to share between
    threads.

    Args:
        routers: Names: ``"mf"`` and the other artifacts that ship, ``"random"``, what
            :func:`turnout.register_router` registered, or any name whose ``config`` has a ``path``.
        strong_model: Name of the strong model. As for :func:`turnout.load`, a name that a router's artifact knows is that model, and
            its own scores count; another is a label for the strong model of the trained pair.
        weak_model: Name of the weak model, likewise. Both may be absent where there is a pool.
        config: Options by router, as :func:`turnout.registry.open_router` takes them: ``{"mf": {"path": "my-router"}}``,
            ``{"random": {"seed": 1}}``.
        api_base: Base URL for both models; by default OpenAI's, or what the environment says.
        api_key: Key for both models; by default from the environment.
        progress_bar: Show on stderr which router is loaded and how many prompts are scored.
        models: Endpoints of single models, by name: ``{"small": {"base_url": ..., "api_key": ..., "name": ...}}``, each key
            optional; ``name`` is what the endpoint calls it. Without ``api_key``, a ``base_url`` other than OpenAI's gets no key.
            ``capabilities``, some of ``images``, ``audio``, ``files`` and
            ``tools``, says what the model serves beyond text: other requests go to the other model.
        pool: Models to choose from for ``model="router-mf"`` and ``"router-mf-target-0.85"``; all routers have to be artifacts then. A
            reasoning effort is sent as ``reasoning_effort``.
        context: What is judged: ``"last_user"``, ``"conversation"`` or a function of the messages; see
            :func:`turnout.conversation.prompt_of`.

    Raises:
        ConfigError: An unknown router, or an option that the router does not take.
        ArtifactError: An artifact that is missing or damaged.

    Example:
        >>> from turnout import Controller
        >>> client = Controller(routers=["mf"], strong_model="large", weak_model="small")
        >>> client.route("What is 2 + 2?", "mf", 0.9)
        'small'
        >>> from turnout import Model, Pool
        >>> Controller(["mf"], pool=Pool([Model("a", success=0.9), Model("b", success=0.8)], tolerance=0)).route("Hi", "mf")
        'a'
    """

    def __init__(
        self,
        routers: Sequence[str],
        strong_model: str | None = None,
        weak_model: str | None = None,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        progress_bar: bool = False,
        *,
        models: Mapping[str, Mapping[str, Any]] | None = None,
        pool: Pool | None = None,
        context: Context = "last_user",
    ) -> None:
        if isinstance(routers, str):
            raise ConfigError(f"routers is the text {routers!r}, expected a list of names")
        if strong_model is None or weak_model is None:
            if pool is None or strong_model is not weak_model:
                raise ConfigError("strong_model and weak_model are missing, expected both, or a pool")
        else:
            self.model_pair = ModelPair(strong_model, weak_model)
        self.api_base = api_base
        self.progress_bar = progress_bar
        self.context = context
        #: How often each router chose each model: ``model_counts[router][model]``.
        self.model_counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._counting = threading.Lock()
        self.routers: dict[str, AnyRouter] = {}
        #: The pool as each router decides it.
        self.pools: dict[str, PoolRouter] = {}
        for name in _progress(routers, "loading", progress_bar):
            options = (config or {}).get(name)
            if strong_model is not None:
                self.routers[name] = open_router(name, options, strong=strong_model, weak=weak_model)
            if pool is not None:
                self.pools[name] = open_pool(name, options, pool)
        self._calls = ModelCalls(api_base, api_key, models or {})

    @property
    def chat(self) -> _Chat:
        """``client.chat.completions.create(...)``, as in OpenAI's client, and ``acreate``.

        Made on every access: an attribute would refer back to the Controller, whose routers would then outlive it until the garbage
        collector runs.
        """
        return _Chat(_Completions(self.completion, self.acompletion))

    def completion(self, *, router: str | None = None, threshold: float | None = None, **request: Any) -> Any:
        """A chat completion by the model that the router chooses.

        Args:
            router: Name of a router; ``model`` goes before it.
            threshold: In ``[0, 1]``.
            **request: Arguments of a chat completion: ``messages``, ``stream``, ``tools`` and so on, passed on as they are.
                Messages may be dicts or objects, such as an earlier answer's ``message``. ``model`` is ``router-[name]-[threshold]`` or ``router-[name]-share-[share]``.

        Returns:
            What the model's client returns: a completion, or an iterator of chunks with ``stream=True``.

        Raises:
            RoutingError: A model name, router, threshold or messages that cannot be routed with.
            ConfigError: A package for the call is missing.
        """
        request = _with_list(request)
        spec = self._spec(router, threshold, request)
        prompt = prompt_of(request["messages"], self.context)
        if spec.router in self.pools and _is_of_pool(spec):
            with naming(spec.router):
                decided = self.pools[spec.router].route(prompt, **self._asked(spec, request))
            return self._calls.complete({**request, **self._counted_in_pool(spec.router, decided)})
        return self._calls.complete(
            {**request, "model": self._counted(spec.router, self._decided(prompt, spec), request)}
        )

    async def acompletion(self, *, router: str | None = None, threshold: float | None = None, **request: Any) -> Any:
        """:meth:`completion` for asyncio.

        Args:
            router: As for :meth:`completion`.
            threshold: As for :meth:`completion`.
            **request: As for :meth:`completion`.

        Returns:
            A completion, or an asynchronous iterator of chunks with ``stream=True``.

        Raises:
            RoutingError: As :meth:`completion`.
            ConfigError: As :meth:`completion`.
            OverloadedError: The router's queue is full.
        """
        request = _with_list(request)
        spec = self._spec(router, threshold, request)
        prompt = prompt_of(request["messages"], self.context)
        if spec.router in self.pools and _is_of_pool(spec):
            with naming(spec.router):
                decided = await self.pools[spec.router].aroute(prompt, **self._asked(spec, request))
            return await self._calls.acomplete({**request, **self._counted_in_pool(spec.router, decided)})
        with naming(spec.router):
            decision = await self.routers[spec.router].aroute(prompt, **spec.options)
        return await self._calls.acomplete({**request, "model": self._counted(spec.router, decision, request)})

    def route(self, prompt: str, router: str, threshold: float | None = None) -> str:
        """Decides one prompt without calling a model or counting the decision.

        Args:
            prompt: The prompt.
            router: Name of a router.
            threshold: In ``[0, 1]``; ``None`` for the objective of the pool.

        Returns:
            Name of the chosen model.

        Raises:
            RoutingError: An unknown router, or a threshold outside ``[0, 1]``.
        """
        spec = self._spec(router, threshold, {})
        if spec.router in self.pools and _is_of_pool(spec):
            with naming(spec.router):
                return self.pools[spec.router].route(judged_text(prompt)).model
        return self._name(self._decided(judged_text(prompt), spec))

    def batch_calculate_win_rate(self, prompts: Any, router: str) -> Any:
        """Win rates of many prompts.

        Args:
            prompts: A pandas series, or any iterable of texts.
            router: Name of a router.

        Returns:
            A series with the same index for a series, else a float32 array ``[prompts]``.

        Raises:
            RoutingError: A router that is not there, or a prompt that cannot be routed.
        """
        self._spec(router, 0, {})
        texts = [judged_text(prompt) for prompt in prompts]
        scored: list[float] = []
        for start in _progress(range(0, len(texts), _BATCH), "scoring", self.progress_bar):
            with naming(router):
                scored.extend(self.routers[router].win_rates(texts[start : start + _BATCH]).tolist())
        if hasattr(prompts, "index") and hasattr(prompts, "to_list"):
            return type(prompts)(scored, index=prompts.index)
        import numpy as np

        return np.array(scored, dtype=np.float32)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Controller holds connections and locks and cannot be pickled or copied: share it between threads, and create one with "
            "the same arguments in each process"
        )

    def _asked(self, spec: RouteSpec, request: Mapping[str, Any]) -> PoolRequest:
        asked = chat_request(self.pools[spec.router], request)
        return {**asked, spec.objective[0]: spec.objective[1]} if spec.objective else asked  # type: ignore[misc]

    def _counted_in_pool(self, router: str, decision: PoolDecision) -> dict[str, Any]:
        """The chosen model, and the reasoning effort that it is."""
        with self._counting:
            self.model_counts[router][decision.model] += 1
        model, _, effort = decision.model.rpartition(":")
        is_effort = any(one.name == model and effort in one.efforts for one in self.pools[router].pool.models)
        return {"model": model, "reasoning_effort": effort} if is_effort else {"model": decision.model}

    def _decided(self, prompt: str, spec: RouteSpec) -> Decision:
        with naming(spec.router):
            return self.routers[spec.router].route(prompt, **spec.options)

    def _counted(self, router: str, decision: Decision, request: Mapping[str, Any]) -> str:
        model = self._calls.serving(needs_of(request), self._name(decision), self._name(decision, other=True))
        with self._counting:
            self.model_counts[router][model] += 1
        return model

    def _name(self, decision: Decision, other: bool = False) -> str:
        return self.model_pair.strong if decision.is_strong != other else self.model_pair.weak

    def _spec(self, router: str | None, threshold: float | None, request: Mapping[str, Any]) -> RouteSpec:
        if "model" in request:
            spec = parse_model_name(str(request["model"]), self.routers or self.pools)
            if spec.is_bare and not self.pools:
                raise RoutingError(f"invalid model {request['model']!r}: expected router-[name]-[threshold]")
            return self._possible(spec)
        if router is None or (threshold is None and not self.pools):
            raise RoutingError("router or threshold unspecified: name both, or a model such as router-mf-0.5")
        if router not in (self.routers or self.pools):
            known = ", ".join(self.routers or self.pools)
            raise RoutingError(f"invalid router {router!r}: available routers: {known}")
        return self._possible(RouteSpec(router, None if threshold is None else unit_number(threshold, "threshold")))

    def _possible(self, spec: RouteSpec) -> RouteSpec:
        if not self.routers and not _is_of_pool(spec):
            raise RoutingError("a threshold or share is for two models, and there is only a pool")
        if not self.pools and spec.objective is not None:
            raise RoutingError(f"{spec.objective[0]} is an objective of a pool, and there is none")
        return spec


def _is_of_pool(spec: RouteSpec) -> bool:
    """Whether a name means the pool, where there is one."""
    return spec.is_bare or spec.objective is not None


def _with_list(request: dict[str, Any]) -> dict[str, Any]:
    """The request with messages that can be read more than once: first to decide, then to send."""
    return {**request, "messages": listed(request.get("messages"))}


@dataclass(frozen=True)
class _Completions:
    create: Callable[..., Any]
    acreate: Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class _Chat:
    completions: _Completions


_BATCH = 2048


def _progress(items: Any, label: str, shown: bool) -> Any:
    if not shown:
        return items
    require("eval", "rich", purpose="progress_bar")
    from rich.progress import track

    return track(items, description=label, console=printable_console(stderr=True))
