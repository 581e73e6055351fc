"""What checkpoints leave to transformers is read as transformers reads it; what cannot run is refused by the importer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

import turnout
from turnout.routers.bert.import_ import import_bert

BERT = Path(__file__).parent.parent / "fixtures" / "networks" / "bert"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 438007537\n"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BERT, tmp_path / "checkpoint"))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_gamma_and_beta_are_the_weight_and_bias_of_a_layer_norm(checkpoint: Path, tmp_path: Path) -> None:
    file = checkpoint / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in load_file(file).items()
    }
    assert sum(name.endswith(("gamma", "beta")) for name in old) > 4
    save_file(old, file)
    router = turnout.load(import_bert(checkpoint, tmp_path / "out"))
    for case in json.loads((BERT / "cases.json").read_text(encoding="utf-8")):
        assert router.win_rate(case["prompt"]) == pytest.approx(case["win_rate"], abs=1e-5)


@pytest.mark.parametrize(("kind", "applies"), [("BertTokenizerFast", True), ("TokenizersBackend", False)])
def test_case_and_accents_are_those_of_the_tokenizer_config(
    checkpoint: Path, tmp_path: Path, kind: str, applies: bool
) -> None:
    """As transformers: its BERT tokenizers put these fields over the normalizer's, its plain ones ignore them."""
    stored = json.loads((checkpoint / "tokenizer.json").read_text())["normalizer"]
    assert stored["type"] == "BertNormalizer"
    wanted = {"do_lower_case": not stored["lowercase"], "strip_accents": False, "tokenize_chinese_chars": True}
    edit(checkpoint / "tokenizer_config.json", tokenizer_class=kind, **wanted)
    out = import_bert(checkpoint, tmp_path / "out")
    found = json.loads((out / "tokenizer.json").read_text())["normalizer"]
    assert (found["lowercase"] != stored["lowercase"]) == applies
    assert found["strip_accents"] == (False if applies else stored["strip_accents"])
    upper, lower = (turnout.load(out).explain(prompt).ids for prompt in ("HELLO", "hello"))
    assert (upper == lower) == found["lowercase"]


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_git_lfs_pointer_is_named_as_such(checkpoint: Path, tmp_path: Path, file: str) -> None:
    (checkpoint / file).write_text(LFS)
    with pytest.raises(turnout.ArtifactError, match=rf"{file}: is a git-lfs pointer.*git lfs pull"):
        import_bert(checkpoint, tmp_path / "out")


def test_a_token_without_an_embedding_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    rows = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    tokens = json.loads((checkpoint / "tokenizer.json").read_text())["added_tokens"]
    added = {**tokens[0], "id": rows, "content": "<user>", "special": False}
    edit(checkpoint / "tokenizer.json", added_tokens=[*tokens, added])
    with pytest.raises(turnout.ArtifactError, match=rf"token '<user>' has the id {rows}, .* {rows} rows"):
        import_bert(checkpoint, tmp_path / "out")
