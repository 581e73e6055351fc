"""LangChain: a ``Runnable`` in place of a chat model that chooses between models for each prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from turnout._core import ConfigError, Decision, PoolDecision
from turnout.conversation import Context, judged_text, prompt_of
from turnout.extras import require
from turnout.pool.chat_request import chat_request
from turnout.pool.router import PoolRouter
from turnout.router import Router

require("langchain", "langchain_core", purpose=__name__)

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs

Output = TypeVar("Output")


class RoutedModel(Runnable[LanguageModelInput, Output]):
    """Sends each prompt to a model of a pair or a pool, with the interface of that model: invoke, stream, batch, and their async forms.

    The decision is in the metadata of the run (``turnout_model``, ``turnout_win_rate``, ``turnout_threshold``; of a pool ``turnout_model``,
    ``turnout_success``, ``turnout_expected_cost``, ``turnout_reason``), for callbacks and traces.

    Args:
        router: Decides, with its own threshold, or with the objective of its pool.
        strong: For a pair: any runnable that takes what chat models take, usually a chat model.
        weak: Likewise.
        models: For a pool: such a runnable for each of its models, and for each effort as ``model:effort``.
        context: What is judged; see :func:`turnout.conversation.prompt_of`.

    Example:
        >>> import turnout
        >>> from langchain_core.language_models import FakeListChatModel
        >>> strong, weak = FakeListChatModel(responses=["strong"]), FakeListChatModel(responses=["weak"])
        >>> model = RoutedModel(turnout.load(threshold=0.0), strong=strong, weak=weak)
        >>> model.invoke("What is 2 + 2?").content
        'strong'
    """

    def __init__(
        self,
        router: Router | PoolRouter,
        *,
        strong: Runnable[LanguageModelInput, Output] | None = None,
        weak: Runnable[LanguageModelInput, Output] | None = None,
        models: Mapping[str, Runnable[LanguageModelInput, Output]] | None = None,
        context: Context = "last_user",
    ) -> None:
        self.router = router
        given = models or {name: one for name, one in (("strong", strong), ("weak", weak)) if one is not None}
        expected = router.models if isinstance(router, PoolRouter) else ["strong", "weak"]
        if set(given) != set(expected):
            raise ConfigError(f"the models are {', '.join(given) or 'missing'}, expected {', '.join(expected)}")
        #: By name; of a pair ``strong`` and ``weak``.
        self.models = dict(given)
        self.context = context

    def route(self, input: LanguageModelInput) -> Decision | PoolDecision:
        """Decides without calling a model.

        Args:
            input: A text, messages or a prompt value, as chat models take them.

        Returns:
            The decision.

        Raises:
            RoutingError: The messages have no text, or unreadable content.
            InvalidInputError: The prompt is not valid Unicode.
        """
        prompt, asked = self._asked(input)
        return self.router.route(prompt, **asked)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> RoutedModel[Output]:
        """Binds tools to all models.

        Args:
            tools: As the models' ``bind_tools`` takes them.
            **kwargs: Passed to all models.

        Returns:
            A routed model of the bound models.

        Raises:
            TypeError: A model has no ``bind_tools``.
        """
        return self._with_all("bind_tools", tools, **kwargs)

    def with_structured_output(self, schema: Any, **kwargs: Any) -> RoutedModel[Any]:
        """Sets structured output on all models.

        Args:
            schema: As the models' ``with_structured_output`` takes it.
            **kwargs: Passed to all models.

        Returns:
            A routed model of the models with structured output.

        Raises:
            TypeError: A model has no ``with_structured_output``.
        """
        return self._with_all("with_structured_output", schema, **kwargs)

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Calls the chosen model.

        Args:
            input: As for :meth:`route`.
            config: Configuration of the run; the decision is added to its metadata.
            **kwargs: Passed to the chosen model.

        Returns:
            The model's answer.

        Raises:
            RouterError: As :meth:`route`.
        """
        decision = self.route(input)
        return self._chosen(decision).invoke(input, _with_decision(config, decision), **kwargs)

    async def ainvoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Calls the chosen model, for asyncio.

        Args:
            input: As for :meth:`route`.
            config: Configuration of the run; the decision is added to its metadata.
            **kwargs: Passed to the chosen model.

        Returns:
            The model's answer.

        Raises:
            RouterError: As :meth:`route`.
        """
        prompt, asked = self._asked(input)
        decision = await self.router.aroute(prompt, **asked)
        return await self._chosen(decision).ainvoke(input, _with_decision(config, decision), **kwargs)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Output]:
        """Streams the answer of the chosen model.

        Args:
            input: As for :meth:`route`.
            config: Configuration of the run; the decision is added to its metadata.
            **kwargs: Passed to the chosen model.

        Yields:
            Chunks of the answer.

        Raises:
            RouterError: As :meth:`route`.
        """
        decision = self.route(input)
        yield from self._chosen(decision).stream(input, _with_decision(config, decision), **kwargs)

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        """Streams the answer of the chosen model, for asyncio.

        Args:
            input: As for :meth:`route`.
            config: Configuration of the run; the decision is added to its metadata.
            **kwargs: Passed to the chosen model.

        Yields:
            Chunks of the answer.

        Raises:
            RouterError: As :meth:`route`.
        """
        prompt, asked = self._asked(input)
        decision = await self.router.aroute(prompt, **asked)
        async for chunk in self._chosen(decision).astream(input, _with_decision(config, decision), **kwargs):
            yield chunk

    def _chosen(self, decision: Decision | PoolDecision) -> Runnable[LanguageModelInput, Output]:
        if isinstance(decision, PoolDecision):
            return self.models[decision.model]
        return self.models["strong" if decision.is_strong else "weak"]

    def _with_all(self, method: str, *args: Any, **kwargs: Any) -> RoutedModel[Any]:
        bound = {}
        for name, model in self.models.items():
            if not hasattr(model, method):
                raise TypeError(
                    f"the {name} model, a {type(model).__name__}, has no `{method}`: call it before routing"
                )
            bound[name] = getattr(model, method)(*args, **kwargs)
        return RoutedModel(self.router, models=bound, context=self.context)

    def _asked(self, input: LanguageModelInput) -> tuple[str, Any]:
        """The text that is judged, and what the router of a pool is asked besides."""
        if isinstance(input, str):
            return judged_text(input), {}
        messages = input.to_messages() if isinstance(input, PromptValue) else convert_to_messages(input)
        prompt, router = prompt_of(messages, self.context), self.router
        return prompt, chat_request(router, {"messages": messages}) if isinstance(router, PoolRouter) else {}


def _with_decision(config: RunnableConfig | None, decision: Decision | PoolDecision) -> RunnableConfig:
    if isinstance(decision, PoolDecision):
        told = {f"turnout_{name}": value for name, value in decision.to_dict().items()}
        return merge_configs(ensure_config(config), {"metadata": told})
    metadata = {
        "turnout_model": decision.model,
        "turnout_win_rate": decision.win_rate,
        "turnout_threshold": decision.threshold,
    }
    return merge_configs(ensure_config(config), {"metadata": metadata})
