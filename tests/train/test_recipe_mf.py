"""The recipe of the shipped `mf`: the exported graph computes what the student computes."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("torch")

from recipes.mf.labels import Source, features, labels
from recipes.mf.linear_teacher import LinearTeacher, Prior, bags, cross_fitted, fit_teacher, inverse_frequency
from recipes.mf.mixing import bare_questions, mixed
from recipes.mf.rewriting import rewritten
from recipes.mf.sides import gains, mean_score
from recipes.mf.student import FIRST, LAST, Student, StudentConfig, log_counts, predict, train_student
from recipes.mf.tokens import COUNTS, count_table
from recipes.mf.vocabulary import inner_pieces, normal, script

from turnout.data import Outcomes
from turnout.graphs.fold import quantize_rows
from turnout.reference.mf import encode

VOCABULARY = 80
NAN = float("nan")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(2, VOCABULARY, generator.integers(1, 40)) for _ in range(600)]


@pytest.fixture(scope="module")
def counting() -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.column_stack([np.ones(VOCABULARY), generator.integers(0, 2, VOCABULARY)]).astype(np.float32)


def test_the_weights_that_are_exported_compute_the_logit_of_the_student(
    prompts: list[np.ndarray], counting: np.ndarray
) -> None:
    base = np.random.default_rng(2).normal(0, 20, (VOCABULARY, 512)).astype(np.float32)
    hard = np.array([float((row < 20).mean()) for row in prompts])
    config = StudentConfig(dim=16, epochs=8, batch=50, drop=0.0, planted=0.0)
    student = train_student(prompts, prompts, counting, hard, np.ones(len(hard)), base, config, lambda *_: None)
    expected = predict(student, prompts, counting)
    assert np.corrcoef(expected, hard)[0, 1] > 0.7, "the student has learned"

    table, scale = quantize_rows(student.rows())
    feature_weight, bias = student.folded_counts()
    weights = {
        "token_table": table,
        "row_scale": scale[:, None],
        "count_table": counting,
        "feature_weight": feature_weight,
        "bias": bias,
        "first_tokens": np.array([FIRST], np.float32),
        "first_gain": student.first_gain.detach().numpy(),
        "last_tokens": np.array([LAST], np.float32),
        "last_gain": student.last_gain.detach().numpy(),
    }
    direction = student.direction.weight[0].detach().numpy()
    found = np.array([encode(row, weights, "gelu") @ direction for row in prompts])
    offset = float(student.direction.bias.detach())
    # int8 rounds each row once; a short prompt sums it three times: among all, the first and the last tokens.
    np.testing.assert_allclose(found + offset, expected, rtol=0, atol=0.1 * expected.std())


def test_rows_that_are_drawn_together_move_to_their_mean_and_no_other_does(
    prompts: list[np.ndarray], counting: np.ndarray
) -> None:
    base = np.random.default_rng(4).normal(0, 20, (VOCABULARY, 512)).astype(np.float32)
    student = Student(base, log_counts(prompts, counting), 8)
    tokens = ["[PAD]", "[UNK]", *("##ab" if row % 2 else "word" for row in range(2, VOCABULARY))]
    chosen = inner_pieces(tokens)
    assert chosen.tolist() == list(range(3, VOCABULARY, 2))
    before, logits = student.rows(), predict(student, prompts, counting)
    student.draw_together(chosen, 0.5)
    after, mean = student.rows(), before[chosen].mean(axis=0)
    np.testing.assert_allclose(after[chosen] - mean, 0.5 * (before[chosen] - mean), atol=1e-5)
    kept = np.setdiff1d(np.arange(VOCABULARY), chosen)
    np.testing.assert_array_equal(after[kept], before[kept])
    assert np.abs(predict(student, prompts, counting) - logits).max() > 1e-3


def test_labels_follow_grades_and_the_gains_of_a_source(prompts: list[np.ndarray], counting: np.ndarray) -> None:
    hard = np.array([float((row < 20).mean()) for row in prompts])
    bags = np.stack([np.bincount(row, minlength=VOCABULARY) / len(row) for row in prompts])
    inputs = features(prompts, bags, log_counts(prompts, counting), VOCABULARY)
    graded = np.arange(300)
    grades = 1.0 + 4.0 * hard[graded] / hard.max()
    own = np.arange(300, 500)
    gain = -hard[own]
    nothing = np.zeros(0, np.int64)
    without, _ = labels(inputs, graded, grades, {})
    assert np.corrcoef(without[300:], hard[300:])[0, 1] > 0.8
    against, weight = labels(inputs, graded, grades, {"odd": Source(own, gain, nothing, 1.0)})
    assert np.corrcoef(against[own], hard[own])[0, 1] < -0.5, "where gains are known they decide"
    np.testing.assert_array_equal(against[500:], without[500:])
    assert weight.tolist() == [3.0] * 300 + [2.0] * 200 + [1.0] * 100


def test_a_teacher_of_a_source_says_the_gain_and_labels_prompts_made_for_it(
    prompts: list[np.ndarray], counting: np.ndarray
) -> None:
    hard = np.array([float((row < 20).mean()) for row in prompts])
    bags_of = np.stack([np.bincount(row, minlength=VOCABULARY) / len(row) for row in prompts])
    inputs = features(prompts, bags_of, log_counts(prompts, counting), VOCABULARY)
    own, nothing = np.arange(300, 500), np.zeros(0, np.int64)
    source = Source(own, hard[own], nothing, 0.5, predicted=-hard, made=np.array([-1.0, 0.0, 9.0]))
    graded = np.arange(300)
    without, _ = labels(inputs, graded, hard[graded], {})
    found, weight = labels(inputs, graded, hard[graded], {"odd": source})
    assert len(found) == len(weight) == len(prompts) + 3
    center = without[own].mean()
    np.testing.assert_allclose(found[own], center + 0.5 * (without[own] - center) - 0.4 * hard[own], atol=1e-9)
    np.testing.assert_allclose(found[-3:], center + np.array([-0.4, 0.0, 1.0]), atol=1e-9)


def test_a_linear_teacher_is_the_gaussian_process_of_its_kernel(
    prompts: list[np.ndarray], counting: np.ndarray
) -> None:
    frequency = inverse_frequency(bags(prompts, VOCABULARY))
    directions = np.random.default_rng(5).normal(size=(VOCABULARY, 3)).astype(np.float32)
    gain = np.array([float((row < 20).mean()) for row in prompts])
    known, other = prompts[:400], prompts[400:]
    prior = Prior(tokens=2.0, difficulty=0.5, length=0.2, counts=0.1, noise=5.0)
    teacher = fit_teacher(prior, known, gain[:400], frequency=frequency, counts=counting, directions=directions)
    own = teacher.predict(known, counting)
    np.testing.assert_allclose([own.mean(), own.std()], [0.0, 1.0], atol=1e-6)

    # The same by the formula of the mean of a Gaussian process, with features of all prompts at once.
    bag = np.stack([np.bincount(row, minlength=VOCABULARY) / len(row) for row in prompts]) * frequency
    bag /= np.sqrt((bag[:400] ** 2).sum() / 400)
    along, logs = bag @ directions, log_counts(prompts, counting).astype(np.float64)
    along, logs = ((part - part[:400].mean(axis=0)) / part[:400].std(axis=0) for part in (along, logs))
    weighted = np.hstack([np.sqrt(2.0) * bag, np.sqrt(0.5 / 3) * along, logs * np.sqrt([0.2, 0.1])])
    kernel = weighted @ weighted[:400].T
    dual = np.linalg.solve(kernel[:400] + 5.0 * np.eye(400), gain[:400] - gain[:400].mean())
    expected = kernel @ dual
    expected = (expected - expected[:400].mean()) / expected[:400].std()
    np.testing.assert_allclose(teacher.predict(other, counting), expected[400:], atol=1e-4)
    assert np.corrcoef(expected[400:], gain[400:])[0, 1] > 0.7, "it has learned"


def test_a_prompt_is_labeled_by_a_teacher_that_did_not_see_it(prompts: list[np.ndarray], counting: np.ndarray) -> None:
    seen: list[set[bytes]] = []

    def fit(ids, gain):
        seen.append({row.tobytes() for row in ids})
        return LinearTeacher(np.full(VOCABULARY, float(len(seen))), np.zeros(2))

    prompts = [row for row in prompts if len(row) > 8]
    number_of = cross_fitted(fit, prompts, np.zeros(len(prompts)), counting, np.random.default_rng(0))
    assert sorted(set(number_of.round())) == [1, 2, 3, 4, 5]
    for row, number in zip(prompts, number_of.round().astype(int), strict=True):
        assert row.tobytes() not in seen[number - 1]


def test_mixed_prompts_are_made_of_halves_of_two(prompts: list[np.ndarray]) -> None:
    first, second = np.arange(2, 30), np.arange(40, 70)
    found = mixed([first, second], 400, np.random.default_rng(0))
    assert len(found) == 400
    assert all(len(row) >= 5 for row in found)
    joined = [row for row in found if (row < 35).any() and (row > 35).any()]
    assert 0.2 * len(found) < len(joined) < 0.6 * len(found)
    assert all((np.diff(row) > 0).sum() >= len(row) - 2 for row in found), "each half keeps its order"


def test_questions_are_set_with_as_many_options_as_asked_for() -> None:
    ten = "Which is prime?\n" + "\n".join(
        f"{letter}. {number}" for letter, number in zip("ABCDEF", range(6), strict=True)
    )
    (found,) = bare_questions([ten, "No options here", "Two?\nA. x\nB. y"], 4, seed=0)
    stem, *lines, last = found.split("\n")
    assert (stem, last) == ("Which is prime?", "Answer:")
    assert [line[:3] for line in lines] == ["A. ", "B. ", "C. ", "D. "]
    assert len({line[3:] for line in lines} & set("012345")) == 4


def test_a_rewritten_prompt_keeps_the_words_of_the_prompt() -> None:
    prompt = "Prove that two plus two is four"
    forms = {rewritten(prompt, random.Random(seed)) for seed in range(200)}
    assert len(forms) > 50
    kept = [form for form in forms if prompt in form]
    assert len(kept) > 0.6 * len(forms), "the others have a typo"


def test_tokens_are_in_the_normal_form_of_bert() -> None:
    assert normal("Élan") == "elan"
    assert normal("한") == "\u1112\u1161\u11ab"
    assert [script(text) for text in ("hello", "漢字", "ひら", "привет", "كتاب", "नमस्ते", "42")] == [
        "latin",
        "han",
        "kana",
        "cyrillic",
        "arabic",
        "devanagari",
        "other",
    ]


def _table() -> Outcomes:
    scores = {
        "large-1": np.array([1.0, NAN, 1.0]),
        "large-2": np.array([0.0, NAN, 1.0]),
        "small": np.array([0.0, 1.0, 0.5]),
    }
    return Outcomes("t", ["x", "y", "z"], scores, ["law", "maths", "law"])


def test_mean_score_skips_missing_scores():
    np.testing.assert_array_equal(mean_score(_table(), ("large-*",)), [0.5, NAN, 1.0])


def test_gain_is_missing_where_a_side_is():
    np.testing.assert_array_equal(gains(_table(), ("large-*",), ("small",)), [0.5, NAN, 0.5])
    assert np.isnan(gains(_table(), ("absent",), ("small",))).all()


def test_tokens_count_in_their_columns_and_special_ones_towards_the_length_alone() -> None:
    table = count_table(["[UNK]", "12", "##5", "?", "each", "river"])
    counted = [{name for name, value in zip(COUNTS, row, strict=True) if value} for row in table]
    assert counted == [
        {"tokens"},
        {"tokens", "digits"},
        {"tokens", "digits"},
        {"tokens", "questions"},
        {"tokens", "arithmetic"},
        {"tokens"},
    ]
