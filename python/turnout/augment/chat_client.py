"""Chat completions of an OpenAI-compatible endpoint: rate limit, retries, a ledger of what was paid."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from dataclasses import dataclass
from typing import Any

from turnout import ConfigError, InferenceError
from turnout.augment.ledger import Budget, Ledger, Price

_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
#: Tokens of a chat message beyond its text, at most.
_OVERHEAD_TOKENS = 16


@dataclass(frozen=True)
class Endpoint:
    """A model somewhere.

    Attributes:
        model: Its name there.
        base_url: Such as ``https://api.openai.com/v1`` or ``http://localhost:8000/v1``.
        price: What it costs; ``None`` where nobody asked.
        max_tokens: Tokens of an answer at most.
        key_variable: Environment variable that holds the key; where it is not set, no key is sent, which local servers accept.
    """

    model: str
    base_url: str
    price: Price | None = None
    max_tokens: int = 1024
    key_variable: str = "OPENAI_API_KEY"

    def request(self, text: str) -> dict[str, Any]:
        """Body of a request with one user message."""
        messages = [{"role": "user", "content": text}]
        return {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.max_tokens}

    def key(self, text: str) -> bytes:
        """What identifies a request in the ledger."""
        body = json.dumps([self.base_url.rstrip("/"), self.request(text)], sort_keys=True)
        return hashlib.sha256(body.encode()).digest()

    def worst_case(self, text: str) -> Usage:
        """Tokens that a request can take at most: a token is at least one byte."""
        return Usage(len(text.encode("utf-8", "surrogatepass")) + _OVERHEAD_TOKENS, self.max_tokens)

    def dollars(self, usage: Usage) -> float:
        """Cost of a request; 0 without a price."""
        return 0.0 if self.price is None else self.price.dollars(usage.prompt_tokens, usage.completion_tokens)


@dataclass(frozen=True)
class Usage:
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int


class OverBudgetError(Exception):
    """The cap leaves no room for a request."""


class ChatClient:
    """Asks endpoints, each request once in a lifetime of the ledger.

    The key is read from the environment for each request and kept nowhere.

    Args:
        ledger: Keeps answers and costs.
        budget: Cap on the costs.
        concurrency: Requests under way at most.
        requests_per_minute: Requests started a minute at most; ``None`` is no limit.
        timeout_s: For a request, from connection to last byte.
        retries: Further attempts after time-outs, refused connections and status 408, 409, 429 and 5xx, with doubling pauses or
            as long as ``Retry-After`` asks, at most a minute.
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
        try:
            import httpx
        except ImportError as error:
            raise ConfigError("asking models needs httpx: pip install 'turnout[augment]'") from error
        self.ledger, self.budget = ledger, budget
        self.concurrency, self.retries = concurrency, retries
        self._under_way = asyncio.Semaphore(concurrency)
        self._gap_s = 0.0 if requests_per_minute is None else 60.0 / requests_per_minute
        self._next_start = 0.0
        self._http = httpx.AsyncClient(timeout=timeout_s)

    async def ask(self, endpoint: Endpoint, text: str) -> str:
        """The model's answer to one user message, from the ledger if it was paid for.

        Raises:
            OverBudgetError: The request could break the cap; nothing was sent.
            InferenceError: The endpoint refused, or went on failing; the message has its status and words.
        """
        key = endpoint.key(text)
        known = self.ledger.answer(key)
        if known is not None:
            return known
        async with self._under_way:
            worst = endpoint.dollars(endpoint.worst_case(text))
            for attempt in range(self.retries + 1):
                if not self.budget.reserve(worst):
                    raise OverBudgetError
                paid = 0.0
                try:
                    await self._wait_for_turn()
                    try:
                        outcome = await self._attempt(endpoint, text)
                    except asyncio.CancelledError:
                        paid = worst
                        self.ledger.pay(key, None, paid)
                        raise
                    if isinstance(outcome, _Answer):
                        usage = outcome.usage or endpoint.worst_case(text)
                        paid = endpoint.dollars(usage)
                        self.ledger.pay(key, outcome.text, paid)
                        return outcome.text
                    if outcome.maybe_billed:
                        paid = worst
                        self.ledger.pay(key, None, paid)
                finally:
                    self.budget.settle(worst, paid)
                if attempt == self.retries or not outcome.retry:
                    times = f"{attempt + 1} time{'s' if attempt else ''}"
                    raise InferenceError(f"{endpoint.model} at {endpoint.base_url} failed {times}: {outcome.problem}")
                pause = min(0.5 * 2**attempt, 30.0) * (0.5 + random.random() / 2)
                await asyncio.sleep(pause if outcome.pause_s is None else outcome.pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def _attempt(self, endpoint: Endpoint, text: str) -> _Answer | _Failure:
        import httpx

        key = os.environ.get(endpoint.key_variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = endpoint.base_url.rstrip("/") + "/chat/completions"
        try:
            response = await self._http.post(url, json=endpoint.request(text), headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return _Failure(f"{type(error).__name__}: {error}")
        except httpx.TransportError as error:
            # The request was sent, the answer lost: it may be on the bill.
            return _Failure(f"{type(error).__name__}: {error}", maybe_billed=True)
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            return _Failure(f"{type(error).__name__}: {error}", retry=False)
        if not response.is_success:
            asked = response.headers.get("retry-after", "")
            pause = min(float(asked), 60.0) if asked.replace(".", "", 1).isdigit() else None
            problem = f"status {response.status_code}: {response.text[:500]}"
            return _Failure(problem, retry=response.status_code in _RETRIED, pause_s=pause)
        return _parsed(response)

    async def _wait_for_turn(self) -> None:
        now = asyncio.get_running_loop().time()
        start = max(now, self._next_start)
        self._next_start = start + self._gap_s
        await asyncio.sleep(start - now)


@dataclass(frozen=True)
class _Answer:
    text: str
    usage: Usage | None


@dataclass(frozen=True)
class _Failure:
    problem: str
    retry: bool = True
    pause_s: float | None = None
    maybe_billed: bool = False


def _parsed(response: Any) -> _Answer | _Failure:
    try:
        body = response.json()
        text = body["choices"][0]["message"]["content"] or ""
        if not isinstance(text, str):
            raise TypeError(f"content is {type(text).__name__}, expected text")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        shown = f"{error!r} in {response.text[:200]!r}"
        return _Failure(f"answered in another shape than OpenAI's: {shown}", retry=False, maybe_billed=True)
    try:
        usage = Usage(int(body["usage"]["prompt_tokens"]), int(body["usage"]["completion_tokens"]))
    except (KeyError, TypeError, ValueError):
        usage = None
    return _Answer(text, usage)
