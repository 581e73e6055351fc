"""A tiny Llama learns to give scores, whole and by low-rank updates, and becomes an artifact."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

import turnout
from turnout.cli import main
from turnout.routers.causal_llm.train import CausalConfig, train_causal_llm
from turnout.training.fine_tuning import FineTuningConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TUNING = FineTuningConfig(epochs=6, batch=16, learning_rate=5e-3, max_tokens=96, held_out=0.15, patience=30)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("llama")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=128, eos_token_id=0, bos_token_id=None, **sizes
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(folder)
    (folder / "system.txt").write_text("explain")
    (folder / "classifier.txt").write_text("which is right : {question} answer :")
    (folder / "prompt_format.json").write_text('{"system": "{text} . ", "user": "{text}"}')
    return folder


@pytest.mark.parametrize("rank", [0, 4])
def test_a_tiny_llama_learns_to_score_and_is_imported(rank, checkpoint, pair, data, tmp_path):
    from turnout.routers.causal_llm.import_ import import_causal_llm

    tuned = tmp_path / "tuned"
    loss = train_causal_llm(CausalConfig(pair, TUNING, rank), checkpoint, data, tuned)
    assert loss < np.log(5)
    router = turnout.load(import_causal_llm(tuned, tmp_path / "artifact", strong="big", weak="small"))
    gold = data.tables[0]
    hard = gold.scores["small"] == 0
    rates = router.win_rates(gold.prompts)
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.7
    assert sorted(file.name for file in tuned.glob("*.txt")) == ["classifier.txt", "system.txt"]


def test_a_folder_without_a_model_is_an_error_that_names_it(pair, data, tmp_path):
    with pytest.raises(turnout.ConfigError, match="expected a folder with a causal language model"):
        train_causal_llm(CausalConfig(pair, TUNING), tmp_path, data, tmp_path / "out")


@pytest.fixture
def files(data, tmp_path):
    """A table of outcomes and battles of the pair that the command trains for."""
    gold, pair = data.tables[0], "gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1"
    rows = [f'"{prompt}",{big},{small}' for prompt, big, small in zip(gold.prompts, *gold.scores.values(), strict=True)]
    (tmp_path / "gold.csv").write_text("\n".join([f"prompt,{pair}", *rows[:60]]) + "\n")
    poems = [f"Write a poem about {thing},{pair},tie" for thing in ("apples", "law", "sum", "cost")]
    (tmp_path / "battles.csv").write_text("\n".join(["prompt,model_a,model_b,winner", *poems]) + "\n")
    return ["--outcomes", str(tmp_path / "gold.csv"), "--battles", str(tmp_path / "battles.csv")]


@pytest.mark.parametrize("rank", ["0", "2"])
def test_the_command_writes_a_checkpoint_that_the_next_command_reads(rank, checkpoint, files, tmp_path, capsys):
    tuned, artifact = tmp_path / "tuned", tmp_path / "artifact"
    options = ["--lora-rank", rank, "--epochs", "1", "--batch", "4", "--max-tokens", "96", "--seed", "3"]
    assert main(["train", "causal_llm", str(checkpoint), *files, *options, "--out", str(tuned)]) == 0
    assert f"next: turnout import causal_llm {tuned}" in " ".join(capsys.readouterr().err.split())
    assert main(["import", "causal_llm", str(tuned), "--out", str(artifact)]) == 0
    generation = turnout.load(artifact).manifest["generation"]
    assert (generation["before"], generation["after"]) == ("explain . which is right : ", " answer :")
    assert len(set(generation["score_tokens"])) == 5
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, tuned))
    assert before.keys() <= after.keys()
    assert any(not np.array_equal(before[name], after[name]) for name in before if "proj" in name)


def test_the_command_does_not_write_over_the_checkpoint(checkpoint, files, capsys):
    assert main(["train", "causal_llm", str(checkpoint), *files, "--out", str(checkpoint)]) != 0
    assert "is the checkpoint itself, expected another folder" in capsys.readouterr().err


def test_the_command_names_a_limit_that_leaves_no_prompt(checkpoint, files, tmp_path, capsys):
    command = ["train", "causal_llm", str(checkpoint), *files, "--max-tokens", "3", "--out", str(tmp_path / "tuned")]
    assert main(command) != 0
    assert "no prompt is within 3 tokens" in capsys.readouterr().err
    assert not (tmp_path / "tuned").exists()


def _copy(checkpoint, out, **config):
    """The checkpoint with new weights in bfloat16, where the config is changed."""
    shutil.copytree(checkpoint, out)
    known = transformers.AutoConfig.from_pretrained(checkpoint)
    known.update(config)
    transformers.LlamaForCausalLM(known).to(torch.bfloat16).save_pretrained(out)
    return out


def _weights(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.bfloat16).state_dict()


def test_most_weights_of_a_bfloat16_checkpoint_move_in_an_epoch(checkpoint, pair, data, tmp_path):
    half = _copy(checkpoint, tmp_path / "half")
    tuning = FineTuningConfig(epochs=1, batch=4, learning_rate=1e-5, max_tokens=96, held_out=0.15, patience=30)
    train_causal_llm(CausalConfig(pair, tuning), half, data, tmp_path / "tuned")
    before, after = _weights(half), _weights(tmp_path / "tuned")
    name = "model.layers.0.mlp.down_proj.weight"
    assert (before[name] != after[name]).float().mean() > 0.5
    stored = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "tuned", torch_dtype="auto")
    assert stored.dtype == torch.bfloat16


@pytest.mark.parametrize("native", [False, True])
def test_low_rank_updates_of_a_tied_bfloat16_checkpoint_untie_it(native, checkpoint, pair, data, tmp_path, monkeypatch):
    from turnout.routers.causal_llm import train as causal_llm
    from turnout.routers.causal_llm.import_ import import_causal_llm
    from turnout.training import fine_tuning

    monkeypatch.setattr(fine_tuning, "native_bfloat16", lambda where: native)
    merge, seen = causal_llm._merged, []
    monkeypatch.setattr(causal_llm, "_merged", lambda model: seen.append(merge(model)) or seen[0])
    tied = _copy(checkpoint, tmp_path / "tied", tie_word_embeddings=True)
    train_causal_llm(CausalConfig(pair, TUNING, 4), tied, data, tmp_path / "tuned")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "tuned", torch_dtype=torch.bfloat16)
    assert not loaded.config.tie_word_embeddings
    assert not torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight)
    merged = seen[0].state_dict()
    assert all(torch.equal(value, merged[name]) for name, value in loaded.state_dict().items())
    gold = data.tables[0]
    router = turnout.load(import_causal_llm(tmp_path / "tuned", tmp_path / "artifact", strong="big", weak="small"))
    hard = gold.scores["small"] == 0
    rates = router.win_rates(gold.prompts)
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.7


def test_dev_prompts_are_not_trained_on(checkpoint, files, tmp_path, capsys):
    dev = ["--dev", files[1]]
    command = ["train", "causal_llm", str(checkpoint), *files[:2], *dev, "--out", str(tmp_path / "tuned")]
    assert main(command) != 0
    assert "no table scores and no battle is between gpt-4-1106-preview" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "gpt2", "model_type is 'gpt2', expected llama, mistral, qwen2"),
        ("hidden_act", "gelu", "hidden_act is 'gelu', expected 'silu'"),
        ("sliding_window", 128, "sliding_window is not supported"),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4}, "rope_type is 'yarn'"),
    ],
)
def test_what_import_would_refuse_is_refused_before_training(field, value, message, checkpoint, pair, data, tmp_path):
    other = shutil.copytree(checkpoint, tmp_path / "other")
    known = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**known, field: value}))
    with pytest.raises(turnout.ConfigError, match=message):
        train_causal_llm(CausalConfig(pair, TUNING), other, data, tmp_path / "tuned")
