"""The calls of shadow evaluation: another model's answer to a request, and a judge's comparison of two answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from turnout.conversation.messages import any_text_of, listed, role_of
from turnout.conversation.needs import needs_of
from turnout.outcomes.comparison import question
from turnout.serve.decisions.efforts import body_for
from turnout.serve.dialects import CHAT, MESSAGES, RESPONSES, Dialect
from turnout.serve.http.json_body import beside_the_loop
from turnout.serve.upstreams.answer import Answer
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.reading import Reading
from turnout.serve.upstreams.upstream import Call, Request, Upstream
from turnout.serve.upstreams.usage import Usage

if TYPE_CHECKING:
    from turnout.serve.decisions.snapshot import Model
    from turnout.serve.settings.tables import Settings

#: Bytes of a token, about; and tokens of an answer whose request sets no limit, and of a verdict.
_TOKEN_BYTES, _ANSWER_TOKENS, _VERDICT_TOKENS = 3, 2_000, 1_000
#: The largest limit of a request that is believed.
_MOST_TOKENS = 32_000
#: Fields that a shadow request does not have: it is no stream, stays in no store, and no client waits for it.
_LEFT_OUT = ("stream", "stream_options", "background", "store", "metadata")


def excluded_by(parsed: Mapping[str, Any], dialect: Dialect) -> str:
    """Why a request is not compared; empty where it may be.

    Tools may act, and the judge reads text alone. A stored conversation or prompt is at the upstream that has it.

    Args:
        parsed: The request's body.
        dialect: What it is written in.
    """
    if needs := needs_of(parsed, dialect.conversation):
        return sorted(needs)[0]
    if parsed.get("tool_choice") or parsed.get("mcp_servers") or parsed.get("web_search_options"):
        return "tools"
    if dialect.continues(parsed) or parsed.get("prompt") or parsed.get("background"):
        return "stored"
    return "several_answers" if parsed.get("n") not in (None, 1) else ""


def shadow_request(body: bytes, dialect: Dialect) -> tuple[bytes, str, int]:
    """The body for another model, the conversation as text for the judge, and the tokens that an answer is expected to have at most.

    Args:
        body: The client's request.
        dialect: What it is written in.
    """
    parsed = {name: value for name, value in orjson.loads(body).items() if name not in _LEFT_OUT}
    if dialect.name == RESPONSES.name:
        parsed["store"] = False
    beside = [parsed.get(name) for name in dialect.beside if name in ("system", "instructions")]
    messages = [*({"role": "system", "content": one} for one in beside if one), *listed(dialect.messages(parsed))]
    texts = [any_text_of(message, index) for index, message in enumerate(messages)]
    if len(texts) > 1:
        texts = [f"[{role_of(message)}] {text}" for message, text in zip(messages, texts, strict=True)]
    limit = dialect.output_limit(parsed)
    output = _ANSWER_TOKENS if limit is None or limit < 1 else min(limit, _MOST_TOKENS)
    return orjson.dumps(parsed), "\n".join(texts), output


def delivered_text(content: bytes, dialect: Dialect, *, is_stream: bool) -> str:
    """The text of an answer as it went to the client.

    Args:
        content: A whole answer, or all events.
        dialect: What it is written in.
        is_stream: Whether these are events.
    """
    reading = Reading(dialect)
    (reading.piece if is_stream else reading.whole)(content)
    return reading.answer.text


class ShadowCall:
    """One call. About what it may cost is known before it is sent.

    Args:
        model: The model.
        dialect: What the request is written in.
        body: The request, with any name of a model.
        output: Tokens that its answer is expected to have at most.
        size: Bytes of the input.
        settings: Have the prices.

    Raises:
        ValueError: The model has no prices.
    """

    def __init__(self, model: Model, dialect: Dialect, body: bytes, output: int, size: int, settings: Settings) -> None:
        prices = settings.prices_of(model.name)
        if prices is None:
            raise ValueError(f"model {model.name} has no prices")
        self.model, self.output = model, output
        self._request = Request(dialect, body, _headers(dialect), False, "")
        self._prices = prices
        self.expected = self._cost(Usage(round(size / _TOKEN_BYTES), output))
        #: What it cost so far: nothing before it is sent.
        self.cost = 0.0

    def input_cost(self, tokens: int) -> float:
        """What further tokens of the input cost.

        Args:
            tokens: How many.
        """
        return self._cost(Usage(tokens, 0))

    async def send(self, upstream: Upstream) -> str:
        """Sends it.

        Args:
            upstream: Of the model, apart from that of live requests.

        Returns:
            The text of the answer.

        Raises:
            UpstreamError: There is no answer.
        """
        request = self._request
        body = await body_for(self.model, request.body, request.dialect)
        self.cost = self.expected
        try:
            answer = await self.model.send(Call(request, body, self.model.upstream_name, self.model.label), upstream)
        except UpstreamError as error:
            if error.is_unread or error.reason.isdigit():
                self.cost = 0.0
            raise
        try:
            return await self._text(answer)
        finally:
            answer.close()

    async def _text(self, answer: Answer) -> str:
        if answer.status != 200:
            self.cost = 0.0
            raise UpstreamError(str(answer.status), f"model {self.model.label} answered {answer.status}")
        if answer.rest is not None:
            raise UpstreamError("too_long", f"model {self.model.label} sent an answer that is too long")
        self.cost = self._cost(answer.usage)
        read: Callable[[], str] = lambda: delivered_text(answer.first, self._request.dialect, is_stream=False)  # noqa: E731
        return await beside_the_loop(len(answer.first), read)

    def _cost(self, usage: Usage) -> float:
        """What tokens cost; what the call is expected to cost where they are unknown."""
        cost = usage.cost(self._prices)
        return self.expected if cost is None else cost


def judge_call(judge: Model, prompt: str, answers: tuple[str, str], settings: Settings) -> ShadowCall:
    """Asks the judge.

    Args:
        judge: The judge.
        prompt: The conversation.
        answers: In the order in which it reads them.
        settings: Have the prices and the rubric.
    """
    dialect = next(one for one in (CHAT, MESSAGES, RESPONSES) if one.name in judge.dialects)
    text = question(prompt, *answers, settings.shadow.rubric)
    body: dict[str, Any] = {"model": "", "messages": [{"role": "user", "content": text}]}
    if dialect is MESSAGES:
        body["max_tokens"] = _VERDICT_TOKENS
    elif dialect is RESPONSES:
        body = {"model": "", "input": text, "store": False}
    content = orjson.dumps(body)
    return ShadowCall(judge, dialect, content, _VERDICT_TOKENS, len(content), settings)


def expected_of_judge(judge: Model, prompt: str, delivered: str, call: ShadowCall, settings: Settings) -> float:
    """What the judge is expected to cost at most, before the other answer is there.

    Args:
        judge: The judge.
        prompt: The conversation.
        delivered: The answer that is there.
        call: That for the other one.
        settings: Have the prices.
    """
    known = judge_call(judge, prompt, (delivered, ""), settings)
    return known.expected + known.input_cost(call.output)


def _headers(dialect: Dialect) -> dict[str, str]:
    found = {"content-type": "application/json", "accept-encoding": "identity"}
    return found | ({"anthropic-version": "2023-06-01"} if dialect.name == MESSAGES.name else {})
