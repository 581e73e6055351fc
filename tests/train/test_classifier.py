"""Fine-tuning of a tiny checkpoint made on the spot, and its way into an artifact."""

from __future__ import annotations

import numpy as np
import pytest

import turnout
from turnout.routers.bert.fine_tune import ClassifierConfig, train_classifier
from turnout.training.fine_tuning import FineTuningConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TUNING = FineTuningConfig(epochs=8, learning_rate=2e-3, max_tokens=48, held_out=0.15, patience=20)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("encoder")
    words = tokenizer.get_vocab_size()
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=words, max_position_embeddings=64, **sizes)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tuned(checkpoint, pair, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned")
    train_classifier(ClassifierConfig(pair, TUNING), checkpoint, data, out)
    return out


def test_a_fine_tuned_checkpoint_is_imported_and_routes(tuned, data, tmp_path):
    from turnout.routers.bert.import_ import import_bert

    router = turnout.load(import_bert(tuned, tmp_path / "artifact", strong="big", weak="small"))
    gold = data.tables[0]
    hard = gold.scores["small"] == 0
    rates = router.win_rates(gold.prompts)
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.8


def test_its_labels_are_named(tuned):
    config = transformers.AutoConfig.from_pretrained(tuned)
    assert config.id2label == {0: "strong", 1: "tie", 2: "weak"}


def test_a_folder_without_a_model_is_an_error_that_names_it(pair, data, tmp_path):
    with pytest.raises(turnout.ConfigError, match="expected a folder with an encoder"):
        train_classifier(ClassifierConfig(pair, TUNING), tmp_path, data, tmp_path / "out")


def test_a_precision_that_cannot_be_had_is_told_before_training(checkpoint, tmp_path, capsys):
    import json
    import shutil

    from turnout.cli import main

    other = shutil.copytree(checkpoint, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "albert"}))
    (tmp_path / "t.csv").write_text("prompt,gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1\nwhy,1,0\n")
    arguments = ["--outcomes", str(tmp_path / "t.csv"), "--precision", "int8", "--out", str(tmp_path / "out")]
    assert main(["train", "bert", "--encoder", str(other), *arguments]) != 0
    assert "'albert', which is not available in int8" in capsys.readouterr().err


def test_the_command_writes_an_artifact_with_quantiles_and_dev_scores(checkpoint, data, tmp_path):
    import json

    from turnout.cli import main

    gold = data.tables[0]
    rows = [f'"{prompt}",{big},{small}' for prompt, big, small in zip(gold.prompts, *gold.scores.values(), strict=True)]
    for name, part in (("train", rows[:120]), ("dev", rows[120:])):
        text = "\n".join(["prompt,gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1", *part])
        (tmp_path / f"{name}.csv").write_text(text + "\n")
    arguments = ["--outcomes", str(tmp_path / "train.csv"), "--dev", str(tmp_path / "dev.csv"), "--epochs", "1"]
    out = tmp_path / "tuned"
    assert main(["train", "bert", "--encoder", str(checkpoint), *arguments, "--out", str(out)]) == 0
    manifest = json.loads((out / "router.json").read_text())
    assert len(manifest["thresholds"]["quantiles"]) == 101
    assert manifest["provenance"]["training"]["dev"][0]["table"] == "dev"
    assert turnout.load(out).strong == "gpt-4-1106-preview"
    card = (out / "README.md").read_text()
    assert "| dev | " in card
    assert "the shipped `mf`" in card


def _train(encoder, out, files, *options):
    from turnout.cli import main

    return main(["train", "bert", "--encoder", str(encoder), "--outcomes", str(files), "--out", str(out), *options])


@pytest.fixture
def files(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("prompt,gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1\nwhy,1,0\n")
    return table


@pytest.mark.parametrize(
    ("encoder", "out", "message"),
    [
        ("mine", "mine", "mine is the checkpoint itself"),
        ("mine", "other", "other contains a checkpoint (config.json)"),
        ("mine-checkpoint", "mine-free", None),
        ("free-checkpoint", "free", "free-checkpoint, which is another checkpoint"),
        ("mine", "free", "free-checkpoint, which is another checkpoint"),
        ("mine", "t.csv", "t.csv is a file"),
    ],
)
def test_no_checkpoint_of_the_users_is_written_over(encoder, out, message, checkpoint, files, tmp_path, capsys):
    import shutil

    for name in ("mine", "other", "mine-checkpoint", "free-checkpoint"):
        shutil.copytree(checkpoint, tmp_path / name)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert _train(tmp_path / encoder, tmp_path / out, files) != 0
    # One prompt is too little to train on, which is what a run says that may write.
    expected = message or "1 prompts to train on and 0 to hold out"
    assert expected in capsys.readouterr().err.replace("\n", " ")
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


def test_a_tuned_checkpoint_may_be_replaced_by_the_same_command(tuned, checkpoint, tmp_path):
    import shutil

    from turnout.commands._train_checks import tuned_folder

    shutil.copytree(tuned, tmp_path / "out-checkpoint")
    assert tuned_folder(tmp_path / "out", checkpoint) == tmp_path / "out-checkpoint"


def test_an_encoder_is_required(files, tmp_path, capsys):
    from turnout.cli import main

    with pytest.raises(SystemExit):
        main(["train", "bert", "--outcomes", str(files), "--out", str(tmp_path / "out")])
    assert "required: --encoder" in capsys.readouterr().err


@pytest.mark.parametrize(("positions", "own", "most"), [(16, None, 16), (64, 12, 12)])
def test_prompts_are_cut_where_the_encoder_or_its_tokenizer_ends(positions, own, most, pair, data, tokenizer, tmp_path):
    from turnout.routers.bert.import_ import import_bert

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    known = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=positions, **sizes)
    transformers.BertModel(known).save_pretrained(tmp_path / "encoder")
    limit = {} if own is None else {"model_max_length": own}
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", **limit
    )
    wrapped.save_pretrained(tmp_path / "encoder")
    tuning = FineTuningConfig(epochs=1, max_tokens=256, held_out=0.15)
    train_classifier(ClassifierConfig(pair, tuning), tmp_path / "encoder", data, tmp_path / "tuned")
    router = turnout.load(import_bert(tmp_path / "tuned", tmp_path / "artifact"))
    assert router.manifest["tokenizer"]["max_tokens"] == most
