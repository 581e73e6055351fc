"""Chat completions of an OpenAI-compatible endpoint: rate limit, retries, a ledger of what was paid."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from turnout import ConfigError, InferenceError
from turnout.augment.answer import Answer
from turnout.augment.endpoint import Endpoint
from turnout.augment.ledger import Budget, Ledger
from turnout.augment.reply import Reply, read_failure, read_response
from turnout.extras import require

_Result = TypeVar("_Result")


class OverBudgetError(Exception):
    """The cap leaves no room for a request."""


class RefusedError(InferenceError):
    """A model that has not answered yet refuses the key, or is not there: it would refuse every other request too."""


class ChatClient:
    """Asks endpoints; a request whose answer is in the ledger is not sent again.

    The key is read from the environment for each request, kept nowhere, and replaced by ``***`` in every text that comes back.

    Args:
        ledger: Keeps answers and costs.
        budget: Cap on the costs.
        concurrency: Requests under way at most.
        requests_per_minute: Requests started a minute at most; ``None`` is no limit.
        timeout_s: For an attempt, from connection to last byte.
        retries: Further attempts after time-outs, refused or lost connections and status 408, 409, 429 and 5xx, with doubling
            pauses or as long as ``Retry-After`` asks, at most a minute.
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
        require("eval", "httpx", purpose="calling models")
        import httpx

        self.ledger, self.budget = ledger, budget
        self.concurrency, self.retries = concurrency, retries
        self._under_way = asyncio.Semaphore(concurrency)
        self._gap_s = 0.0 if requests_per_minute is None else 60.0 / requests_per_minute
        self._next_start = 0.0
        self._settled = asyncio.Event()
        self._answered: set[Endpoint] = set()
        self._timeout_s = timeout_s
        # No more connections than requests under way: none waits for one.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=concurrency)
        self._http = httpx.AsyncClient(timeout=timeout_s, limits=limits)

    async def ask(self, endpoint: Endpoint, text: str) -> Answer:
        """The model's answer to one user message, from the ledger if it was paid for.

        Raises:
            OverBudgetError: The request could break the cap; nothing was sent.
            ConfigError: The key has characters that no header can hold, or the ledger cannot be written.
            RefusedError: The endpoint knows no such key or model, and gave no answer before.
            InferenceError: The endpoint refused, or went on failing; the message has its status and words.
        """
        key = endpoint.key(text)
        known = self.ledger.answer(key)
        if known is not None:
            return known
        async with self._under_way:
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
        """One request, on the books whatever becomes of it."""
        await self._set_aside(worst)
        paid = 0.0
        try:
            await self._wait_for_turn()
            entry = self.ledger.begin(key, worst)
            # Whatever cuts in from here to the reply, a request that left may be on the bill.
            answer, journey = None, _Journey()
            try:
                reply = await self._send(endpoint, text, journey)
                answer = reply.answer
                paid = endpoint.dollars(reply.usage or endpoint.worst_case(text)) if reply.billed else 0.0
            except BaseException:
                paid = worst if journey.left else 0.0
                raise
            finally:
                self.ledger.settle(entry, answer, paid)
            return reply
        finally:
            self.budget.settle(worst, paid)
            self._settled.set()

    async def _set_aside(self, dollars: float) -> None:
        """Waits for requests under way where they may turn out to leave enough."""
        while not self.budget.reserve(dollars):
            if not self.budget.under_way:
                raise OverBudgetError
            self._settled.clear()
            await self._settled.wait()

    async def _send(self, endpoint: Endpoint, text: str, journey: _Journey) -> Reply:
        import httpx

        authorization = endpoint.authorization()
        headers = {"Authorization": authorization} if authorization else {}
        try:
            # httpx's own time-out is for each read and write, which an endpoint that drips never reaches.
            response = await _within(
                self._timeout_s,
                self._http.post(
                    endpoint.url + "/chat/completions",
                    json=endpoint.request(text),
                    headers=headers,
                    extensions={"trace": journey.note},
                ),
            )
        except asyncio.TimeoutError:
            problem = f"no whole answer within {self._timeout_s:g} s"
            return Reply(problem=problem, retry=True, billed=journey.left)
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            return read_failure(error, journey.left, endpoint.hidden)
        reply = read_response(response, endpoint.hidden)
        if reply.answer is None:
            return reply
        return replace(reply, answer=replace(reply.answer, text=endpoint.hidden_in_answer(reply.answer.text)))

    async def _wait_for_turn(self) -> None:
        now = asyncio.get_running_loop().time()
        start = max(now, self._next_start)
        self._next_start = start + self._gap_s
        await asyncio.sleep(start - now)


async def _within(seconds: float, work: Coroutine[Any, Any, _Result]) -> _Result:
    """What the work gives, if it is done in time; else it is cancelled.

    ``asyncio.wait_for`` can swallow a cancellation of its caller that comes with the result, and an interrupted run would go on.

    Raises:
        asyncio.TimeoutError: It was not done in time.
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


class _Journey:
    """How far a request came, as httpx tells it.

    Attributes:
        left: Whether its headers were sent: from there on it may be on the bill.
    """

    def __init__(self) -> None:
        self.left = False

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpx with names such as ``http11.send_request_headers.complete``."""
        if event.endswith("send_request_headers.complete"):
            self.left = True
