"""Clients of OpenAI-compatible endpoints: the ``openai`` package, by which turnout calls every model."""

from __future__ import annotations

import os
from typing import Any, Literal
from urllib.parse import urlsplit

from turnout._core import ConfigError
from turnout.extras import require

#: Headers that ``openai`` takes from the environment for OpenAI's own API.
_OPENAI_ONLY = ("OpenAI-Organization", "OpenAI-Project")

#: Used if there is no key: local servers need none, but the class requires one.
NO_KEY = "none"


def is_openai(base_url: str | None) -> bool:
    """Whether this is OpenAI's own API, for which the environment's key, organization and project are meant."""
    return base_url is None or urlsplit(base_url).hostname == "api.openai.com"


def model_client(
    kind: Literal["OpenAI", "AsyncOpenAI"], base_url: str | None, api_key: str | None = None, **options: Any
) -> Any:
    """A client of an endpoint.

    An organization and a project in the environment are sent to OpenAI's API alone.

    Args:
        kind: The class in ``openai``.
        base_url: Such as ``http://localhost:8000/v1``; ``None`` is ``OPENAI_BASE_URL``, or OpenAI's API.
        api_key: ``None`` is ``OPENAI_API_KEY``; where that is not set either, an endpoint with a base URL gets the key ``none``.
        options: Others of the class, such as ``timeout``, ``max_retries`` and ``http_client``.

    Raises:
        ConfigError: ``openai`` is not installed, or no key for OpenAI's API.
    """
    require("openai", "openai", purpose="calling models")
    import openai

    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
    if api_key is None and not os.environ.get("OPENAI_API_KEY"):
        if base_url is None:
            raise ConfigError("no key for OpenAI's API: give api_key, or set OPENAI_API_KEY")
        api_key = NO_KEY
    headers = {} if is_openai(base_url) else {name: openai.Omit() for name in _OPENAI_ONLY}
    return getattr(openai, kind)(base_url=base_url, api_key=api_key, default_headers=headers, **options)


def authorization_header(value: str | None) -> dict[str, Any]:
    """``extra_headers`` of one request: this authorization, or none at all, whatever key the client has."""
    import openai

    return {"Authorization": value or openai.Omit()}
