"""Keys that clients must show, kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from turnout._core import ConfigError

_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})[ \t]*:[ \t]*([0-9a-fA-F]{64})")


class ClientKeys:
    """SHA-256 of each key by the client's name. Keys are long random texts, so one hash without salt is enough.

    Args:
        hashes: Name to hash, 64 hexadecimal digits.

    Example:
        >>> keys = ClientKeys({"team-a": key_hash("secret-of-team-a")})
        >>> keys.client_of("Bearer secret-of-team-a"), keys.client_of("Bearer other")
        ('team-a', None)
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = {name: bytes.fromhex(one) for name, one in hashes.items()}

    @classmethod
    def from_file(cls, path: str) -> ClientKeys:
        """Reads lines ``name:sha256``; empty lines and those that begin with ``#`` are left out. No path means no keys.

        Raises:
            ConfigError: A line of another form, a name twice, no line at all, or a file that cannot be read.
        """
        if not path:
            return cls({})
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"client_keys_file {path}: {type(error).__name__}") from None
        hashes: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            # The line itself is not shown: it may be a key that was never hashed.
            if found is None:
                raise ConfigError(
                    f"client_keys_file {path}: line {number}: expected name:sha256, of `turnout serve --hash-key`"
                )
            if found[1] in hashes:
                raise ConfigError(f"client_keys_file {path}: line {number}: duplicate name {found[1]}")
            hashes[found[1]] = found[2]
        if not hashes:
            raise ConfigError(f"client_keys_file {path} has no keys, so no client could connect")
        return cls(hashes)

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def client_of(self, authorization: str | None, api_key: str | None = None) -> str | None:
        """Name of the client that sent a key, or ``None``. Every hash is compared, in constant time.

        Args:
            authorization: The header ``Authorization``, with ``Bearer``.
            api_key: The header ``x-api-key``, as Anthropic's clients send it.
        """
        scheme, _, key = (authorization or "").partition(" ")
        name = None
        for sent in (key.strip() if scheme.lower() == "bearer" else "", (api_key or "").strip()):
            if not sent:
                continue
            found = hashlib.sha256(sent.encode("utf-8", "surrogatepass")).digest()
            for client, expected in self._hashes.items():
                if hmac.compare_digest(found, expected):
                    name = name or client
        return name


def key_hash(key: str) -> str:
    """The form of a key in the file."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
