"""A tiny Llama learns to give scores, whole and by low-rank updates, and becomes an artifact."""

from __future__ import annotations

import numpy as np
import pytest

import turnout
from turnout.train.causal_llm import CausalConfig, train_causal_llm
from turnout.train.fine_tuning import FineTuningConfig

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
def test_a_tiny_llama_learns_to_score_and_is_imported(rank, checkpoint, config, tables, battles, tmp_path):
    from turnout.importers import import_causal_llm

    if rank:
        pytest.importorskip("peft")
    tuned = tmp_path / "tuned"
    loss = train_causal_llm(CausalConfig(config, TUNING, rank), checkpoint, tables, battles, tuned)
    assert loss < np.log(5)
    router = turnout.load(import_causal_llm(tuned, tmp_path / "artifact", strong="big", weak="small"))
    gold = tables[0]
    hard = gold.scores["small"] == 0
    rates = router.win_rates(gold.prompts)
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.7
    assert sorted(file.name for file in tuned.glob("*.txt")) == ["classifier.txt", "system.txt"]


def test_a_folder_without_a_model_is_an_error_that_names_it(config, tables, battles, tmp_path):
    with pytest.raises(turnout.ConfigError, match="expected a folder with a causal language model"):
        train_causal_llm(CausalConfig(config, TUNING), tmp_path, tables, battles, tmp_path / "out")
