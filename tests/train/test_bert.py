"""The small transformer: distilled, taught, exported; a prompt alone and in a batch scores the same."""

from __future__ import annotations

import numpy as np
import pytest

import turnout
from turnout.routers.bert.train import BertConfig, TrainedBert, distilled, fit_bert
from turnout.routers.bert.transformer import TransformerConfig, batches, pad
from turnout.training.curriculum import plan
from turnout.training.features import encode

SIZES = TransformerConfig(
    layers=2, width=8, attention=8, heads=2, inner=16, max_tokens=32, steps=60, tokens_a_step=1024, learning_rate=3e-3
)


@pytest.fixture(scope="module")
def trained(config, tables, battles, teacher, tokenizer) -> TrainedBert:
    sizes = BertConfig(config, SIZES)
    curriculum = plan(config, tables, battles, teacher, tokenizer)
    transformer = distilled(sizes, curriculum, teacher.word_embeddings)
    return fit_bert(sizes, curriculum, transformer, tables, battles)


@pytest.fixture(scope="module")
def session(trained):
    onnxruntime = pytest.importorskip("onnxruntime")
    from turnout.routers.bert.export import bert_graph

    return onnxruntime.InferenceSession(bert_graph(trained), providers=["CPUExecutionProvider"])


def scores(session, ids, tokens=None):
    padded, mask = (part.numpy() for part in pad(ids, SIZES.max_tokens))
    if tokens is not None:
        padded, mask = (np.pad(part, ((0, 0), (0, tokens - part.shape[1]))) for part in (padded, mask))
    return session.run(["model_scores"], {"input_ids": padded, "attention_mask": mask})[0]


def test_the_router_sends_hard_prompts_to_the_strong_model(trained, tables, tokenizer):
    gold = tables[0]
    rates = trained.win_rates(tokenizer, gold.prompts)
    hard = gold.scores["small"] == 0
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.9


def test_the_graph_agrees_with_training_up_to_int8(trained, session, tables, tokenizer):
    ids = encode(tokenizer, tables[0].prompts[:40], SIZES.max_tokens)
    found, expected = scores(session, ids), trained.model_scores(ids)
    assert np.abs(found - expected).max() < 0.05 * expected.std()


def test_a_prompt_alone_and_in_a_padded_batch_scores_the_same(session, tables, tokenizer):
    ids = encode(tokenizer, [*tables[0].prompts[:12], *tables[2].prompts[:12], "poem"], SIZES.max_tokens)
    together = scores(session, ids, tokens=SIZES.max_tokens)
    alone = np.concatenate([scores(session, [row]) for row in ids])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_an_empty_prompt_has_finite_scores(session, trained):
    empty = [np.empty(0, dtype=np.int32)]
    assert np.isfinite(scores(session, empty)).all()
    np.testing.assert_allclose(scores(session, empty), trained.model_scores(empty), atol=0.05)


def test_the_order_of_words_matters(trained, tokenizer):
    one, other = encode(tokenizer, ["which apples cost more hard", "hard more cost apples which"], SIZES.max_tokens)
    assert np.abs(trained.model_scores([one]) - trained.model_scores([other])).max() > 1e-6


def test_what_the_experts_think_stands_beside_the_embedding(trained):
    assert trained.opinions.shape[1] == 3
    assert trained.hidden.weight.shape[0] == SIZES.width + 3 + trained.counts.shape[1]


def test_batches_hold_each_prompt_once_and_stay_within_their_tokens():
    lengths = [1, 500, 7, 32, 33, 0, 31] * 9
    found = list(batches(lengths, SIZES, np.random.default_rng(0)))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    for batch in found:
        longest = max(min(max(lengths[place], 1), SIZES.max_tokens) for place in batch)
        assert longest * len(batch) <= SIZES.tokens_a_step


def test_the_artifact_routes_as_the_graph_scores(trained, session, tmp_path, tables, tokenizer):
    from turnout.artifact.origin import Origin
    from turnout.routers.bert.export import write_bert

    origin = Origin("toy", "Apache-2.0", "turnout train bert", [], [], "None.")
    folder = write_bert(trained, tokenizer.to_str(), [table.prompts for table in tables], origin, tmp_path / "toy")
    router = turnout.load(folder)
    prompts = tables[0].prompts[:20]
    logits = scores(session, encode(tokenizer, prompts, SIZES.max_tokens))[:, :2] @ [1.0, -1.0]
    np.testing.assert_allclose(router.win_rates(prompts), 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert (router.strong, router.weak) == ("big", "small")
    assert "# toy" in (folder / "README.md").read_text()
