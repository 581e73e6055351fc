"""LangChain: a ``Runnable`` in place of a chat model that chooses between two models for each prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

from turnout._core import Decision
from turnout.conversation import Context, judged_text, prompt_of
from turnout.extras import require
from turnout.router import Router

require("langchain", "langchain_core", purpose=__name__)

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs

Output = TypeVar("Output")


class RoutedModel(Runnable[LanguageModelInput, Output]):
    """Sends each prompt to the strong or the weak model, with the interface of that model: invoke, stream, batch, and their async forms.

    The decision is in the metadata of the run (``turnout_model``, ``turnout_win_rate``, ``turnout_threshold``), for callbacks and
    traces.

    Args:
        router: Decides, with its own threshold.
        strong: Any runnable that takes what chat models take, usually a chat model.
        weak: Likewise.
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
        router: Router,
        *,
        strong: Runnable[LanguageModelInput, Output],
        weak: Runnable[LanguageModelInput, Output],
        context: Context = "last_user",
    ) -> None:
        self.router = router
        self.strong = strong
        self.weak = weak
        self.context = context

    def route(self, input: LanguageModelInput) -> Decision:
        """Decides without calling a model.

        Args:
            input: A text, messages or a prompt value, as chat models take them.

        Returns:
            The decision.

        Raises:
            RoutingError: The messages have no text, or unreadable content.
            InvalidInputError: The prompt is not valid Unicode.
        """
        return self.router.route(self._prompt(input))

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> RoutedModel[Output]:
        """Binds tools to both models.

        Args:
            tools: As the models' ``bind_tools`` takes them.
            **kwargs: Passed to both models.

        Returns:
            A routed model of the two bound models.

        Raises:
            TypeError: A model has no ``bind_tools``.
        """
        return self._with_both("bind_tools", tools, **kwargs)

    def with_structured_output(self, schema: Any, **kwargs: Any) -> RoutedModel[Any]:
        """Sets structured output on both models.

        Args:
            schema: As the models' ``with_structured_output`` takes it.
            **kwargs: Passed to both models.

        Returns:
            A routed model of the two models with structured output.

        Raises:
            TypeError: A model has no ``with_structured_output``.
        """
        return self._with_both("with_structured_output", schema, **kwargs)

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
        decision = await self.router.aroute(self._prompt(input))
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
        decision = await self.router.aroute(self._prompt(input))
        async for chunk in self._chosen(decision).astream(input, _with_decision(config, decision), **kwargs):
            yield chunk

    def _chosen(self, decision: Decision) -> Runnable[LanguageModelInput, Output]:
        return self.strong if decision.is_strong else self.weak

    def _with_both(self, method: str, *args: Any, **kwargs: Any) -> RoutedModel[Any]:
        bound = []
        for side in ("strong", "weak"):
            model = getattr(self, side)
            if not hasattr(model, method):
                raise TypeError(
                    f"the {side} model, a {type(model).__name__}, has no `{method}`: call it before routing"
                )
            bound.append(getattr(model, method)(*args, **kwargs))
        return RoutedModel(self.router, strong=bound[0], weak=bound[1], context=self.context)

    def _prompt(self, input: LanguageModelInput) -> str:
        if isinstance(input, str):
            return judged_text(input)
        return prompt_of(
            input.to_messages() if isinstance(input, PromptValue) else convert_to_messages(input), self.context
        )


def _with_decision(config: RunnableConfig | None, decision: Decision) -> RunnableConfig:
    metadata = {
        "turnout_model": decision.model,
        "turnout_win_rate": decision.win_rate,
        "turnout_threshold": decision.threshold,
    }
    return merge_configs(ensure_config(config), {"metadata": metadata})
