"""Chat completions of an OpenAI-compatible endpoint: rate limit, retries, a ledger of what was paid.

The ``openai`` package sends the requests. Its own retries are off: each attempt enters the ledger before it is sent and is settled when
its answer is there, and waits for its turn under the rate limit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from turnout._core import ConfigError, InferenceError
from turnout.augment.answer import Answer
from turnout.augment.endpoint import Endpoint
from turnout.augment.ledger import Budget, Ledger
from turnout.augment.reply import Reply, read_failure, read_response
from turnout.extras import require
from turnout.model_client import authorization_header, model_client

_Result = TypeVar("_Result")


class OverBudgetError(Exception):
    """The budget does not allow the request."""


class RefusedError(InferenceError):
    """A model that has not answered yet refuses the key or does not exist: every other request would fail too."""


class ChatClient:
    """Calls models at endpoints; a request whose answer is in the ledger is not sent again.

    The key is read from the environment for each request, is not kept, and is replaced by ``***`` in every text that comes back.

    Args:
        ledger: Keeps answers and costs.
        budget: Limit on the costs.
        concurrency: Maximum number of requests in flight.
        requests_per_minute: Maximum number of requests started per minute; ``None`` is no limit.
        timeout_s: For an attempt, from connection to last byte.
        retries: Further attempts after time-outs, refused or lost connections and status 408, 409, 429 and 5xx, with doubling
            pauses or as long as ``Retry-After`` says, at most a minute.
    """

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget,
        *,
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        timeout_s: float = 120.0,
        retries: int = 5,
    ) -> None:
        if concurrency < 1 or retries < 0 or timeout_s <= 0 or (requests_per_minute or 1.0) <= 0:
            raise ConfigError(
                f"concurrency {concurrency}, retries {retries}, timeout_s {timeout_s}, requests_per_minute "
                f"{requests_per_minute}: expected 1 or more, 0 or more, above 0, above 0"
            )
        require("eval", "openai", purpose="calling models")
        import openai

        self.ledger, self.budget = ledger, budget
        self.concurrency, self.retries = concurrency, retries
        self._in_flight = asyncio.Semaphore(concurrency)
        self._gap_s = 0.0 if requests_per_minute is None else 60.0 / requests_per_minute
        self._next_start = 0.0
        self._settled = asyncio.Event()
        self._answered: set[Endpoint] = set()
        self._timeout_s = timeout_s
        # No redirects: a key and a prompt are for one address.
        self._http = openai.DefaultAsyncHttpxClient(
            timeout=timeout_s, follow_redirects=False, event_hooks={"request": [_trace]}
        )
        self._clients: dict[str, Any] = {}

    async def ask(self, endpoint: Endpoint, text: str) -> Answer:
        """The model's answer to one user message, from the ledger if it was paid for.

        Raises:
            OverBudgetError: The request could exceed the budget; nothing was sent.
            ConfigError: The key has characters that a header cannot hold, or the ledger cannot be written.
            RefusedError: The endpoint refuses the key or the model, and gave no answer before.
            InferenceError: The endpoint refused, or kept failing; the message has its status and text.
        """
        key = endpoint.key(text)
        known = self.ledger.answer(key)
        if known is not None:
            return known
        async with self._in_flight:
            worst = endpoint.dollars(endpoint.worst_case(text))
            for attempt in range(self.retries + 1):
                reply = await self._attempt(endpoint, text, key, worst)
                if reply.answer is not None:
                    self._answered.add(endpoint)
                    return reply.answer
                if attempt == self.retries or not reply.retry:
                    times = f"{attempt + 1} time{'s' if attempt else ''}"
                    problem = f"{endpoint.model} at {endpoint.url} failed {times}: {reply.problem}"
                    refused = reply.refused and endpoint not in self._answered
                    raise RefusedError(problem) if refused else InferenceError(problem)
                pause = min(0.5 * 2**attempt, 30.0) * (0.5 + random.random() / 2)
                await asyncio.sleep(pause if reply.pause_s is None else reply.pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def _attempt(self, endpoint: Endpoint, text: str, key: bytes, worst: float) -> Reply:
        """One request, in the ledger whatever its result."""
        await self._reserve(worst)
        paid = 0.0
        try:
            await self._wait_for_turn()
            entry = self.ledger.begin(key, worst)
            # If anything interrupts from here to the reply, a request that was sent may be billed.
            answer, progress = None, _Progress()
            try:
                reply = await self._send(endpoint, text, progress)
                answer = reply.answer
                paid = endpoint.dollars(reply.usage or endpoint.worst_case(text)) if reply.billed else 0.0
            except BaseException:
                paid = worst if progress.left else 0.0
                raise
            finally:
                self.ledger.settle(entry, answer, paid)
            return reply
        finally:
            self.budget.settle(worst, paid)
            self._settled.set()

    async def _reserve(self, dollars: float) -> None:
        """Waits for requests in flight while they may turn out cheap enough."""
        while not self.budget.reserve(dollars):
            if not self.budget.under_way:
                raise OverBudgetError
            self._settled.clear()
            await self._settled.wait()

    async def _send(self, endpoint: Endpoint, text: str, progress: _Progress) -> Reply:
        import openai

        _PROGRESS.set(progress)
        headers = authorization_header(endpoint.authorization())
        try:
            # The client's time-out is for each read and write; an endpoint that sends slowly never reaches it.
            sent = self._completions(endpoint).create(**endpoint.request(text), extra_headers=headers)
            response = (await _within(self._timeout_s, sent)).http_response
        except asyncio.TimeoutError:
            problem = f"no complete answer within {self._timeout_s:g} s"
            return Reply(problem=problem, retry=True, billed=progress.left)
        except openai.APIStatusError as error:
            response = error.response
        except Exception as error:
            return read_failure(error, progress.left, endpoint.redact)
        reply = read_response(response, endpoint.redact)
        if reply.answer is None:
            return reply
        return replace(reply, answer=replace(reply.answer, text=endpoint.redact_answer(reply.answer.text)))

    def _completions(self, endpoint: Endpoint) -> Any:
        if endpoint.url not in self._clients:
            # The key is that of the request's header.
            self._clients[endpoint.url] = model_client(
                "AsyncOpenAI", endpoint.url, "none", http_client=self._http, max_retries=0, timeout=self._timeout_s
            )
        return self._clients[endpoint.url].chat.completions.with_raw_response

    async def _wait_for_turn(self) -> None:
        now = asyncio.get_running_loop().time()
        start = max(now, self._next_start)
        self._next_start = start + self._gap_s
        await asyncio.sleep(start - now)


async def _within(seconds: float, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of the work if it ends in time; else it is cancelled.

    ``asyncio.wait_for`` can lose a cancellation of its caller that comes together with the result, and an interrupted run would continue.

    Raises:
        asyncio.TimeoutError: It did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        in_time = task.done()
        if not in_time:
            task.cancel()
            await asyncio.wait({task})
    if not in_time:
        raise asyncio.TimeoutError
    return task.result()


@dataclass
class _Progress:
    """How far a request got: once its headers are sent, it may be billed."""

    left: bool = False


#: The progress of the request that the current task sends.
_PROGRESS: ContextVar[_Progress] = ContextVar("progress")


async def _trace(request: Any) -> None:
    """Event hook of httpx for each request: notes in its progress that its headers were sent."""
    progress = _PROGRESS.get()

    async def note(event: str, info: Mapping[str, Any]) -> None:
        # Such as "http11.send_request_headers.complete".
        progress.left |= event.endswith("send_request_headers.complete")

    request.extensions["trace"] = note
