"""Reads text and log-probabilities of answers as each dialect has them, whole or event by event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from turnout.cascade import Answer
from turnout.cascade.answer import TOP_LOGPROBS
from turnout.serve.dialects import CHAT, RESPONSES, Dialect
from turnout.serve.dialects.judging import BYTE_ORDER_MARK
from turnout.serve.dialects.sse import DONE, events

#: What a request adds to get log-probabilities. Anthropic's API has none.
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    CHAT.name: {"logprobs": True, "top_logprobs": TOP_LOGPROBS},
    RESPONSES.name: {"include": ["message.output_text.logprobs"], "top_logprobs": TOP_LOGPROBS},
}
#: What every token of an answer with log-probabilities has; streams without them may have ``"logprobs": null`` in each event.
_LOGPROB = b'"logprob"'
#: Longer pieces would hold the event loop.
_LONGEST_PIECE = 1 << 20
_Tokens = list[dict[str, Any]]


def fields_for(dialect: Dialect, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields that ask for log-probabilities; none where the dialect has none or the request asks already.

    Args:
        dialect: Of the request.
        request: Its body.
    """
    fields = dict(_FIELDS.get(dialect.name, {}))
    if request.get("logprobs") is True or request.get("top_logprobs"):
        return {}
    if isinstance(request.get("include"), list) and "include" in fields:
        fields["include"] = [*request["include"], *fields["include"]]
    return fields


class Reading:
    """Collects an answer.

    Args:
        dialect: What it is written in.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._name = dialect.name
        self._texts: list[str] = []
        self._tokens: _Tokens = []
        #: Tokens so far: log-probabilities, or parts of text where there are none.
        self.tokens = 0

    @property
    def answer(self) -> Answer:
        """The answer so far. Calls of tools count as text."""
        return Answer.from_tokens("".join(self._texts), self._tokens)

    def whole(self, body: bytes) -> None:
        """Reads a whole answer.

        Args:
            body: Its JSON text, checked before.

        Raises:
            ValueError: The input of a tool is nested too deep to be read as text.
        """
        for text, tokens in _whole(self._name, orjson.loads(body.removeprefix(BYTE_ORDER_MARK))):
            self._add(text, tokens)

    def piece(self, piece: bytes) -> None:
        """Reads complete events of a stream.

        Args:
            piece: The events.
        """
        for text, tokens in _parts(self._name, piece):
            self._add(text, tokens)

    def _add(self, text: object, tokens: object) -> None:
        if isinstance(text, str) and text:
            self._texts.append(text)
        known = _known(tokens)
        self._tokens += known
        self.tokens += len(known) or (1 if isinstance(text, str) and text else 0)


class LogprobMean:
    """The mean log-probability of an answer's tokens, as far as the answer has them. Answers of dialects that have none are not read.

    Args:
        dialect: What it is written in.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._name = dialect.name
        self._has_any = dialect.name in _FIELDS
        self._sum = 0.0
        self._tokens = 0

    @property
    def mean(self) -> float | None:
        """The mean so far; ``None`` without tokens."""
        return self._sum / self._tokens if self._tokens else None

    def whole(self, found: Mapping[str, Any]) -> None:
        """Reads a whole answer.

        Args:
            found: Its object.
        """
        if self._has_any:
            self._add(_whole(self._name, found))

    def piece(self, piece: bytes) -> None:
        """Reads complete events of a stream. Those without log-probabilities are not parsed.

        Args:
            piece: The events.
        """
        if self._has_any and _LOGPROB in piece and len(piece) <= _LONGEST_PIECE:
            self._add(_parts(self._name, piece))

    def _add(self, parts: Iterator[tuple[object, object]]) -> None:
        for _, tokens in parts:
            for one in Answer.from_tokens("", _known(tokens)).logprobs or ():
                self._sum += one
                self._tokens += 1


def _parts(name: str, piece: bytes) -> Iterator[tuple[object, object]]:
    for data in events(piece):
        if data.strip() == DONE:
            continue
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict):
            yield from _part(name, event)


def _whole(name: str, found: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    if name == CHAT.name:
        yield from _choice(found, "message")
    elif name == RESPONSES.name:
        for item in _dicts(found.get("output")):
            yield item.get("arguments"), None
            for part in _dicts(item.get("content")):
                yield part.get("text"), part.get("logprobs")
    else:
        for part in _dicts(found.get("content")):
            yield part.get("text"), None
            if "input" in part:
                yield _written(part["input"]), None


def _written(found: object) -> str:
    try:
        return orjson.dumps(found).decode()
    except orjson.JSONEncodeError as error:
        # What orjson reads may be four times as deep.
        raise ValueError(f"the input of a tool cannot be read as text: {error}") from None


def _part(name: str, event: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    delta = event.get("delta")
    if name == CHAT.name:
        yield from _choice(event, "delta")
    elif name == RESPONSES.name:
        kind = event.get("type")
        if kind in ("response.output_text.delta", "response.function_call_arguments.delta"):
            yield delta, event.get("logprobs")
    elif isinstance(delta, dict):
        yield delta.get("text"), None
        yield delta.get("partial_json"), None


def _choice(found: Mapping[str, Any], field: str) -> Iterator[tuple[object, object]]:
    # Of more than one choice (``n``) the first is judged; its events and those of the others take turns.
    choice = next((one for one in _dicts(found.get("choices")) if not one.get("index")), {})
    message = choice.get(field)
    message = message if isinstance(message, dict) else {}
    logprobs = choice.get("logprobs")
    yield message.get("content"), logprobs.get("content") if isinstance(logprobs, dict) else None
    for call in _dicts(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            yield function.get("arguments"), None


def _dicts(found: object) -> Iterator[dict[str, Any]]:
    return (one for one in found if isinstance(one, dict)) if isinstance(found, list) else iter(())


def _known(tokens: object) -> _Tokens:
    return [one for one in tokens if _is_token(one)] if isinstance(tokens, list) else []


def _is_token(found: object) -> bool:
    if not isinstance(found, dict) or type(found.get("logprob")) not in (int, float):
        return False
    tops = found.get("top_logprobs")
    return tops is None or (
        isinstance(tops, list)
        and all(isinstance(top, dict) and type(top.get("logprob")) in (int, float) for top in tops)
    )
