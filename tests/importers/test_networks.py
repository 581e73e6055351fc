"""Checkpoints of transformers give the win rates that transformers gives; int8 and int4 do not depend on what shares a run."""

from __future__ import annotations

import codecs
import importlib.util
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import turnout
from turnout.cli import main
from turnout.graphs import network
from turnout.routers.bert.import_ import import_bert
from turnout.routers.causal_llm.import_ import import_causal_llm

NETWORKS = Path(__file__).parent.parent / "fixtures" / "networks"
CLASSIFIERS = ["bert", "distilbert", "electra", "modernbert", "xlm-roberta"]
ALL = [*CLASSIFIERS, "causal_llm"]


def convert(name: str, out: Path, **options: object) -> turnout.Router:
    convert_one = import_causal_llm if name == "causal_llm" else import_bert
    return turnout.load(convert_one(NETWORKS / name, out, **options))


def cases_of(name: str) -> list[dict[str, object]]:
    return json.loads((NETWORKS / name / "cases.json").read_text(encoding="utf-8"))


def edited(name: str, out: Path, file: str = "config.json", **changes: object) -> Path:
    """A copy of a checkpoint whose JSON file says something else; ``None`` removes a field."""
    shutil.copytree(NETWORKS / name, out)
    config = json.loads((out / file).read_text())
    config.update(changes)
    (out / file).write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return out


@pytest.mark.parametrize("name", ALL)
def test_ids_and_win_rates_are_those_of_transformers(name, tmp_path):
    router, cases = convert(name, tmp_path / "out"), cases_of(name)
    for case in cases:
        explained = router.explain(case["prompt"])
        assert explained.ids == case["ids"], case["prompt"]
        # float32 against double precision over the same float32 logits.
        assert explained.decision.win_rate == pytest.approx(case["win_rate"], abs=1e-5), case["prompt"]
        assert explained.model_scores == {}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_are_those_of_transformers_alone_and_in_a_mixed_batch(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(convert(name, tmp_path / "out").path / "model.onnx")
    cases = cases_of(name)
    expected = np.array([case["logits"] for case in cases])
    lengths = [len(case["ids"]) for case in cases]
    assert max(lengths) > 3 * min(lengths)

    def logits(rows: list[list[int]], tokens: int) -> np.ndarray:
        ids = np.array([row + [0] * (tokens - len(row)) for row in rows])
        mask = np.array([[1] * len(row) + [0] * (tokens - len(row)) for row in rows])
        return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]

    alone = np.concatenate([logits([case["ids"]], len(case["ids"])) for case in cases])
    together = logits([case["ids"] for case in cases], max(lengths) + 3)
    # float32 in another order of sums.
    np.testing.assert_allclose(alone, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_the_prompts_of_modernbert_are_longer_than_its_window():
    window = json.loads((NETWORKS / "modernbert" / "config.json").read_text())["local_attention"]
    assert max(len(case["ids"]) for case in cases_of("modernbert")) > 2 * window


def test_the_cases_of_the_causal_model_cover_every_place_of_the_score():
    places = {case["score_at"] for case in cases_of("causal_llm")}
    assert {0, None} < places, places


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("name", ALL)
def test_a_prompt_alone_and_in_any_batch_has_the_same_win_rate(name, precision, tmp_path):
    router = convert(name, tmp_path / "out", precision=precision)
    prompts = [case["prompt"] for case in cases_of(name)]
    alone = np.array([router.win_rate(prompt) for prompt in prompts])
    together = router.win_rates(prompts)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    loud = ["unprovable " * 9] * 5
    np.testing.assert_allclose(router.win_rates([*prompts[:3], *loud])[:3], alone[:3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_int8_stays_close(name, tmp_path):
    exact, rough = convert(name, tmp_path / "a"), convert(name, tmp_path / "b", precision="int8")
    prompts = [case["prompt"] for case in cases_of(name)]
    assert 0 < np.abs(exact.win_rates(prompts) - rough.win_rates(prompts)).mean() < 0.03
    sizes = [router.manifest["files"]["model.onnx"]["bytes"] for router in (exact, rough)]
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize("name", ["bert", "causal_llm"])
def test_weights_may_lie_in_a_file_of_their_own(name, tmp_path, monkeypatch):
    expected = convert(name, tmp_path / "one")
    monkeypatch.setattr(network, "INLINE_BYTES", 0)
    router = convert(name, tmp_path / "two")
    assert set(router.manifest["files"]) == {"model.onnx", "model.onnx.data", "tokenizer.json"}
    prompts = [case["prompt"] for case in cases_of(name)]
    np.testing.assert_allclose(router.win_rates(prompts), expected.win_rates(prompts), rtol=0, atol=1e-6)
    data = tmp_path / "two" / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1] + b"\x01")
    with pytest.raises(turnout.ArtifactError, match=r"model\.onnx\.data: sha256"):
        turnout.load(tmp_path / "two")


def test_weights_outside_of_the_listed_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "INLINE_BYTES", 0)
    folder = convert("bert", tmp_path / "out").path
    manifest = json.loads((folder / "router.json").read_text())
    del manifest["files"]["model.onnx.data"]
    (folder / "router.json").write_text(json.dumps(manifest))
    with pytest.raises(turnout.ArtifactError, match="another file"):
        turnout.load(folder)


def test_labels_come_from_the_checkpoint_or_the_caller(tmp_path):
    named = edited("bert", tmp_path / "named", id2label={"0": "weak", "1": "strong"})
    first, second = (
        turnout.load(import_bert(NETWORKS / "bert", tmp_path / "a")),
        turnout.load(import_bert(named, tmp_path / "b")),
    )
    assert first.manifest["labels"] == ["strong", "weak"]
    assert second.manifest["labels"] == ["weak", "strong"]
    assert first.win_rate("why?") == pytest.approx(1 - second.win_rate("why?"), abs=1e-6)
    given = import_bert(NETWORKS / "bert", tmp_path / "c", labels=["weak", "strong"])
    assert turnout.load(given).win_rate("why?") == second.win_rate("why?")
    with pytest.raises(turnout.ConfigError, match="expected strong, weak"):
        import_bert(NETWORKS / "bert", tmp_path / "d", labels=["strong", "tie"])
    with pytest.raises(turnout.ArtifactError, match="5 labels, expected 1, 2 or 3"):
        import_bert(edited("bert", tmp_path / "five", id2label={str(n): "x" for n in range(5)}), tmp_path / "e")
    for number, unnamed in enumerate(({}, {"0": "LABEL_0", "1": "LABEL_1"}, {"0": "", "1": None})):
        folder = edited("bert", tmp_path / f"unnamed{number}", id2label=unnamed)
        router = turnout.load(import_bert(folder, tmp_path / f"unnamed{number}-out"))
        assert router.manifest["labels"] == ["strong", "weak"]


@pytest.mark.parametrize(
    "names",
    [
        {"0": "weak_wins", "1": "strong_wins"},
        {"0": "strong", "1": "other"},
        {"0": "strong", "1": "strong"},
        {"0": "LABEL_1", "1": "LABEL_0"},
        {"1": "weak", "2": "strong"},
    ],
)
def test_labels_of_unknown_names_are_not_guessed(names, tmp_path):
    folder = edited("bert", tmp_path / "named", id2label=names)
    with pytest.raises(
        turnout.ConfigError, match=r"id2label is \{.*expected strong, weak: give their meaning with --labels"
    ):
        import_bert(folder, tmp_path / "out")
    router = turnout.load(import_bert(folder, tmp_path / "out", labels=["weak", "strong"]))
    assert router.manifest["labels"] == ["weak", "strong"]


def test_labels_without_names_are_counted(tmp_path):
    three = edited("modernbert", tmp_path / "three", id2label=None, num_labels=3)
    assert len(turnout.load(import_bert(three, tmp_path / "a")).manifest["labels"]) == 3
    with pytest.raises(turnout.ArtifactError, match=r"classifier.weight' has the shape \[3, 16\], expected \[2, 16\]"):
        import_bert(edited("modernbert", tmp_path / "none", id2label=None), tmp_path / "b")
    with pytest.raises(turnout.ArtifactError, match="num_labels says 4 labels, expected 1, 2 or 3"):
        import_bert(edited("bert", tmp_path / "four", num_labels=4), tmp_path / "c")


def test_the_pair_has_one_direction_and_other_names_are_labels(tmp_path):
    folder = convert("bert", tmp_path / "out").path
    with pytest.raises(turnout.ConfigError, match="no other direction"):
        turnout.load(folder, strong="mixtral-8x7b-instruct-v0.1", weak="gpt-4-1106-preview")
    renamed = turnout.load(folder, strong="large", weak="small")
    assert renamed.route("why?").model in {"large", "small"}


def test_what_is_no_checkpoint_is_told_by_file_and_field(tmp_path):
    with pytest.raises(turnout.ArtifactError, match=r"config\.json: missing"):
        import_bert(tmp_path, tmp_path / "out")
    with pytest.raises(turnout.ArtifactError, match="model_type is 'bert', expected llama"):
        import_causal_llm(NETWORKS / "bert", tmp_path / "out")
    with pytest.raises(turnout.ArtifactError, match="hidden_act is 'swish'"):
        import_bert(edited("bert", tmp_path / "b", hidden_act="swish"), tmp_path / "out")
    with pytest.raises(turnout.ArtifactError, match=r"has the shape \[64, 16\], expected \[65, 16\]"):
        import_bert(edited("bert", tmp_path / "c", max_position_embeddings=65), tmp_path / "out")
    with pytest.raises(turnout.ArtifactError, match="not a multiple"):
        import_bert(edited("bert", tmp_path / "d", num_attention_heads=3), tmp_path / "out")
    broken = edited("bert", tmp_path / "e")
    for content in (b"", b"\xff" * 20, (30).to_bytes(8, "little") + b"[" * 30, (2).to_bytes(8, "little") + b"{}"):
        (broken / "model.safetensors").write_bytes(content)
        with pytest.raises(turnout.ArtifactError, match=r"not a safetensors file|is missing"):
            import_bert(broken, tmp_path / "out")
    (broken / "model.safetensors").unlink()
    with pytest.raises(turnout.ArtifactError, match="expected the weights"):
        import_bert(broken, tmp_path / "out")
    without = edited("causal_llm", tmp_path / "f", "tokenizer.json", added_tokens=[])
    with pytest.raises(turnout.ArtifactError, match=r"no added token '\[\[1\]\]'"):
        import_causal_llm(without, tmp_path / "out")
    (without / "classifier.txt").write_text("{question}")
    shutil.copyfile(NETWORKS / "causal_llm" / "tokenizer.json", without / "tokenizer.json")
    with pytest.raises(turnout.ArtifactError, match="with text on both sides"):
        import_causal_llm(without, tmp_path / "out")


def test_an_architecture_that_needs_torch_says_so_where_there_is_none(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    other = edited("bert", tmp_path / "other", model_type="albert")
    with pytest.raises(turnout.ConfigError, match=r"'albert', expected bert, .*, modernbert; .* torch.*turnout\[train"):
        import_bert(other, tmp_path / "out")
    with pytest.raises(turnout.ConfigError, match=r"'albert', which is not available in int8; expected bert"):
        import_bert(other, tmp_path / "out", precision="int8")
    assert not (tmp_path / "out").exists()


def test_fields_of_modernbert_that_are_not_understood_are_told(tmp_path):
    for number, (match, changes) in enumerate(
        {
            r"hidden_activation is 'silu', expected gelu": {"hidden_activation": "silu"},
            r"classifier_pooling is 'max', expected 'cls' or 'mean'": {"classifier_pooling": "max"},
            r"hidden_size 16 is not a multiple of twice num_attention_heads 16": {"num_attention_heads": 16},
            r"layer_types is \['full_attention'\], expected 3 times": {"layer_types": ["full_attention"]},
            r"global_attn_every_n_layers is 0": {"layer_types": None, "global_attn_every_n_layers": 0},
            r"rope_type of full_attention is 'yarn'": {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
            r"local_rope_theta .* is nan": {"rope_parameters": None, "local_rope_theta": math.nan},
            r"tensor 'model\.layers\.0\.attn\.Wqkv\.bias' is missing": {"attention_bias": True},
        }.items()
    ):
        folder = edited("modernbert", tmp_path / str(number), **changes)
        with pytest.raises(turnout.ArtifactError, match=match):
            import_bert(folder, tmp_path / "out")


def test_older_configurations_of_modernbert_mean_the_same(tmp_path):
    older = edited(
        "modernbert",
        tmp_path / "older",
        layer_types=None,
        rope_parameters=None,
        global_attn_every_n_layers=3,
        global_rope_theta=160000.0,
        local_rope_theta=10000.0,
    )
    graphs = [import_bert(folder, tmp_path / folder.name) / "model.onnx" for folder in (NETWORKS / "modernbert", older)]
    assert graphs[0].read_bytes() == graphs[1].read_bytes()


def test_sharded_and_half_precision_weights_are_read(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = edited("bert", tmp_path / "sharded")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in shards.items():
        save_file({name: tensors[name].astype(np.float16) for name in held}, folder / file)
    weight_map = {name: file for file, held in shards.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    router = turnout.load(import_bert(folder, tmp_path / "out"))
    for case in cases_of("bert"):
        assert router.win_rate(case["prompt"]) == pytest.approx(case["win_rate"], abs=2e-2)


def test_a_single_file_of_weights_counts_before_an_index_as_in_transformers(tmp_path):
    folder = edited("bert", tmp_path / "both")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "gone.safetensors"}}))
    assert turnout.load(import_bert(folder, tmp_path / "out")).win_rate("why?") > 0


LEFT = {"direction": "Left", "max_length": 48, "strategy": "LongestFirst", "stride": 0}


@pytest.mark.parametrize(
    ("file", "changes", "match"),
    [
        ("tokenizer_config.json", {"truncation_side": "left"}, r"tokenizer_config\.json: truncation_side is 'left'"),
        ("tokenizer.json", {"truncation": LEFT}, r"tokenizer\.json: direction of truncation is 'Left'"),
    ],
)
def test_a_tokenizer_that_keeps_the_end_of_a_prompt_is_refused(file, changes, match, tmp_path):
    with pytest.raises(turnout.ArtifactError, match=match + ".*a router reads the beginning of a long prompt"):
        import_bert(edited("bert", tmp_path / "left", file, **changes), tmp_path / "out")


def test_the_settings_of_a_tokenizer_count_before_what_it_was_stored_with(tmp_path):
    folder = edited("bert", tmp_path / "right", "tokenizer.json", truncation=LEFT)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "truncation_side": "right"}))
    router = turnout.load(import_bert(folder, tmp_path / "out"))
    for case in cases_of("bert"):
        assert router.explain(case["prompt"]).ids == case["ids"]


@pytest.mark.parametrize("name", ["bert", "causal_llm"])
def test_files_saved_with_a_byte_order_mark_are_read_like_others(name, tmp_path):
    folder = shutil.copytree(NETWORKS / name, tmp_path / "marked")
    for file in [*folder.glob("*.json"), *folder.glob("*.txt")]:
        file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    marked = turnout.load((import_bert if name == "bert" else import_causal_llm)(folder, tmp_path / "out"))
    plain = convert(name, tmp_path / "plain")
    for case in cases_of(name):
        assert marked.win_rate(case["prompt"]) == plain.win_rate(case["prompt"])


def test_prompts_that_do_not_fit_into_their_frame_are_refused(tmp_path):
    router = convert("causal_llm", tmp_path / "out")
    with pytest.raises(turnout.InvalidInputError, match=r"too long: .* at most 512"):
        router.route("why? " * 600)


def test_the_frame_has_texts_of_its_own_where_the_folder_has_none(tmp_path):
    folder = edited("causal_llm", tmp_path / "plain", max_position_embeddings=2048)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 2048}))
    (folder / "system.txt").unlink()
    (folder / "classifier.txt").unlink()
    (folder / "prompt_format.json").write_text(json.dumps({"system": "<s>{text}</s>", "user": "<u>{text}</u>"}))
    frame = turnout.load(import_causal_llm(folder, tmp_path / "out")).manifest["generation"]
    assert frame["before"].startswith("<s>You judge")
    assert (frame["before"][-10:], frame["after"]) == ("Question:\n", "\n\nScore:</u>")


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_the_command_reports_what_int8_changes(name, tmp_path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("what is this?\nprove it\nwhy not\n")
    out = tmp_path / "out"
    command = [
        "import",
        "bert",
        str(NETWORKS / name),
        "--threshold",
        "0.4321",
        "--out",
        str(out),
        "--precision",
        "int8",
        "--prompts",
        str(prompts),
    ]
    assert main([*command, "--strong", "a", "--weak", "b"]) == 0
    told = capsys.readouterr().out
    for pattern in (
        r"a over b, prompts of at most 48 tokens",
        r"float32, 3 prompts",
        r"win-rate error +mean 0\.\d{4}, largest 0\.\d{4}",
        r"decision flips +\d at the threshold 0\.4321, \d at the median 0\.\d{4}",
        r"alone or in a batch \d\.\de[+-]\d\d apart",
        r"size +\d\.\d\d MB, was \d\.\d\d MB",
        r"time, one thread +\d+\.\d{3} ms a prompt, was \d+\.\d{3} ms",
    ):
        assert re.search(pattern, told), told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "prompts.txt"]


@pytest.mark.parametrize(
    ("kind", "option", "belongs"),
    [
        ("causal_llm", ["--labels", "strong,weak"], "bert"),
        ("causal_llm", ["--models", "names.json"], "mf"),
        ("bert", ["--embedding-model", "mine"], "mf and sw_ranking"),
        ("bert", ["--keep-prompts"], "sw_ranking"),
        ("mf", ["--precision", "float32"], "bert and causal_llm"),
        ("mf", ["--no-report"], "bert and causal_llm"),
        ("mf", ["--prompts", "prompts.txt"], "bert and causal_llm"),
        ("mf", ["--tiers", "3"], "sw_ranking"),
        ("sw_ranking", ["--labels", "strong,weak"], "bert"),
        ("sw_ranking", ["--precision", "int8"], "bert and causal_llm"),
        ("sw_ranking", ["--threshold", "0.5"], "mf and bert and causal_llm"),
    ],
)
def test_options_of_another_kind_are_refused(kind, option, belongs, tmp_path, capsys):
    assert main(["import", kind, str(tmp_path / "none"), "--out", str(tmp_path / "out"), *option]) != 0
    assert f"{option[0].replace('--no-', '--')} belongs to {belongs}, not to {kind}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
