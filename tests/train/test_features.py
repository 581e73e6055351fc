from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from turnout.training.features import COUNTS, LENGTH, bags, count_table, inputs, inverse_frequency, mean_bags


def test_every_token_counts_towards_the_length():
    assert (count_table(["[UNK]", "7", "##s", "poem"])[:, LENGTH] == 1).all()


def test_columns_hold_the_tokens_they_name():
    tokens = ["7", "##42", "##s", "?", "not", "[UNK]"]
    table = count_table(tokens)
    column = {name: set(np.array(tokens)[table[:, place] == 1]) for place, name in enumerate(COUNTS)}
    assert column["digits"] == {"7", "##42"}
    assert column["continuations"] == {"##s"}
    assert column["questions"] == {"?"}
    assert column["negations"] == {"not"}
    assert all("[UNK]" not in column[name] for name in COUNTS if name != "tokens")


def test_bags_count_repeated_tokens_and_means_forget_the_length():
    counted = bags([np.array([1, 1, 2]), np.array([1, 1, 2] * 5), np.array([], dtype=int)], 4)
    assert counted.toarray()[0].tolist() == [0, 2, 1, 0]
    means = mean_bags(counted).toarray()
    np.testing.assert_allclose(means[0], means[1])
    assert means[2].tolist() == [0, 0, 0, 0]


def test_a_token_of_every_prompt_has_no_weight():
    frequency = inverse_frequency(bags([np.array([0, 1]), np.array([0, 2]), np.array([0, 3])], 4))
    assert frequency[0] == 0.0
    assert frequency[1] == pytest.approx(np.log(3 / 2))


def test_inputs_are_the_mean_row_and_the_logs_of_counts():
    rows, counts = np.array([[1.0], [3.0]], dtype=np.float32), np.array([[1, 0], [1, 1]], dtype=np.float32)
    x = inputs([np.array([0, 1, 1])], rows, counts)
    np.testing.assert_allclose(x, [[7 / 3, np.log1p(3), np.log1p(2)]], rtol=1e-6)
