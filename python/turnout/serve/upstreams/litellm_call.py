"""One call of LiteLLM, which translates a request and its answer. The server sends the request itself.

LiteLLM gets an HTTP client whose transport hands the request over in place of sending it: addresses, keys, time-outs and limits stay the
server's, and LiteLLM sees no key.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from turnout.extras import require
from turnout.serve.dialects import CHAT, MESSAGES, RESPONSES, Dialect
from turnout.serve.upstreams.litellm_samples import SAMPLES, WARM_UP

if TYPE_CHECKING:
    import httpx

#: Dialects that LiteLLM translates to, with its name for a provider that speaks them.
PROVIDERS = {CHAT.name: "custom_openai", MESSAGES.name: "anthropic"}
#: The transport leaves the network alone: this address is never resolved.
_NOWHERE = "http://litellm.invalid/v1"
_NO_KEY = "none"
_CURRENT: ContextVar[LiteLLMCall] = ContextVar("turnout_litellm_call")


class Sent(NamedTuple):
    """What LiteLLM would send."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class LiteLLMCall:
    """A call that waits for its answer between :meth:`request` and :meth:`result`. Call :meth:`close` whatever happens.

    Args:
        dialect: Of the client's request.
        via: What the upstream speaks.
        fields: Of the request, with what the upstream calls the model.
    """

    def __init__(self, dialect: Dialect, via: Dialect, fields: Mapping[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        self.dialect = dialect
        self._requested: asyncio.Future[Sent] = loop.create_future()
        self._answered: asyncio.Future[httpx.Response] = loop.create_future()
        self._task: asyncio.Task[Any] = loop.create_task(self._run(via, dict(fields)))
        self._task.add_done_callback(_seen)

    async def request(self, seconds: float) -> Sent:
        """The translated request.

        Args:
            seconds: The longest that LiteLLM may take.

        Raises:
            TimeoutError: It takes longer.
            Exception: LiteLLM's, for what it cannot translate.
        """
        await asyncio.wait({self._task, self._requested}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._requested.done():
            return self._requested.result()
        if self._task.done():
            self._task.result()
            raise RuntimeError("LiteLLM gave an answer without sending a request")
        raise TimeoutError

    async def result(self, content_type: str, content: AsyncIterator[bytes]) -> Any:
        """LiteLLM's translation of an answer: an object, or an asynchronous iterator for a stream.

        Args:
            content_type: Of the upstream's answer, whose status is 200.
            content: Its body.

        Raises:
            Exception: LiteLLM's, for what it cannot read.
        """
        import httpx

        self._answered.set_result(
            httpx.Response(200, headers={"content-type": content_type}, stream=_stream_of(content))
        )
        return await self._task

    def written(self, part: Any) -> bytes:
        """A part of a translated stream, or a whole answer, as JSON text.

        Args:
            part: Of LiteLLM.
        """
        if isinstance(part, bytes):
            return part
        found: str | bytes = orjson.dumps(part) if isinstance(part, dict) else part.model_dump_json(exclude_none=True)
        return found.encode() if isinstance(found, str) else found

    def event(self, part: Any) -> bytes:
        """A part of a translated stream as an event.

        Args:
            part: Of LiteLLM.
        """
        if isinstance(part, bytes):
            return part
        kind = getattr(part, "type", None)
        # An enumeration whose members are texts.
        name = (
            b"" if self.dialect.name != RESPONSES.name else b"event: %s\n" % str(getattr(kind, "value", kind)).encode()
        )
        return name + b"data: " + self.written(part) + b"\n\n"

    def close(self) -> None:
        """Ends LiteLLM's work on the call."""
        self._task.cancel()
        self._answered.cancel()

    async def exchange(self, request: httpx.Request) -> httpx.Response:
        """Hands a request over and waits for its answer; for the transport.

        Args:
            request: Of LiteLLM.
        """
        if self._requested.done():
            raise RuntimeError("LiteLLM sent a second request")
        self._requested.set_result(Sent(request.url.path, request.headers, await request.aread()))
        return await self._answered

    async def _run(self, via: Dialect, fields: dict[str, Any]) -> Any:
        _CURRENT.set(self)
        translate, clients = _loaded()
        return await translate[self.dialect.name](
            **fields,
            # Without it LiteLLM rejects parameters of unknown providers.
            **({"allowed_openai_params": sorted(translated_fields(CHAT))} if via is CHAT else {}),
            custom_llm_provider=PROVIDERS[via.name],
            client=clients[via.name],
            api_base=_NOWHERE + (via.path if via.name == MESSAGES.name else ""),
            api_key=_NO_KEY,
            num_retries=0,
            max_retries=0,
        )


def load() -> None:
    """Imports LiteLLM and translates a request each way: the first translation imports for seconds, and no request should wait for that.

    Raises:
        MissingExtraError: LiteLLM is not installed.
    """
    require("litellm", "litellm", "openai", purpose='translate = "litellm"')
    # The server may be in an event loop of this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_warm_up).result()


@functools.cache
def _warm_up() -> None:
    asyncio.run(_translate_samples())


async def _translate_samples() -> None:
    for via in (CHAT, MESSAGES):
        for dialect in (CHAT, MESSAGES, RESPONSES):
            for is_stream in (False, True) if dialect is not via else ():
                call = LiteLLMCall(dialect, via, {**WARM_UP[dialect.name], "stream": is_stream})
                await call.request(600)
                found = await call.result(*SAMPLES[via.name, is_stream]())
                if is_stream:
                    async for part in found:
                        call.event(part)
    await _end_logging()


async def _end_logging() -> None:
    """Ends LiteLLM's task of this loop, which it starts anew in the next one."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    await GLOBAL_LOGGING_WORKER.stop()


@functools.cache
def translated_fields(dialect: Dialect) -> frozenset[str]:
    """Fields of a request that are translated: the dialect's own. LiteLLM's arguments have other names, and clients must not set them.

    Args:
        dialect: Of the request.
    """
    from litellm.types.llms.anthropic import AnthropicMessagesRequest
    from openai.types.chat.completion_create_params import CompletionCreateParamsBase
    from openai.types.responses.response_create_params import ResponseCreateParamsBase

    found: dict[str, type] = {
        CHAT.name: CompletionCreateParamsBase,
        MESSAGES.name: AnthropicMessagesRequest,
        RESPONSES.name: ResponseCreateParamsBase,
    }
    names = {name for kind in found[dialect.name].__mro__ for name in getattr(kind, "__annotations__", {})}
    return frozenset(names | {"stream"}) - {"litellm_metadata"}


@functools.cache
def _loaded() -> tuple[dict[str, Callable[..., Awaitable[Any]]], dict[str, Any]]:
    """LiteLLM's functions by the client's dialect, and clients by the upstream's."""
    # Read while LiteLLM is imported: it would fetch a table of prices, and images that clients name.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ["MAX_IMAGE_URL_DOWNLOAD_SIZE_MB"] = "0"
    import httpx
    import litellm
    import openai
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await _CURRENT.get().exchange(request)

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # OpenAI's package takes clients of httpx and of its successor, its types only the latter.
    client: Any = httpx.AsyncClient(transport=Transport())
    handler = AsyncHTTPHandler()
    handler.client = client
    functions = {
        CHAT.name: litellm.acompletion,
        MESSAGES.name: litellm.anthropic.messages.acreate,
        RESPONSES.name: litellm.aresponses,
    }
    chat = openai.AsyncOpenAI(base_url=_NOWHERE, api_key=_NO_KEY, http_client=client, max_retries=0)
    return functions, {CHAT.name: chat, MESSAGES.name: handler}


def _stream_of(content: AsyncIterator[bytes]) -> httpx.AsyncByteStream:
    import httpx

    class Content(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return content

    return Content()


def _seen(task: asyncio.Task[Any]) -> None:
    """Retrieves the exception, which asyncio would otherwise report: the caller has it, or has gone."""
    if not task.cancelled():
        task.exception()
