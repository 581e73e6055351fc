"""Checkpoints that say odd things are refused by file and field, or read; they are no traceback, and no artifact that cannot be run."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turnout
from turnout.routers.bert.import_ import import_bert
from turnout.routers.causal_llm.import_ import import_causal_llm

NETWORKS = Path(__file__).parent.parent / "fixtures" / "networks"
KINDS = ["bert", "causal_llm", "distilbert", "electra", "modernbert", "xlm-roberta"]
#: Fields that none of the tiny checkpoints has, but that are read where they are there.
OTHER_FIELDS = [
    "embedding_size",
    "global_attn_every_n_layers",
    "global_rope_theta",
    "head_dim",
    "num_labels",
    "position_embedding_type",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
]
NESTED = '{"a": ' * 100_000 + "1" + "}" * 100_000


def convert(name: str, checkpoint: Path, out: Path, **options: Any) -> Path:
    return (import_causal_llm if name == "causal_llm" else import_bert)(checkpoint, out, **options)


def header(text: str) -> bytes:
    """A safetensors file of a header alone."""
    return len(text).to_bytes(8, "little") + text.encode()


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("causal_llm", {"rope_parameters": {"rope_type": "linear"}}, "factor of the rotary embedding is None"),
        ("causal_llm", {"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor .* is None"),
        ("causal_llm", {"rope_parameters": [1]}, r"rope_parameters is \[1\], expected an object"),
        ("causal_llm", {"head_dim": 2**31 - 2}, r"q_proj.weight' has the shape"),
        ("causal_llm", {"eos_token_id": "x"}, "eos_token_id"),
        ("bert", {"id2label": ["a", "b"]}, "id2label is a list, expected an object"),
        ("bert", {"hidden_size": "16"}, "hidden_size is '16', expected a number"),
        ("bert", {"num_hidden_layers": 0}, "num_hidden_layers is 0, expected a number from 1"),
        ("bert", {"layer_norm_eps": 10**400}, "layer_norm_eps is 1000"),
        ("bert", {"intermediate_size": 31.5}, "intermediate_size is 31.5, expected a whole number"),
        ("xlm-roberta", {"pad_token_id": 60}, "max_position_embeddings is 50, expected more than pad_token_id"),
        ("modernbert", {"layer_types": [{}, [], 1]}, "layer_types is"),
        ("modernbert", {"layer_types": None, "num_hidden_layers": 2**31 - 1}, "num_hidden_layers is 2147483647"),
        ("modernbert", {"rope_parameters": {"full_attention": [1]}}, r"full_attention of rope_parameters is \[1\]"),
    ],
)
def test_odd_fields_are_told(name, changes, match, tmp_path):
    folder = shutil.copytree(NETWORKS / name, tmp_path / "odd")
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(turnout.ArtifactError, match=match):
        convert(name, folder, tmp_path / "out")


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("number", [310, 10**6, -1, "[[", None, 309.0])
def test_scores_beyond_the_vocabulary_are_told(number, precision, tmp_path):
    folder = shutil.copytree(NETWORKS / "causal_llm", tmp_path / "odd")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    next(token for token in tokenizer["added_tokens"] if token["content"] == "[[5]]")["id"] = number
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(
        turnout.ArtifactError, match=r"tokenizer\.json: the id of '\[\[5\]\]' is .* below vocab_size, 310"
    ):
        import_causal_llm(folder, tmp_path / "out", precision=precision)


@pytest.mark.parametrize("limit", [0, -1, 0.5, "48", True, [48]])
def test_limits_of_tokens_that_are_none_are_told(limit, tmp_path):
    folder = shutil.copytree(NETWORKS / "bert", tmp_path / "odd")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    with pytest.raises(turnout.ArtifactError, match=r"tokenizer_config\.json: model_max_length is"):
        import_bert(folder, tmp_path / "out")


@pytest.mark.parametrize("limit", [1e30, 10**30, float("inf"), None])
def test_no_limit_of_tokens_is_that_of_the_positions(limit, tmp_path):
    folder = shutil.copytree(NETWORKS / "bert", tmp_path / "odd")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    assert turnout.load(import_bert(folder, tmp_path / "out")).manifest["tokenizer"]["max_tokens"] == 64


@pytest.mark.parametrize("name", ["bert", "causal_llm"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", [NESTED, "[" * 100_000, "[1]", "{", '{"a": 1' + "0" * 5000 + "}"])
def test_files_that_are_no_json_object_are_told(name, file, text, tmp_path):
    folder = shutil.copytree(NETWORKS / name, tmp_path / "odd")
    (folder / file).write_text(text)
    with pytest.raises(turnout.ArtifactError, match=file.replace(".", r"\.")):
        convert(name, folder, tmp_path / "out")


@pytest.mark.parametrize(
    "entry",
    [
        '{"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": [0, 1e400]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": [0, NaN]}',
        '{"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": [0]}',
        "7",
        NESTED,
    ],
)
def test_headers_of_weights_that_make_no_sense_are_told(entry, tmp_path):
    folder = shutil.copytree(NETWORKS / "bert", tmp_path / "odd")
    (folder / "model.safetensors").write_bytes(header(f'{{"x": {entry}}}'))
    with pytest.raises(turnout.ArtifactError, match=r"model\.safetensors: not a safetensors file"):
        import_bert(folder, tmp_path / "out")


def test_texts_that_are_no_utf8_are_told(tmp_path):
    folder = shutil.copytree(NETWORKS / "causal_llm", tmp_path / "odd")
    (folder / "system.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(turnout.ArtifactError, match=r"system\.txt: expected UTF-8"):
        import_causal_llm(folder, tmp_path / "out")
    (folder / "system.txt").write_text("judge")
    (folder / "prompt_format.json").write_text('{"system": "{text}\\ud800", "user": "{text}"}')
    with pytest.raises(turnout.ArtifactError, match=r"prompt_format\.json: .*surrogates"):
        import_causal_llm(folder, tmp_path / "out")


NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 5, 8, 15, 16, 17, 32, 64, -1, 2**31 - 1, 2**63, 10**400, 0.0, 0.5, 1.5, 8.0, -0.0]
)
EXTREMES = st.sampled_from([1e-320, 1e-30, 1e30, 1e38, 1e300, float("inf"), float("-inf"), float("nan")])
WORDS = st.sampled_from(["", "bert", "relu", "16", "default", "linear", "llama3", "full_attention", "\ud800", "x" * 99])
KEYS = st.sampled_from(["0", "1", "rope_type", "rope_theta", "factor", "full_attention", "sliding_attention"])
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, EXTREMES, WORDS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=6
)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_configuration_is_refused_or_makes_a_router(name, data):
    config = json.loads((NETWORKS / name / "config.json").read_text())
    fields = st.sampled_from(sorted({*config, *OTHER_FIELDS} - {"model_type"}))
    changes = data.draw(st.dictionaries(fields, VALUES, min_size=1, max_size=2))
    precision = data.draw(st.sampled_from(["float32", "float16", "int8", "int4"]))
    with tempfile.TemporaryDirectory() as work:
        folder = shutil.copytree(NETWORKS / name, Path(work) / "odd")
        (folder / "config.json").write_text(json.dumps(config | changes))
        try:
            artifact = convert(name, folder, Path(work) / "out", precision=precision)
        except (turnout.ArtifactError, turnout.ConfigError):
            return
        if precision == "float16":
            return
        router = turnout.load(artifact)
        try:
            assert 0 <= router.win_rate("why?") <= 1
        except turnout.InvalidInputError:
            # So few positions that no prompt fits into its frame.
            assert "max_position_embeddings" in changes
