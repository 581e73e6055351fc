"""A model at an OpenAI-compatible endpoint: address, key, price, request body."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from turnout._core import ConfigError
from turnout.augment.ledger import Price

#: Maximum tokens of a chat message beyond its text: roles, and the system message that some templates add.
_OVERHEAD_TOKENS = 128
#: A shorter secret (``EMPTY``, ``none``) is a placeholder, and a word that an answer may contain.
_SHORTEST_SECRET = 8


@dataclass(frozen=True)
class Usage:
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Endpoint:
    """A model at an endpoint.

    Attributes:
        model: Its name at the endpoint.
        base_url: Such as ``https://api.openai.com/v1`` or ``http://localhost:8000/v1``. A user and password in it are sent
            instead of a key, and are never shown.
        price: Its price; ``None`` if costs are not counted.
        max_tokens: Maximum tokens of an answer.
        key_variable: Environment variable that holds the key; ``None``, or a variable that is not set, sends no key, which local
            servers accept.
        reasoning: Whether it takes ``max_completion_tokens`` in place of ``max_tokens`` and no ``temperature``, as OpenAI's reasoning
            models do; reasoning counts towards the tokens.

    Raises:
        ConfigError: The URL has no http or https scheme, no host, or a ``?`` or ``#``.

    Example:
        >>> Endpoint("m", "https://user:password@host/v1/").url
        'https://host/v1'
    """

    model: str
    base_url: str = field(repr=False)
    price: Price | None = None
    max_tokens: int = 1024
    key_variable: str | None = "OPENAI_API_KEY"
    reasoning: bool = False

    def __post_init__(self) -> None:
        _split(self.base_url)

    @property
    def url(self) -> str:
        """The address without user and password."""
        parts = _split(self.base_url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}".rstrip("/")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: a key is sent to one origin."""
        parts = _split(self.base_url)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]

    def authorization(self) -> str | None:
        """Value of the ``Authorization`` header, read from the environment now; ``None`` sends none.

        Raises:
            ConfigError: The key has characters that a header cannot hold; the message does not show it.
        """
        parts = _split(self.base_url)
        if parts.username or parts.password:
            pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            return "Basic " + base64.b64encode(pair.encode()).decode()
        key = self._key()
        return f"Bearer {key}" if key else None

    def redact(self, text: str, shortest: int = 1) -> str:
        """The text with the key, and the password, replaced by ``***``.

        Args:
            text: Any text.
            shortest: Secrets with fewer characters are kept.
        """
        parts = _split(self.base_url)
        secrets = {self._key(), parts.password, unquote(parts.password or "")}
        secrets.add((self.authorization() or "").rpartition(" ")[2])
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            if len(secret) >= shortest:
                text = text.replace(secret, "***")
        return text

    def redact_answer(self, text: str) -> str:
        """An answer with the key replaced by ``***``; placeholders such as ``EMPTY`` are kept."""
        return self.redact(text, _SHORTEST_SECRET)

    def request(self, text: str) -> dict[str, Any]:
        """Body of a request with one user message."""
        messages = [{"role": "user", "content": text}]
        if self.reasoning:
            return {"model": self.model, "messages": messages, "max_completion_tokens": self.max_tokens}
        return {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.max_tokens}

    def key(self, text: str) -> bytes:
        """Key of a request in the ledger."""
        body = json.dumps([self.url, self.request(text)], sort_keys=True)
        return hashlib.sha256(body.encode()).digest()

    def worst_case(self, text: str) -> Usage:
        """Maximum tokens of a request: a token is at least one byte."""
        return Usage(len(text.encode("utf-8", "surrogatepass")) + _OVERHEAD_TOKENS, self.max_tokens)

    def dollars(self, usage: Usage) -> float:
        """Cost of a request; 0 without a price."""
        return 0.0 if self.price is None else self.price.dollars(usage.prompt_tokens, usage.completion_tokens)

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(
                f"environment variable {self.key_variable}: expected a key of printable ASCII characters without spaces, found "
                f"{len(key)} characters with others among them"
            )
        return key or None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(mark in url for mark in "?#") or not url.isprintable() or " " in url:
        raise ConfigError(
            f"endpoint {_shown(url)!r}: expected a URL with scheme and host such as https://api.openai.com/v1, without spaces, "
            "? and #"
        )
    return parts


def _shown(url: str) -> str:
    """A URL that may be malformed, without what may be user, password or key."""
    scheme, mark, rest = url.rpartition("://")
    _, at, host = rest.rpartition("@")
    return scheme.rpartition("@")[2] + mark + ("***@" if at else "") + host.partition("?")[0].partition("#")[0]
