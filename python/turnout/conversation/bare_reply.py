"""Replies without content of their own, such as "yes", "Go on!" or "why?", and the one form in which they are judged."""

from __future__ import annotations

import unicodedata

from turnout.conversation.bare_replies import BARE_REPLIES

#: A longer text has content. Checked first, so that other prompts cost nothing.
_MOST_CHARACTERS = 64
_MOST_WORDS = 8
#: A number of more digits has content.
_MOST_DIGITS = 3

#: Joiners, direction marks, variation selectors and keycaps: they change only the appearance of a text.
_INVISIBLE = dict.fromkeys(
    [0x00AD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x20E3, 0xFEFF, *range(0xFE00, 0xFE10)]
)
_ASCII = {code: " " for code in range(128) if not chr(code).isalnum() and chr(code) != "'"}
#: Accents, apostrophes and Arabic vowel signs: phrases are compared without them, and with a dot on every i.
_MARKS = {**dict.fromkeys([0x27, *range(0x0300, 0x0370), 0x0640, *range(0x064B, 0x0653)]), 0x0131: "i"}


def canonical_reply(text: str) -> str | None:
    """The canonical form of a reply without content; ``None`` for every other text.

    A reply without content is made of at most eight words, all of them in the phrases of :data:`BARE_REPLIES`, one of which may be a
    number of up to three digits; or it is a single letter; or it has no letters and digits at all. Case, punctuation and accents make no
    difference.

    Args:
        text: Any text.

    Returns:
        Lower case, without punctuation and symbols, single spaces; the text itself, stripped, where nothing would be left.

    Example:
        >>> [canonical_reply(text) for text in ("Yes, please!", "OK.", "¡Gracias!", "2)", "好的，谢谢", "👍")]
        ['yes please', 'ok', 'gracias', '2', '好的 谢谢', '👍']
        >>> canonical_reply("Yes, and prove that there are infinitely many primes") is None
        True
    """
    if len(text) > _MOST_CHARACTERS:
        return None
    words = _words(text)
    if not words:
        return text.strip()
    if len(words) > _MOST_WORDS:
        return None
    canonical = " ".join(words)
    return canonical if _is_bare(_key(canonical)) else None


def _words(text: str) -> list[str]:
    """Lower-case words without punctuation; code points that are not characters, such as lone surrogates, are kept."""
    if text.isascii():
        return [word for found in text.lower().translate(_ASCII).split() if (word := found.strip("'"))]
    lowered = unicodedata.normalize("NFKC", text).casefold().translate(_INVISIBLE)
    letters = [char if char.isalnum() else _between(char) for char in lowered]
    return [word for found in "".join(letters).split() if (word := found.strip("'"))]


def _between(char: str) -> str:
    if char in "'’":
        return "'"
    category = unicodedata.category(char)
    return char if category[0] == "M" or category in ("Cs", "Cn", "Co") else " "


def _key(text: str) -> str:
    return text if text.isascii() and "'" not in text else unicodedata.normalize("NFKD", text).translate(_MARKS)


def _phrases() -> frozenset[str]:
    text = _key(" ".join(",".join(BARE_REPLIES.values()).casefold().split())).replace("-", " ")
    return frozenset(phrase.strip() for phrase in text.split(","))


_PHRASES = _phrases()
_VOCABULARY = frozenset(" ".join(_PHRASES).split())
_LONGEST = max(phrase.count(" ") + 1 for phrase in _PHRASES)


def _is_bare(key: str) -> bool:
    if key in _PHRASES or (len(key) == 1 and key.isascii()):
        return True
    words, numbers = key.split(), 0
    for word in words:
        if word not in _VOCABULARY and not _is_unspaced(word):
            numbers += 1
            if numbers > 1 or not word.isdecimal() or len(word) > _MOST_DIGITS:
                return False
    start = 0
    while start < len(words):
        ends = range(min(len(words), start + _LONGEST), start, -1)
        end = next((end for end in ends if " ".join(words[start:end]) in _PHRASES), start + 1)
        if end == start + 1 and words[start] in _VOCABULARY and words[start] not in _PHRASES:
            return False
        start = end
    return True


def _is_unspaced(word: str) -> bool:
    """Whether a word of Chinese or Japanese, which write no spaces, is made of phrases."""
    if word < "\u3040":
        return False
    start = 0
    while start < len(word):
        end = next((end for end in range(len(word), start, -1) if word[start:end] in _PHRASES), None)
        if end is None:
            return False
        start = end
    return True
