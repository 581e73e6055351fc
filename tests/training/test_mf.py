"""``train mf``: ridge regression in closed form, columns in the encoder, and the artifact from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("sklearn")

import turnout
from turnout.cli import main
from turnout.data import Battles, Outcomes
from turnout.routers.mf.train import MfConfig, TrainedMf, train_mf
from turnout.training.factors import fit_factors, head_of, principal_scores
from turnout.training.files import TrainingData
from turnout.training.pair import Grades, Pair
from turnout.training.ridge import fit_ridge
from turnout.training.tables import pair_examples

WORDS = "the a of river stone paper apples cost under over green seven left right water house tree many".split()
PAIR = Pair("big", "small")


def _prompts(number: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Prompts of random words; those with "lattice" are hard."""
    generator = np.random.default_rng(seed)
    prompts: dict[str, bool] = {}
    while len(prompts) < number:
        hard = bool(generator.random() < 0.5)
        words = [*generator.choice(WORDS, 9), "lattice" if hard else "garden"]
        prompts[" ".join(generator.permutation(words))] = hard
    return list(prompts), np.array(list(prompts.values()))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    prompts, hard = _prompts(300, 0)
    wrong = np.random.default_rng(1).random(300) < 0.1
    scores = {"big": np.ones(300), "small": 1.0 - (hard ^ wrong), "large": np.ones(300), "tiny": np.zeros(300)}
    table = Outcomes("own", prompts, {name: np.asarray(column, dtype=float) for name, column in scores.items()})
    return TrainingData([table], Battles([], [], [], np.empty(0)), Grades([], np.empty(0)), [])


@pytest.fixture(scope="module")
def trained(data: TrainingData) -> TrainedMf:
    return train_mf(MfConfig(PAIR), data)


def _apart(rates: np.ndarray, hard: np.ndarray) -> float:
    return float(np.mean(rates[hard][:, None] > rates[~hard][None]))


@pytest.mark.parametrize("columns", [5, 60])
def test_left_out_predictions_are_those_of_fits_without_the_row(columns: int) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(40, columns)), generator.normal(size=(40, 2))
    fit = fit_ridge(x, y, (3.0,))
    for row in (0, 17):
        others = np.arange(40) != row
        alone = fit_ridge(x[others], y[others], (3.0,))
        np.testing.assert_allclose(fit.left_out[row], alone.predict(x[row : row + 1])[0], atol=0.02)
    inside = x - x.mean(axis=0)
    exact = np.linalg.solve(inside.T @ inside + 3.0 * np.eye(columns), inside.T @ (y - y.mean(axis=0)))
    np.testing.assert_allclose(fit.weights, exact, atol=1e-8)


def test_the_head_scores_models_by_their_factors() -> None:
    generator = np.random.default_rng(0)
    projection, factors, embedding = (generator.normal(size=shape) for shape in ((3, 5), (4, 3), 5))
    head = head_of(projection, factors)
    np.testing.assert_allclose(np.linalg.norm(head.models, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(
        head.models @ (head.w2 * (head.w1 @ embedding)), factors @ projection @ embedding, atol=1e-5
    )


def test_components_separate_what_models_find_hard() -> None:
    kind = np.arange(40) % 2
    scores = {f"m{index}": (kind == index % 2).astype(float) for index in range(4)}
    prompts, components = principal_scores([Outcomes("t", [str(row) for row in range(40)], scores)], 3)
    assert (len(prompts), components.shape) == (40, (40, 1))
    assert abs(np.corrcoef(components[:, 0], kind)[0, 1]) > 0.99


def test_factors_order_models_by_who_wins_and_leave_fixed_ones() -> None:
    scores = {"good": np.ones(50), "bad": np.zeros(50), "middle": np.full(50, 0.5)}
    examples = pair_examples(
        [Outcomes("t", [str(row) for row in range(50)], scores)],
        Battles([], [], [], np.empty(0)),
        per_table=500,
        min_battles=1,
        seed=0,
    )
    models, factors = fit_factors(
        np.ones((len(examples.prompts), 1)), examples, {"good": np.array([1.0]), "bad": np.array([-1.0])}
    )
    assert models == ["good", "bad", "middle"]
    assert (factors[0, 0], factors[1, 0]) == (1.0, -1.0)
    assert abs(factors[2, 0]) < 0.3


def test_the_router_learns_a_word_from_a_table_of_its_own_pair(
    trained: TrainedMf, data: TrainingData, tmp_path: Path
) -> None:
    from turnout.artifact.origin import Origin
    from turnout.routers.mf.export import write_mf

    write_mf(trained, data, Origin("own", "Apache-2.0", "turnout train mf", [], [], ""), tmp_path / "own")
    router = turnout.load(tmp_path / "own", strong_share=0.5)
    prompts, hard = _prompts(400, 7)
    rates = router.win_rates(prompts)
    assert _apart(rates, hard) > 0.95
    assert router.engine == "native"
    assert (router.strong, router.weak, set(router.models)) == ("big", "small", {"big", "small", "large", "tiny"})
    chances = 0.5 + 0.5 * np.where(hard, 0.9, 0.1)
    assert abs(rates.mean() - chances.mean()) < 0.03, "win rates are probabilities on new prompts"
    assert abs(rates[hard].mean() - chances[hard].mean()) < 0.06
    strong = np.mean([decision.is_strong for decision in router.route_batch(prompts)])
    assert abs(strong - 0.5) < 0.06, "quantiles are those of new prompts"
    assert turnout.load(tmp_path / "own", strong="large", weak="tiny").win_rates(prompts).min() > 0.8


def test_scores_are_of_prompts_that_the_fit_did_not_have(trained: TrainedMf) -> None:
    (own,), (before,) = trained.scores, trained.start_scores
    assert own.router.low > 0.6
    assert own.rows == before.rows == 300
    assert before.router.value < own.router.value


def _csv(path: Path, header: str, rows: list[str]) -> str:
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def test_battles_or_grades_alone_are_enough(tmp_path: Path) -> None:
    prompts, hard = _prompts(150, 3)
    new, new_hard = _prompts(200, 4)
    judged = [f"{p},little,large,{'model_b' if h else 'tie'}" for p, h in zip(prompts, hard, strict=True)]
    graded = [f"{p},{4 if h else 1}" for p, h in zip(prompts, hard, strict=True)]
    files = {
        "--battles": _csv(tmp_path / "judged.csv", "prompt,model_a,model_b,winner", judged),
        "--grades": _csv(tmp_path / "graded.csv", "prompt,grade", graded),
    }
    for option, file in files.items():
        out = tmp_path / option.strip("-")
        assert main(["train", "mf", option, file, "--strong", "large", "--weak", "little", "--out", str(out)]) == 0
        assert _apart(turnout.load(out).win_rates(new), new_hard) > 0.9


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["train", "mf", *out]) != 0
    assert "no training data: expected tables after --outcomes, --battles or --grades" in capsys.readouterr().err
    bad = _csv(tmp_path / "bad.csv", "prompt,grade", ["x,6"])
    assert main(["train", "mf", "--grades", bad, *out]) != 0
    assert "bad.csv: grade is 6, expected a number from 1 to 5" in capsys.readouterr().err
    one = _csv(tmp_path / "one.csv", "prompt,big,small", ["x,1,0"])
    same = ["--strong", "big", "--weak", "BIG"]
    assert main(["train", "mf", "--outcomes", one, *same, *out]) != 0
    assert "are one model" in capsys.readouterr().err
    assert main(["train", "mf", "--outcomes", one, "--strong", "big", "--weak", "small", *out]) != 0
    assert "1 prompts with outcomes, battles or grades of big (strong) and small (weak)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_outcomes_that_no_prompt_explains_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts, _ = _prompts(60, 5)
    even = _csv(tmp_path / "even.csv", "prompt,big,small", [f"{prompt},1,1" for prompt in prompts])
    pair = ["--strong", "big", "--weak", "small"]
    assert main(["train", "mf", "--outcomes", even, *pair, "--out", str(tmp_path / "out")]) != 0
    assert "60 prompts do not tell when big is better than small" in " ".join(capsys.readouterr().err.split())
