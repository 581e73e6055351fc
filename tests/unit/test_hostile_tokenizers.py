"""Regular expressions of a tokenizer cannot take the time of a process: they are bounded when the artifact is loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import turnout

HOSTILE = {
    "(?=(?:a{0,43}){0,43}b)a": "a look-around of more than 32 steps",
    "(?<!a{1,100})b": "a look-around of more than 32 steps",
    "(?:a*)*(?!b)": "a repeat of varying length inside a repeat",
    "(?>(a+)+)b": "a repeat of varying length inside a repeat",
    r"(a)\1": "a back reference",
    "(?:(?:a{0,12}){0,12}){0,14}b": "of 2017 steps",
}
#: GPT-2, Llama 3, Qwen 2 with possessive repeats, digits in threes from the right, repeats that are matched in one pass.
KNOWN = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
    "(?:a{1,40}){1,40}b",
]


def with_pattern(artifact: Path, folder: Path, pattern: str) -> Path:
    """A copy of an artifact whose tokenizer first replaces what a pattern matches."""
    shutil.copytree(artifact, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    step = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "a"}
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [step, tokenizer["normalizer"]]}
    content = json.dumps(tokenizer).encode()
    (folder / "tokenizer.json").write_bytes(content)
    manifest = json.loads((folder / "router.json").read_text())
    manifest["files"]["tokenizer.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "router.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("pattern", HOSTILE)
def test_patterns_whose_time_has_no_bound_are_refused(artifact: Path, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(turnout.ArtifactError) as error:
        turnout.load(with_pattern(artifact, tmp_path / "router", pattern))
    assert HOSTILE[pattern] in str(error.value)


@pytest.mark.parametrize("pattern", KNOWN)
def test_patterns_of_tokenizers_in_use_pass(artifact: Path, tmp_path: Path, pattern: str) -> None:
    router = turnout.load(with_pattern(artifact, tmp_path / "router", pattern))
    assert 0 <= router.win_rate("a" * 3000) <= 1
