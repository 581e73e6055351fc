"""Files of RouterBench, RouterArena, LLMRouterBench and LLMRouter, in the forms that these projects document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turnout import InvalidInputError
from turnout.data import BadRows
from turnout.evaluate.pools.readers import read_costed


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def _arena(index: str, model: str, score: float | None, cost: float = 0.001) -> dict[str, Any]:
    graded = None if score is None else {"score": score, "metric": "mcq_accuracy", "inference_cost": cost}
    return {
        "global_index": index,
        "question": f"Question {index}",
        "llm_selected": model,
        "generated_answer": "A",
        "token_usage": {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10},
        "success": True,
        "evaluation_result": graded,
    }


def test_routerarena_joins_files_of_models(tmp_path: Path) -> None:
    _jsonl(tmp_path / "a.jsonl", [_arena("AIME_1", "a", 1.0), _arena("ArcMMLU_2", "a", 0.0, 0.002)])
    _jsonl(tmp_path / "b.jsonl", [_arena("ArcMMLU_2", "b", 1.0, 0.03)])
    found = read_costed([tmp_path], bad=BadRows())
    assert found.keys == ["AIME_1", "ArcMMLU_2"]
    assert found.table.prompts == ["Question AIME_1", "Question ArcMMLU_2"]
    assert found.table.categories == ["AIME", "ArcMMLU"]
    np.testing.assert_array_equal(found.table.scores["b"], [np.nan, 1.0])
    np.testing.assert_array_equal(found.costs["a"], [0.001, 0.002])


def test_answers_of_routerarena_without_a_grade_are_bad_rows(tmp_path: Path) -> None:
    rows = [_arena(f"AIME_{row}", "a", 1.0) for row in range(40)] + [_arena("AIME_99", "a", None)]
    bad = BadRows()
    found = read_costed([_jsonl(tmp_path / "a.jsonl", rows)], bad=bad)
    assert len(found.table) == 40
    assert "evaluation_result.score" in str(bad)


def test_llmrouterbench_takes_the_last_run(tmp_path: Path) -> None:
    for model, time, score in (("a", "20250101", 0.0), ("a", "20250202", 1.0), ("b", "20250101", 0.5)):
        record = {"index": 1, "origin_query": "2+2?", "prompt": "Question: 2+2?", "score": score, "cost": 0.01}
        run = tmp_path / "aime" / "test" / model / f"{time}.json"
        run.parent.mkdir(parents=True, exist_ok=True)
        run.write_text(json.dumps({"performance": score, "records": [record]}), encoding="utf-8")
    found = read_costed([tmp_path], bad=BadRows())
    assert {model: scores.tolist() for model, scores in found.table.scores.items()} == {"a": [1.0], "b": [0.5]}
    assert found.costs["b"].tolist() == [0.01]
    assert found.table.prompts == ["Question: 2+2?"]
    assert found.keys == ["aime/test/1"]


def test_llmrouter_has_a_line_an_answer(tmp_path: Path) -> None:
    rows = [
        {
            "task_name": "gsm8k",
            "query": query,
            "model_name": model,
            "performance": score,
            "input_tokens": 9,
            "output_tokens": 3,
        }
        for query, model, score in (("2+2?", "a", 1.0), ("2+2?", "b", 0.0), ("3+3?", "a", 0.5))
    ]
    found = read_costed([_jsonl(tmp_path / "routing.jsonl", rows)], bad=BadRows())
    assert found.table.prompts == ["2+2?", "3+3?"]
    np.testing.assert_array_equal(found.table.scores["b"], [0.0, np.nan])
    assert found.costs == {}


def test_routerbench_has_costs_beside_scores(tmp_path: Path) -> None:
    path = tmp_path / "routerbench.csv"
    path.write_text(
        "sample_id,prompt,eval_name,a,a|model_response,a|total_cost,b,b|total_cost\n1,Hi,mmlu,1.0,x,0.1,0.0,0.002\n2,Why?,mmlu,0.0,y,0.2,1.0,0.003\n"
    )
    found = read_costed([path], bad=BadRows())
    assert sorted(found.table.scores) == ["a", "b"]
    assert found.costs["a"].tolist() == [0.1, 0.2]


def test_other_files_are_clear_errors(tmp_path: Path) -> None:
    pickle = tmp_path / "routerbench_0shot.pkl"
    pickle.write_bytes(b"")
    with pytest.raises(InvalidInputError, match="pickles can run programs and are not read"):
        read_costed([pickle], bad=BadRows())
    with pytest.raises(InvalidInputError, match=r"no \*.jsonl of RouterArena and no DATASET/SPLIT/MODEL/TIME.json"):
        read_costed([tmp_path], bad=BadRows())
    run = tmp_path / "aime" / "test" / "a" / "1.json"
    run.parent.mkdir(parents=True)
    run.write_text("[]")
    with pytest.raises(InvalidInputError, match="not a run of LLMRouterBench"):
        read_costed([tmp_path], bad=BadRows())
