from __future__ import annotations

import numpy as np
import pytest

from turnout.data import Battles
from turnout.routers.mf.train import fit_mf
from turnout.training.curriculum import plan, topic_rows
from turnout.training.files import CachedTeacher
from turnout.training.matrix_factorization import TrainedMf
from turnout.training.pair import evidence


@pytest.fixture(scope="module")
def trained(config, tables, battles, teacher, tokenizer) -> TrainedMf:
    return fit_mf(config, tables, battles, teacher, tokenizer)


def test_the_router_sends_hard_prompts_to_the_strong_model(trained, tables, tokenizer):
    gold = tables[0]
    rates = trained.win_rates(tokenizer, gold.prompts)
    hard = gold.scores["small"] == 0
    assert np.mean(rates[hard][:, None] > rates[~hard][None]) > 0.9


def test_open_prompts_stand_below_word_problems(trained, tables, battles, tokenizer):
    assert trained.win_rates(tokenizer, battles.prompts).mean() < trained.win_rates(tokenizer, tables[2].prompts).mean()


def test_model_vectors_have_unit_length_and_the_pair_comes_first(trained):
    np.testing.assert_allclose(np.linalg.norm(trained.model_vectors, axis=1), 1.0, atol=1e-5)
    assert trained.models == ["big", "small", "large", "middle"]


def test_the_win_rate_of_the_pair_is_the_logit_of_the_encoder(trained):
    pair = trained.model_vectors[0] - trained.model_vectors[1]
    direction = trained.projection.T @ (trained.factor_weights * pair)
    np.testing.assert_allclose(direction, trained.encoder.hidden.direction, atol=1e-6)


def test_shapes_are_those_of_the_config(trained, config):
    width = config.hidden * config.members
    assert trained.encoder.hidden.bias.shape == (width,)
    assert trained.projection.shape == (config.factors, width)
    assert (
        trained.encoder.hidden.weight.shape[0]
        == trained.encoder.token_rows.shape[1] + trained.encoder.count_table.shape[1]
    )


def test_training_twice_gives_the_same_router(trained, config, tables, battles, teacher, tokenizer):
    again = fit_mf(config, tables, battles, teacher, tokenizer)
    np.testing.assert_allclose(
        again.win_rates(tokenizer, tables[0].prompts), trained.win_rates(tokenizer, tables[0].prompts), atol=1e-5
    )


def test_an_empty_prompt_has_a_win_rate(trained, tokenizer):
    assert 0.0 < trained.win_rates(tokenizer, [""])[0] < 1.0


def test_topic_rows_prefer_the_pair_and_put_open_prompts_at_zero(config, tables):
    prompts, gain, weight = topic_rows(config, tables, ["open"])
    assert len(prompts) == len(gain) == len(weight)
    assert (prompts[-1], gain[-1], weight[-1]) == ("open", 0.0, config.chat_weight)
    gold = tables[0]
    np.testing.assert_array_equal(gain[: len(gold)], gold.scores["big"] - gold.scores["small"])


def test_verdicts_on_the_pair_are_a_source_of_the_curriculum(config, tables, teacher, tokenizer):
    fought = Battles(["write 1", "write 2"], ["big", "large"], ["small", "big"], np.array([1.0, 1.0]))
    known = evidence(config, tables, fought)
    assert [table.name for table in known.tables] == [*(table.name for table in tables), "battles of the pair"]
    assert known.chat == ["write 2"]
    prompts, gain, weight = topic_rows(config, known.tables, known.chat)
    assert prompts[-2:] == ["write 1", "write 2"]
    assert (gain[-2:].tolist(), weight[-2:].tolist()) == ([1.0, 0.0], [1.0, config.chat_weight])
    assert plan(config, tables, fought, teacher, tokenizer).lessons


def test_a_cached_teacher_is_asked_once(tmp_path, teacher):
    class Counting:
        asked = 0
        word_embeddings = teacher.word_embeddings

        def embed(self, prompts, progress=None):
            self.asked += 1
            return teacher.embed(prompts)

    counting = Counting()
    first = CachedTeacher(counting, tmp_path, "v").embed(["add 1", "poem"])
    second = CachedTeacher(counting, tmp_path, "v").embed(["add 1", "poem"])
    np.testing.assert_array_equal(first, second)
    assert counting.asked == 1
