"""A learned scorer of (prompt, answer): trained, imported, and read as a signal of a cascade."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import turnout
from turnout.cascade import Scorer
from turnout.cascade.scorer import pair_text
from turnout.cli import main
from turnout.data import BadRows
from turnout.training.scored_answers import ScoredAnswers, read_scored_answers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def write_table(path, count, seed):
    """An answer is right if it names the letter that the prompt ends with."""
    draw = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt", "answer", "correct", "risk", "large"])
        for number in range(count):
            right = draw.choice(list("abcd"))
            prompt = (
                f"which {' '.join(draw.choice(['apples', 'river', 'poem', 'law', 'cell'], 2))} {number % 5 + 1} {right}"
            )
            answer = right if draw.random() < 0.5 else draw.choice([one for one in "abcd" if one != right])
            rows.writerow([prompt, f"answer : {answer}", int(answer == right), 0.5, 1])
    return path


@pytest.fixture(scope="module")
def scorer(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("scorer")
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    words = tokenizer.get_vocab_size()
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=words, max_position_embeddings=64, **sizes)
    transformers.BertModel(config).save_pretrained(folder / "encoder")
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(folder / "encoder")
    table = write_table(folder / "train.csv", 300, 0)
    arguments = [
        "--encoder",
        str(folder / "encoder"),
        "--data",
        str(table),
        "--epochs",
        "2",
        "--out",
        str(folder / "out"),
    ]
    assert main(["train", "scorer", *arguments]) == 0
    return folder


def test_the_artifact_says_what_it_was_trained_on_and_scores_pairs(scorer):
    manifest = json.loads((scorer / "out" / "router.json").read_text())
    assert manifest["provenance"]["data"][0]["file"] == "train.csv"
    found = Scorer(turnout.load(scorer / "out"))
    _, held = read_scored_answers([scorer / "train.csv"]).split(0.1, seed=0)
    scores = found.scores(zip(held.prompts, held.answers, strict=True))
    expected = roc_auc_score(held.scores, scores)
    assert manifest["provenance"]["training"]["held_out_auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    score = found.score("which poem 1 a", "answer : a")
    assert 0.0 < score < 1.0
    assert found.scores([("which poem 1 a", "answer : a")]) == [pytest.approx(score, abs=1e-5)]
    assert found.score("which poem 1 a", "answer : b") != score


def test_a_judge_is_fitted_with_its_score(scorer, tmp_path, capsys):
    log = write_table(tmp_path / "log.csv", 150, 1)
    arguments = [
        "--cascade",
        "--call-costs",
        "0.1",
        "1",
        "--error-cost",
        "3",
        "--scorer",
        str(scorer / "out"),
        "--json",
    ]
    judge = tmp_path / "judge.json"
    assert main(["calibrate", "--data", str(log), *arguments, "--save", str(judge)]) == 0
    assert "scorer" in json.loads(capsys.readouterr().out)["auroc"]
    assert json.loads(judge.read_text())["forms"][0]["signals"] == ["scorer", "length"]
    assert main(["calibrate", "--data", str(scorer / "train.csv"), *arguments]) == 2
    assert "was trained on" in capsys.readouterr().err


def test_answers_to_a_prompt_are_not_split(tmp_path):
    (tmp_path / "t.csv").write_text(
        "prompt,answer,good\n" + "".join(f"p{at // 4},a{at},{at % 2}\n" for at in range(80))
    )
    table = read_scored_answers([tmp_path / "t.csv"], "good")
    train, held = table.split(0.3, 0)
    assert not set(train.prompts) & set(held.prompts)
    assert len(train.prompts) + len(held.prompts) == 80
    assert train.labelled().gain.tolist() == [1.0 - 2.0 * score for score in train.scores]


def test_near_duplicates_are_not_split():
    prompts = [f"Add {row} and {row + 1} {chr(97 + row % 20)}" for row in range(200)]
    table = ScoredAnswers(prompts, ["3"] * 200, np.zeros(200))
    train, held = table.split(0.3, 0)
    assert not {prompt[-1] for prompt in train.prompts} & {prompt[-1] for prompt in held.prompts}


def test_wrong_tables_and_routers_are_errors(tmp_path):
    (tmp_path / "t.csv").write_text("prompt,answer,correct\np,a,2\nq,b,1\n")
    bad = BadRows()
    assert read_scored_answers([tmp_path / "t.csv"], bad=bad).prompts == ["q"]
    assert "expected a number in 0..1" in bad.shown[0].reason
    with pytest.raises(turnout.InvalidInputError, match="no column 'good'"):
        read_scored_answers([tmp_path / "t.csv"], "good")
    with pytest.raises(turnout.ConfigError, match="expected the artifact of turnout train scorer"):
        Scorer(turnout.load())


def test_a_long_prompt_leaves_room_for_the_answer():
    text = pair_text("x" * 9000 + " [SEP] end", "answer " * 900)
    assert text.count("[SEP]") == 1
    assert text.index("[SEP]") < 510
    assert len(text) < 1010
