"""Keys of upstreams: read from the environment or a file, sent in one header, removed from everything that is relayed."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from turnout._core import ConfigError
from turnout.serve.settings.upstreams import UpstreamSettings

_PRINTABLE = re.compile(r"[\x21-\x7e]{1,4096}")
_BYTE_ORDER_MARK = "\ufeff"

#: Shorter texts are placeholders such as ``test``, which occur in many answers.
SHORTEST_SECRET = 16
#: Shorter forms of a key that looks escaped occur by chance.
_SHORTEST_UNESCAPED = 4
#: Characters that no key has: some encodings put them between those of a key, and clients may not show them.
_NOT_IN_KEYS = bytes(one for one in range(256) if not 0x21 <= one <= 0x7E)

#: Escapes of JSON, URLs and HTML.
_ESCAPE = re.compile(
    rb"\\u00([0-9a-f]{2})|\\x([0-9a-f]{2})|%([0-9a-f]{2})|&#x0{0,6}([0-9a-f]{2});|&#0{0,6}([0-9]{1,3});|\\(.)|&(amp|lt|gt|quot);",
    re.IGNORECASE | re.DOTALL,
)
_ENTITIES = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"'}
#: JSON within JSON within a URL is three.
_ESCAPE_LEVELS = 4
#: Length of ``\\u0041``.
_ESCAPED = 6


class Secret:
    """A key. Only :meth:`added_to` gives its text.

    Args:
        text: The key; empty for none.
    """

    __slots__ = ("_bytes", "_in_json", "_marks", "_needles", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._bytes = text.encode() if len(text) >= SHORTEST_SECRET else b""
        self._in_json = _in_json(self._bytes)
        # How JSON escapes a character of a key: by its number, or with the character itself.
        self._marks = (b"\\u00", *(b"\\" + bytes([one]) for one in set(self._bytes) & set(b'"/\\')))
        self._needles = tuple(dict.fromkeys(_needles(self._bytes))) if self._bytes else ()

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")

    def added_to(self, headers: Mapping[str, str], name: str = "authorization") -> dict[str, str]:
        """Headers with the key.

        Args:
            headers: Headers of a request.
            name: The header that gets the key, after ``Bearer`` in ``authorization``.
        """
        if not self._text:
            return dict(headers)
        return {**headers, name: f"Bearer {self._text}" if name.lower() == "authorization" else self._text}

    @property
    def is_placeholder(self) -> bool:
        """Whether it is too short to search for."""
        return 0 < len(self._text) < SHORTEST_SECRET

    def is_plain_in(self, content: bytes) -> bool:
        """Whether content has the key as a text of JSON, escaped or not: one scan or two, for answers that succeeded."""
        if not self._bytes:
            return False
        return self._bytes in content or (
            any(mark in content for mark in self._marks) and self._in_json.search(content) is not None
        )

    @property
    def size(self) -> int:
        """Length in bytes of the longest form of the key to search for; 0 for none."""
        return _ESCAPED * len(self._bytes)

    def plain_removed_from(self, content: bytes) -> bytes:
        """Content with ``***`` in place of the key as a text of JSON."""
        return self._in_json.sub(b"***", content) if self.is_plain_in(content) else content

    def is_in(self, content: bytes) -> bool:
        """Whether content has the key in any case, in base64 or hexadecimal, with escapes of JSON, URLs or HTML.

        Characters other than printable ASCII may occur between those of the key, as in UTF-16 or in lines of base64.
        """
        if not self._bytes:
            return False
        for _ in range(_ESCAPE_LEVELS):
            lower = content.lower()
            dense = lower.translate(None, _NOT_IN_KEYS)
            if any(needle in lower or needle in dense for needle in self._needles):
                return True
            if not any(mark in content for mark in (b"\\", b"%", b"&")):
                return False
            content = _ESCAPE.sub(_unescaped, content)
        return False

    def removed_from(self, content: bytes) -> bytes | None:
        """Content with ``***`` in place of the key; ``None`` where escapes leave no way to cut it out."""
        if not self.is_in(content):
            return content
        for needle in self._needles:
            content = re.sub(re.escape(needle), b"***", content, flags=re.IGNORECASE)
        return None if self.is_in(content) else content


def _in_json(key: bytes) -> re.Pattern[bytes]:
    """Every way in which JSON can write the key: any character of it may be escaped."""
    forms = []
    for byte in key:
        short = b"|\\\\" + re.escape(bytes([byte])) if byte in b'"/\\' else b""
        forms.append(b"(?:%b|\\\\u00(?i:%02x)%b)" % (re.escape(bytes([byte])), byte, short))
    return re.compile(b"".join(forms))


def _needles(key: bytes) -> Iterator[bytes]:
    """Lower-case forms of a key, longest first."""
    for text in (b"Bearer " + key, key):
        yield base64.b64encode(text).rstrip(b"=").lower()
        yield base64.urlsafe_b64encode(text).rstrip(b"=").lower()
    for part in _inside_base64(key):
        yield part.lower()
        yield part.translate(bytes.maketrans(b"+/", b"-_")).lower()
    yield key.hex().encode()
    yield key.lower()
    # A key that looks escaped is unescaped together with the text around it.
    for _ in range(_ESCAPE_LEVELS):
        key = _ESCAPE.sub(_unescaped, key)
        if len(key) >= _SHORTEST_UNESCAPED:
            yield key.lower()


def _inside_base64(key: bytes) -> Iterator[bytes]:
    """The characters that the key alone determines, wherever it begins in a longer text that is encoded."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + key)
        first = (before * 8 + 5) // 6
        last = (before + len(key)) * 8 // 6
        yield encoded[first:last]


def _unescaped(found: re.Match[bytes]) -> bytes:
    for group in (1, 2, 3, 4):
        if found[group]:
            return bytes([int(found[group], 16)])
    if found[5]:
        return bytes([int(found[5]) & 0xFF])
    return found[6] or _ENTITIES[found[7].lower()]


def key_text(where: str, *, env: str, file: str) -> str | None:
    """The text of a key, without byte order mark, blanks and line ends around it.

    Args:
        where: What names it, for errors.
        env: Environment variable that has it; empty for none.
        file: File that has it; empty for none.

    Returns:
        ``None`` where neither is given.

    Raises:
        ConfigError: The variable is not set, or the file cannot be read. The message never has the key.
    """
    if env:
        text = os.environ.get(env, "")
        if not text:
            raise ConfigError(f"{where}: the environment variable {env} is not set")
    elif file:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} {file}: {type(error).__name__}") from None
    else:
        return None
    return text.removeprefix(_BYTE_ORDER_MARK).strip()


def read_key(name: str, settings: UpstreamSettings) -> Secret:
    """The key of an upstream.

    Args:
        name: Of the upstream.
        settings: Name the variable or the file.

    Raises:
        ConfigError: The variable is not set, the file cannot be read, or its text cannot be a key. The message never has the key.
    """
    where, env, file = f"[upstreams.{name}]", settings.key_env, settings.key_file
    text = key_text(f"{where} {'key_env' if env else 'key_file'}", env=env, file=file)
    if text is None:
        return Secret("")
    if not _PRINTABLE.fullmatch(text):
        source = f"the environment variable {env}" if env else f"the file {file}"
        raise ConfigError(f"{where}: {source} has no valid key, expected printable ASCII without spaces")
    return Secret(text)
