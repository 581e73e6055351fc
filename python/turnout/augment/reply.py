"""The result of one request: an answer, or the reason why there is none, whether to retry, and whether it may be billed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from turnout.augment.answer import Answer
from turnout.augment.endpoint import Usage
from turnout.retry_after import retry_after_s

#: Statuses below 500 after which the same request can succeed.
_RETRIED = frozenset({408, 409, 429})
#: Statuses of a wrong key, and of an unknown model or address.
_REFUSED = frozenset({401, 404})
#: Statuses of a gateway that forwarded a request and got no answer in time.
_LOST = frozenset({504, 524})
#: Errors of httpx that say that a request cannot be sent at all.
_REFUSED_TO_SEND = frozenset({"InvalidURL", "LocalProtocolError", "UnsupportedProtocol"})
_SURROGATE = re.compile("[\ud800-\udfff]")
#: A greater count of tokens is wrong, or not an exact float.
_MOST_TOKENS = 1 << 40


@dataclass(frozen=True)
class Reply:
    """The result of one request.

    Attributes:
        answer: ``None`` if there is none.
        usage: Tokens, if the endpoint reported them.
        problem: Why there is no answer.
        retry: Whether the same request can succeed later.
        refused: Whether every request to this model fails.
        pause_s: Seconds to wait, if the endpoint gave them.
        billed: Whether the request is, or may be, billed.
    """

    answer: Answer | None = None
    usage: Usage | None = None
    problem: str = ""
    retry: bool = False
    refused: bool = False
    pause_s: float | None = None
    billed: bool = False


def read_response(response: Any, redact: Callable[[str], str]) -> Reply:
    """Reads a response of httpx.

    Args:
        response: Read to its end.
        redact: Removes secrets from a text that is shown.
    """
    status = response.status_code
    if not response.is_success:
        wait = retry_after_s(response.headers)
        pause_s = None if wait is None else min(wait, 60.0)
        problem = f"status {status}: {redact(response.text)[:500]}"
        retry = status in _RETRIED or status >= 500
        return Reply(problem=problem, retry=retry, refused=status in _REFUSED, pause_s=pause_s, billed=status in _LOST)
    body = None
    try:
        body = response.json()
        choice = body["choices"][0]
        text = choice["message"]["content"]
        text = "" if text is None else text
        if not isinstance(text, str):
            raise TypeError(f"content is {type(text).__name__}, expected text")
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        shown = f"{redact(repr(error))[:200]} in {redact(response.text)[:200]!r}"
        problem = f"response is not OpenAI's format: {shown}"
        return Reply(usage=_usage(body), problem=problem, billed=True)
    finish = choice.get("finish_reason")
    answer = Answer(_storable(text), finish if isinstance(finish, str) else None)
    return Reply(answer, _usage(body), billed=True)


def _storable(text: str) -> str:
    """The text with lone surrogates replaced, which JSON allows and UTF-8 does not."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _usage(body: Any) -> Usage | None:
    try:
        tokens = [int(body["usage"][name]) for name in ("prompt_tokens", "completion_tokens")]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Usage(*tokens) if all(0 <= count <= _MOST_TOKENS for count in tokens) else None


def read_failure(error: Exception, left: bool, redact: Callable[[str], str]) -> Reply:
    """Reads an exception raised instead of a response.

    Args:
        error: Of the ``openai`` package, or of httpx below it.
        left: Whether the request's headers were sent. Then it may be billed although the answer is lost.
        redact: Removes secrets from a text that is shown.
    """
    import openai

    cause = error.__cause__ or error
    name = type(cause).__name__
    retry = isinstance(error, openai.APIConnectionError) and name not in _REFUSED_TO_SEND
    return Reply(problem=f"{name}: {redact(str(cause))[:500]}", retry=retry, billed=left)
