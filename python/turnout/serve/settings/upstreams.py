"""Settings of one endpoint: address, keys, headers and timeouts."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from turnout.serve.settings.base import Count, Seconds, Table

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_SET_BY_THE_SERVER = frozenset(
    "accept-encoding connection content-encoding content-length content-type host transfer-encoding".split()
)


class UpstreamSettings(Table):
    """Table ``[upstreams.NAME]``: an endpoint of OpenAI's or Anthropic's API."""

    base_url: str
    #: Environment variable with the key; at most one of ``key_env`` and ``key_file``.
    key_env: str = ""
    #: File that holds nothing but the key.
    key_file: str = ""
    #: Header of the key: ``authorization`` has ``Bearer`` before it, any other the key alone (Azure: ``api-key``). Empty for the dialect's
    #: own: ``x-api-key`` for messages, else ``authorization``.
    key_header: str = ""
    #: Headers added to every request. Not for secrets.
    headers: dict[str, str] = Field(default_factory=dict)
    #: Query added to every request (Azure: ``api-version``).
    query: dict[str, str] = Field(default_factory=dict)
    #: ``env`` for ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, or a proxy's URL; empty for a direct connection.
    proxy: str = ""
    connect_timeout_s: Seconds = 5.0
    #: Until the first byte of an answer, or the first event of a stream.
    first_byte_timeout_s: Seconds = 120.0
    #: The longest pause within an answer.
    idle_timeout_s: Seconds = 60.0
    total_timeout_s: Seconds = 600.0
    retries: Annotated[int, Field(ge=0)] = 1
    backoff_s: Annotated[float, Field(ge=0)] = 0.1
    max_concurrency: Count = 1000
    breaker_failures: Count = 5
    breaker_open_s: Seconds = 10.0

    @model_validator(mode="after")
    def _check(self) -> UpstreamSettings:
        _check_url(self.base_url)
        if self.key_env and self.key_file:
            raise ValueError("both key_env and key_file are set, expected one")
        if self.key_header:
            _check_header("key_header", self.key_header)
        for name, value in self.headers.items():
            _check_header("headers", name)
            if name.lower() in ("authorization", "x-api-key", self.key_header.lower()):
                raise ValueError(f"headers has {name!r}, expected the key in key_env or key_file")
            if not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"headers {name} is {value!r}, expected printable ASCII")
        if self.proxy and self.proxy != "env":
            _check_proxy(self.proxy)
        return self


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"base_url is {url!r}, expected http:// or https:// and a host, such as http://localhost:8000/v1"
        )
    # The value is not shown from here on: it may hold a key.
    if parts.query:
        raise ValueError('base_url has a query, expected it in a table: query = { "api-version" = "2024-10-21" }')
    if parts.username or parts.password or parts.fragment:
        raise ValueError("base_url has more than scheme, host, port and path; put keys into key_env or key_file")
    for ending in ("/chat/completions", "/messages", "/responses"):
        if parts.path.rstrip("/").endswith(ending):
            raise ValueError(f"base_url ends with {ending}, expected the part before it, such as https://host/v1")


def _check_header(key: str, name: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{key} has {name!r}, expected the name of a header")
    if name.lower() in _SET_BY_THE_SERVER:
        raise ValueError(f"{key} has {name!r}, which the server sets itself")


def _check_proxy(url: str) -> None:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError('proxy has a password, expected it in the environment: proxy = "env"')
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f'proxy is {url!r}, expected "env" or a URL such as http://proxy:3128')
