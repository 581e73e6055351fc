"""Keys of upstreams: from the environment or a file into one header, and into no text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from turnout._core import ConfigError
from turnout.serve.upstream_settings import UpstreamSettings

_PRINTABLE = re.compile(r"[\x21-\x7e]{1,4096}")


class Secret:
    """A key. Its text appears in the header of :meth:`added_to` and nowhere else.

    Args:
        text: The key; empty for none.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

    def added_to(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers with the authorization."""
        return {**headers, "authorization": f"Bearer {self._text}"} if self._text else dict(headers)

    def removed_from(self, content: bytes) -> bytes:
        """Content in which the key does not stand."""
        return content.replace(self._text.encode(), b"***") if self._text else content


def read_key(name: str, settings: UpstreamSettings) -> Secret:
    """The key of an upstream.

    Raises:
        ConfigError: The variable is not set, the file cannot be read, or what is in it can be no key. The message never has the key.
    """
    where = f"[upstreams.{name}]"
    if settings.key_env:
        text = os.environ.get(settings.key_env, "")
        if not text:
            raise ConfigError(f"{where} key_env: the environment variable {settings.key_env} is not set")
        source = f"the environment variable {settings.key_env}"
    elif settings.key_file:
        try:
            text = Path(settings.key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} key_file {settings.key_file}: {type(error).__name__}") from None
        source = f"the file {settings.key_file}"
    else:
        return Secret("")
    if not _PRINTABLE.fullmatch(text):
        raise ConfigError(f"{where}: {source} holds no key; expected printable ASCII without spaces")
    return Secret(text)
