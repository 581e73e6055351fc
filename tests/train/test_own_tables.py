"""``train mf`` and ``train bert`` on a user's own table and pair, from the command line to the artifact."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import turnout
from turnout.cli import main
from turnout.commands import train
from turnout.data import Battles, Outcomes
from turnout.routers.bert import train as bert
from turnout.routers.bert.transformer import TransformerConfig
from turnout.training.curriculum import plan

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnx")

SIZES = TransformerConfig(inner=32, max_tokens=64, steps=40, tokens_a_step=1024)


@pytest.fixture(scope="module")
def sentence_encoder(tmp_path_factory, tokenizer):
    """A teacher with random weights: what it sees is the bag of words, roughly."""
    folder = tmp_path_factory.mktemp("teacher")
    sizes = {"hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=128, **sizes)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture
def small_recipe(config, monkeypatch):
    """The recipe of the command with toy sizes; which tables and experts it wants stays as it is."""
    sizes = ("hidden", "members", "steps", "batch", "factors", "factor_steps", "fragments")
    toy = {name: getattr(config, name) for name in sizes}
    full = train.pair_config
    monkeypatch.setattr(train, "pair_config", lambda args: replace(full(args), **toy))
    monkeypatch.setattr(bert, "BertConfig", partial(bert.BertConfig, transformer=SIZES))


@pytest.fixture
def own_table(tables, tmp_path):
    """Scores of a pair that no recipe knows, in a table of a name that none knows."""
    gold = tables[0]
    rows = [f'"{prompt}",{big},{small}' for prompt, big, small in zip(gold.prompts, *gold.scores.values(), strict=True)]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["prompt,me/Gpt-Large,gpt-small", *rows]) + "\n")
    return path


@pytest.mark.parametrize("kind", ["mf", "bert"])
def test_a_table_and_a_pair_of_ones_own_are_enough(
    kind, own_table, sentence_encoder, small_recipe, tables, tmp_path, capsys
):
    out = tmp_path / "out"
    pair = ["--strong", "me/Gpt-Large", "--weak", "gpt-small", "--teacher", str(sentence_encoder)]
    assert main(["train", kind, "--correctness", str(own_table), *pair, "--out", str(out)]) == 0
    told = capsys.readouterr().err
    assert "dev table" not in told  # without --dev there is no table to show
    assert "no expert on multiple choice: it needs a table mmlu_gold with scores of gpt-large and gpt-small" in told
    assert "5 directions of difficulty less: no rows for them in a table mmlu_pro" in told
    router = turnout.load(out)
    assert (router.strong, router.weak) == ("gpt-large", "gpt-small")
    left_out = router.manifest["provenance"]["training"]["left_out"]
    assert len(left_out) == 4
    assert all(line in told for line in left_out)
    gold = tables[0]
    hard = gold.scores["small"] == 0
    rates = router.win_rates(gold.prompts)
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.6


def test_the_whole_recipe_leaves_nothing_out(config, tables, battles, teacher, tokenizer):
    curriculum = plan(config, tables, battles, teacher, tokenizer)
    assert (curriculum.left_out, curriculum.opinions.shape[1]) == ([], 3)


def test_an_expert_without_a_table_is_left_out_and_the_other_stays(config, tables, battles, teacher, tokenizer):
    told: list[str] = []
    curriculum = plan(config, tables[:2], battles, teacher, tokenizer, tell=told.append)
    needs = "it needs a table tasks with scores of large and middle in the categories sums"
    assert curriculum.left_out == told == [f"no expert on word problems: {needs}"]
    assert curriculum.opinions.shape[1] == 2


def test_prompts_in_another_script_alone_are_an_error(config, teacher, tokenizer):
    table = Outcomes("own", ["题目一", "题目二"], {"big": np.ones(2), "small": np.zeros(2)})
    with pytest.raises(turnout.ConfigError, match="none of 2 prompts is mostly in Latin letters"):
        plan(config, [table], Battles([], [], [], np.empty(0)), teacher, tokenizer, tell=lambda line: None)


@pytest.mark.parametrize("kind", ["mf", "bert"])
def test_battles_of_the_pair_alone_are_enough(kind, sentence_encoder, small_recipe, tables, tmp_path):
    gold, out = tables[0], tmp_path / "out"
    hard = gold.scores["small"] == 0
    rows = [f'"{p}",gpt-small,gpt-large,{"model_b" if h else "tie"}' for p, h in zip(gold.prompts, hard, strict=True)]
    (tmp_path / "judged.csv").write_text("\n".join(["prompt,model_a,model_b,winner", *rows]) + "\n")
    pair = ["--strong", "gpt-large", "--weak", "gpt-small", "--teacher", str(sentence_encoder)]
    assert main(["train", kind, "--battles", str(tmp_path / "judged.csv"), *pair, "--out", str(out)]) == 0
    rates = turnout.load(out).win_rates(gold.prompts)
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.6
