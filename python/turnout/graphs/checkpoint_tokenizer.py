"""The ``tokenizer.json`` of a checkpoint, as transformers would use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnout._core import ArtifactError

#: Fields of ``tokenizer_config.json`` that transformers' BERT tokenizers put over those of the normalizer.
_BERT_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
#: Classes that take ``tokenizer.json`` as it is.
_PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")
_LFS = b"version https://git-lfs.github.com/spec/"


def refuse_lfs_pointer(file: Path, start: bytes) -> None:
    """Raises ``ArtifactError`` where a file is what git leaves of it without git-lfs.

    Args:
        file: For the message.
        start: The first bytes of its content.
    """
    if start.startswith(_LFS):
        raise ArtifactError.at(file, "is a git-lfs pointer, not the file itself; fetch it with `git lfs pull`")


def effective_tokenizer(file: Path, content: bytes, settings: Mapping[str, Any]) -> bytes:
    """``tokenizer.json`` with the normalization that transformers applies.

    Args:
        file: For messages.
        content: Of ``tokenizer.json``.
        settings: ``tokenizer_config.json``. What it says of case, accents and Chinese characters goes before ``tokenizer.json``, as in
            transformers' BERT tokenizers.

    Returns:
        ``content``, or another text where the two differ.

    Raises:
        ArtifactError: A file is not JSON, or a setting is not a truth value.
    """
    refuse_lfs_pointer(file, content[:100])
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError.at(file, f"not JSON: {error}") from error
    normalizer = document.get("normalizer") if isinstance(document, dict) else None
    if not isinstance(normalizer, dict) or normalizer.get("type") != "BertNormalizer":
        return content
    if str(settings.get("tokenizer_class")) in _PLAIN_CLASSES:
        return content
    changed = False
    for field, own in _BERT_FIELDS.items():
        if field not in settings:
            continue
        value = settings[field]
        if not isinstance(value, bool) and not (value is None and field == "strip_accents"):
            raise ArtifactError.at(
                file.parent / "tokenizer_config.json", f"{field} is {value!r}, expected true or false"
            )
        changed |= normalizer.get(own) != value
        normalizer[own] = value
    return json.dumps(document, ensure_ascii=False).encode() if changed else content


def check_token_ids(file: Path, content: bytes, rows: int) -> None:
    """Raises ``ArtifactError`` where the tokenizer makes an id for which the embedding table has no row; names the token.

    Args:
        file: For messages.
        content: Of ``tokenizer.json``.
        rows: Rows of the embedding table.
    """
    try:
        document = json.loads(content)
        vocab = document["model"]["vocab"]
        tokens = list(vocab.items()) if isinstance(vocab, dict) else [(one[0], at) for at, one in enumerate(vocab)]
        tokens += [(one["content"], one["id"]) for one in document.get("added_tokens") or []]
    except (ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ArtifactError.at(file, f"not a tokenizer with a vocabulary: {error!r}") from error
    beyond = [(number, token) for token, number in tokens if not (isinstance(number, int) and 0 <= number < rows)]
    if beyond:
        number, token = min(beyond, key=str)
        raise ArtifactError.at(
            file,
            f"token {token!r} has the id {number}, but the embedding table has {rows} rows (vocab_size of config.json); "
            "remove the token, or resize the embeddings of the checkpoint",
        )
