"""Classifiers that transformers makes on the spot give the same logits as artifacts, whether the graph is written here or traced."""

from __future__ import annotations

import json

import numpy as np
import pytest

import turnout
from turnout.cli import main
from turnout.graphs import network
from turnout.reference.network import ReferenceNetwork
from turnout.routers.bert import import_ as bert
from turnout.routers.bert import traced_check
from turnout.routers.bert.import_ import WRITTEN_TYPES, import_bert

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnxruntime = pytest.importorskip("onnxruntime")

#: Positions of the models; RoBERTa's start at 2.
POSITIONS = 96
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "num_labels": 3}
ROBERTA = {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1}
#: A window of 16 tokens on either side.
MODERN = {"local_attention": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
LOCAL_LAST = ["full_attention", "sliding_attention", "sliding_attention"]
GLOBAL_LAST = ["sliding_attention", "full_attention", "full_attention"]
WRITTEN = {
    "bert": {},
    "bert, one label": {"num_labels": 1, "hidden_act": "gelu_new"},
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "electra": {"embedding_size": 8},
    "electra, no projection": {"embedding_size": 16, "num_labels": 2},
    "bert, odd sizes": {"hidden_size": 15, "num_attention_heads": 3, "intermediate_size": 7, "num_labels": 2},
    "bert, one layer of heads of one number": {
        "hidden_size": 5,
        "num_attention_heads": 5,
        "num_hidden_layers": 1,
        "intermediate_size": 1,
        "num_labels": 1,
    },
    "roberta, one layer": {**ROBERTA, "num_hidden_layers": 1, "num_attention_heads": 1, "num_labels": 1},
    "electra, odd sizes": {
        "embedding_size": 33,
        "hidden_size": 9,
        "num_attention_heads": 3,
        "num_hidden_layers": 1,
        "intermediate_size": 65,
    },
    "distilbert, odd sizes": {"dim": 21, "n_layers": 1, "n_heads": 7, "hidden_dim": 3, "num_labels": 1},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24},
    "modernbert": {**MODERN, "layer_types": LOCAL_LAST},
    "modernbert, all attend to all at the end": {**MODERN, "layer_types": GLOBAL_LAST},
    "modernbert, mean": {**MODERN, "layer_types": LOCAL_LAST, "classifier_pooling": "mean", "num_labels": 1},
    "modernbert, biases": {
        **MODERN,
        **dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True),
        "classifier_activation": "relu",
    },
}
TRACED = {
    "albert": {"embedding_size": 8},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "mpnet": {"max_position_embeddings": POSITIONS + 2},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer):
    """Makes a folder with random weights."""

    def make(kind: str, options: dict[str, object], limit: int = POSITIONS):
        folder = tmp_path_factory.mktemp(kind)
        sizes = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": POSITIONS, **SIZES}
        if kind == "distilbert":
            sizes = {key: sizes[key] for key in ("vocab_size", "max_position_embeddings", "num_labels")}
        config = transformers.AutoConfig.for_model(kind, **{**sizes, **options})
        torch.manual_seed(1)
        model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.3 * torch.randn(weight.shape))
        model.save_pretrained(folder)
        wrapped = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, model_max_length=limit, pad_token="[PAD]", unk_token="[UNK]"
        )
        wrapped.save_pretrained(folder)
        return folder

    return make


def largest_difference(checkpoint, artifact) -> float:
    """Of a logit from that of transformers, over lengths alone and mixed."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    session = onnxruntime.InferenceSession(artifact / "model.onnx", providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    words = model.config.vocab_size
    # 1 and 0 are padding of some of these models, which is no token of a prompt.
    texts = [generator.integers(2, words, length) for length in (1, 2, 5, 16, 17, 18, 40, 90, POSITIONS)]
    with torch.no_grad():
        expected = np.concatenate([model(input_ids=torch.tensor(text[None])).logits.numpy() for text in texts])
    assert expected.std(axis=0).min() > 0.01, "the logits say nothing"
    found = []
    for batch in (*([place] for place in range(len(texts))), range(len(texts)), (0, 8), (3, 4, 5)):
        ids = np.zeros((len(batch), max(len(texts[place]) for place in batch)), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, place in enumerate(batch):
            ids[row, : len(texts[place])], mask[row, : len(texts[place])] = texts[place], 1
        logits = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        found.append(np.abs(logits - expected[list(batch)]).max())
    return float(max(found))


@pytest.mark.parametrize("name", WRITTEN)
def test_written_graphs_give_the_logits_of_transformers(name, checkpoint, tmp_path):
    folder = checkpoint(name.split(",")[0], WRITTEN[name])
    artifact = import_bert(folder, tmp_path / "out", log=pytest.fail)
    assert largest_difference(folder, artifact) < 1e-4
    assert 0 <= turnout.load(artifact).win_rate("which law is right") <= 1


#: How far a logit may go from float32's, in spreads of the logits over texts. int4 has a step of a seventh of the largest weight.
ROUNDING = {"float16": 0.01, "int8": 0.2, "int4": 1.0}


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("name", [name for name in WRITTEN if "odd" in name or "one layer" in name])
def test_rounded_matrices_of_odd_sizes_stay_close_and_do_not_see_the_batch(name, precision, checkpoint, tmp_path):
    folder = checkpoint(name.split(",")[0], WRITTEN[name])
    exact = ReferenceNetwork(import_bert(folder, tmp_path / "exact"))
    rough = ReferenceNetwork(import_bert(folder, tmp_path / "rough", precision=precision))
    generator = np.random.default_rng(0)
    texts = [generator.integers(2, 30, length).tolist() for length in (1, 1, 2, 3, 17, 40, POSITIONS)]
    expected, found = (np.concatenate([network.logits([text]) for text in texts]) for network in (exact, rough))
    assert 0 < np.abs(found - expected).max() < ROUNDING[precision] * expected.std(axis=0).max()
    if precision != "float16":
        np.testing.assert_allclose(rough.logits(texts), found, rtol=0, atol=1e-5)


def test_every_written_architecture_is_among_these():
    assert {name.split(",")[0] for name in WRITTEN} == set(WRITTEN_TYPES)


@pytest.mark.parametrize("name", ["modernbert", "modernbert, mean"])
def test_modernbert_in_int8_is_the_same_alone_and_in_a_batch(name, checkpoint, data, tmp_path):
    folder = checkpoint("modernbert", WRITTEN[name])
    exact = turnout.load(import_bert(folder, tmp_path / "exact"))
    rough = turnout.load(import_bert(folder, tmp_path / "rough", precision="int8"))
    prompts = ["", "law", *data.tables[0].prompts[:20], "apples " * 60]
    alone = np.array([rough.win_rate(prompt) for prompt in prompts])
    np.testing.assert_allclose(rough.win_rates(prompts), alone, rtol=0, atol=1e-5)
    assert 0 < np.abs(exact.win_rates(prompts) - alone).mean() < 0.05


@pytest.mark.parametrize("name", TRACED)
def test_other_architectures_go_through_torch_loudly_and_give_its_logits(name, checkpoint, tmp_path):
    told: list[str] = []
    folder = checkpoint(name, TRACED[name])
    artifact = import_bert(folder, tmp_path / "out", log=told.append)
    assert largest_difference(folder, artifact) < 1e-4
    before, after = told
    assert f"'{name}'" in before
    assert "through torch" in before
    assert "logits at most" in after
    assert f"to {POSITIONS} tokens" in after
    router = turnout.load(artifact)
    assert router.manifest["provenance"]["graph"].startswith("torch ")
    assert router.manifest["provenance"]["checked"] in after
    prompts = ["law", "which is right " * 9, "apples"]
    np.testing.assert_allclose(router.win_rates(prompts), [router.win_rate(p) for p in prompts], rtol=0, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_the_command_says_on_standard_error_that_torch_exports(checkpoint, tmp_path, capsys):
    folder = checkpoint("albert", TRACED["albert"])
    assert main(["import", "bert", str(folder), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "'albert', not bert" in told.err
    assert "checked: logits at most" in told.err
    assert f"prompts of at most {POSITIONS} tokens" in told.out
    assert main(["import", "bert", str(folder), "--out", str(tmp_path / "out8"), "--precision", "int8"]) != 0
    assert "is not available in int8" in capsys.readouterr().err


def test_a_caller_who_does_not_listen_is_warned(checkpoint, tmp_path):
    with pytest.warns(UserWarning, match="albert") as warned:
        import_bert(checkpoint("albert", TRACED["albert"]), tmp_path / "out")
    before, after = (str(each.message) for each in warned)
    assert "'albert', not bert" in before
    assert "checked: logits at most" in after


def test_traced_weights_may_lie_in_a_file_of_their_own(checkpoint, tmp_path, monkeypatch):
    folder = checkpoint("albert", TRACED["albert"])
    monkeypatch.setattr(network, "INLINE_BYTES", 0)
    artifact = import_bert(folder, tmp_path / "out", log=str)
    assert set(turnout.load(artifact).manifest["files"]) == {"model.onnx", "model.onnx.data", "tokenizer.json"}
    assert largest_difference(folder, artifact) < 1e-4


def test_an_architecture_whose_answer_depends_on_padding_is_refused(checkpoint, tmp_path):
    folder = checkpoint("convbert", {"embedding_size": 16})
    with pytest.raises(
        turnout.ArtifactError, match=r"'convbert' cannot be used as a router: .* in a batch .* expected at most 1e-04"
    ):
        import_bert(folder, tmp_path / "out", log=str)
    assert not list(tmp_path.iterdir())


def test_an_architecture_that_cannot_be_traced_is_refused_without_printing_its_graph(checkpoint, tmp_path, capsys):
    with pytest.raises(turnout.ArtifactError, match=r"torch cannot export 'fnet': .*fft"):
        import_bert(checkpoint("fnet", {}), tmp_path / "out", log=str)
    assert "graph(" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_trace_that_holds_the_length_of_its_example_is_refused(checkpoint, tmp_path):
    folder = checkpoint("longformer", {"attention_window": 8, "max_position_embeddings": POSITIONS + 2})
    with pytest.raises(
        turnout.ArtifactError, match=r"graph that torch exports cannot read 1 texts of up to \d+ tokens"
    ):
        import_bert(folder, tmp_path / "out", log=str)


def test_a_graph_that_differs_from_torch_is_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(traced_check, "LARGEST_ERROR", 0.0)
    with pytest.raises(turnout.ArtifactError, match="cannot be used as a router: logits at most"):
        import_bert(checkpoint("albert", TRACED["albert"]), tmp_path / "out", log=str)
    assert not list(tmp_path.iterdir())


def test_more_tokens_than_the_model_reads_are_told(checkpoint, tmp_path):
    # Its positions start behind the padding's id, so its table is for one token less than it has rows.
    folder = checkpoint("data2vec-text", {"pad_token_id": 0})
    with pytest.raises(turnout.ArtifactError, match=r"cannot read 96 tokens .* model_max_length"):
        import_bert(folder, tmp_path / "out", log=str)


def test_a_checkpoint_without_a_classifier_is_refused(checkpoint, tmp_path):
    folder = checkpoint("albert", TRACED["albert"])
    transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {str(n): f"LABEL_{n}" for n in range(3)}}))
    with pytest.raises(turnout.ArtifactError, match=r"missing weights: classifier\.bias, classifier\.weight"):
        import_bert(folder, tmp_path / "out", log=str)


def test_labels_without_names_are_counted_where_torch_traces_too(checkpoint, tmp_path):
    folder = checkpoint("albert", {**TRACED["albert"], "num_labels": 3})
    config = json.loads((folder / "config.json").read_text())
    for field in ("id2label", "label2id"):
        del config[field]
    (folder / "config.json").write_text(json.dumps({**config, "num_labels": 3}))
    artifact = import_bert(folder, tmp_path / "out", log=str)
    assert turnout.load(artifact).manifest["labels"] == ["strong", "tie", "weak"]


def test_logits_of_another_number_than_labels_are_told(checkpoint, tmp_path, monkeypatch):
    folder = checkpoint("albert", TRACED["albert"])
    monkeypatch.setattr(bert, "labels_of", lambda source, labels: ("strong", "weak"))
    with pytest.raises(
        turnout.ArtifactError, match=r"2 labels, but the model of transformers gives logits of shape \[3\]"
    ):
        import_bert(folder, tmp_path / "out", log=str)
    assert not list(tmp_path.iterdir())


def test_what_transformers_does_not_know_is_told(checkpoint, tmp_path):
    folder = checkpoint("albert", TRACED["albert"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "no-such-bert"}))
    with pytest.raises(turnout.ArtifactError, match=r"transformers cannot load it as a classifier: .*no-such-bert"):
        import_bert(folder, tmp_path / "out", log=str)
