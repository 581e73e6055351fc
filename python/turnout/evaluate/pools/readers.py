"""Reads outcomes with costs: tables, and files of RouterBench, RouterArena, LLMRouterBench and LLMRouter as they are on disk.

- RouterBench (arXiv 2403.12031): a table with a column of scores a model and its costs in ``MODEL|total_cost``, as csv or parquet.
- RouterArena: ``cached_results/*.jsonl``, a file a model, graded (``evaluation_result``).
- LLMRouterBench (arXiv 2601.07206): the folder ``results/bench``, a file ``DATASET/SPLIT/MODEL/TIME.json`` a run.
- LLMRouter: ``default_routing_*_data.jsonl``, a line an answer. Its lines have tokens, not costs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from turnout._core import InvalidInputError
from turnout.data import BadRows, Outcomes, read_chunks, read_outcomes
from turnout.data.outcomes import iter_outcomes
from turnout.data.scores import number_of, scores_of
from turnout.evaluate.metrics import Floats

_COST = "|total_cost"


@dataclass(frozen=True)
class CostedOutcomes:
    """Outcomes, and what they cost.

    Attributes:
        table: The scores.
        costs: Dollars of each answer by model, float64 ``[prompts]``, NaN where unknown; models without costs are missing.
        keys: Names of the prompts in the benchmark, such as RouterArena's global index; empty where it has none.
    """

    table: Outcomes
    costs: dict[str, Floats] = field(default_factory=dict)
    keys: Sequence[str] = ()


class _Answer(NamedTuple):
    """One graded answer."""

    key: str
    prompt: str
    category: str
    model: str
    score: float
    cost: float


def read_costed(paths: Sequence[str | Path], *, bad: BadRows, column: str = "prompt") -> CostedOutcomes:
    """Reads outcomes of a pool in any of the forms above, which the content tells.

    Args:
        paths: One table, or files or a folder of a benchmark.
        bad: Takes the invalid rows.
        column: Column of the prompts of a table.

    Returns:
        The outcomes.

    Raises:
        InvalidInputError: The form is unknown, a file is damaged, or there are too many invalid rows.
    """
    files = [Path(path) for path in paths]
    if len(files) == 1 and files[0].is_dir():
        return _read_folder(files[0])
    for file in files:
        if file.suffix == ".pkl":
            raise InvalidInputError(
                f"{file}: pickles can run programs and are not read; write it again, such as with pandas: "
                "pandas.read_pickle(FILE).to_parquet('routerbench.parquet')"
            )
    names = next(iter(read_chunks(files[0]))).names
    if {"global_index", "llm_selected"} <= set(names):
        return _joined("routerarena", _arena(files, bad), bad)
    if {"query", "model_name", "performance"} <= set(names):
        return _joined(files[0].stem, _llmrouter(files, bad), bad)
    if len(files) > 1:
        raise InvalidInputError(f"{files[1]}: expected one table, or files of RouterArena or LLMRouter")
    table = read_outcomes(files[0], bad=bad, column=column)
    return CostedOutcomes(table, columns_beside(files[0], table, column, _COST))


def columns_beside(path: Path, table: Outcomes, column: str, suffix: str) -> dict[str, Floats]:
    """Numbers beside the scores, such as costs in ``MODEL|total_cost``, as RouterBench names them.

    Args:
        path: The table.
        table: What was read of it.
        column: Column of the prompts.
        suffix: After the name of a column of scores.

    Returns:
        float64 ``[prompts]`` by column of scores, NaN where the table has none; columns without one are missing.

    Raises:
        InvalidInputError: Something else than numbers.
    """
    names = next(iter(read_chunks(path))).names
    models = [name for name in table.scores if f"{name}{suffix}" in names]
    if not models:
        return {}
    both = [*table.scores, *(f"{name}{suffix}" for name in models)]
    # The same columns of scores are read again, so the same rows are left out. A value that is not a number would leave out more: an error.
    parts = list(iter_outcomes(path, models=both, bad=BadRows(max_share=None), column=column))
    found = {name: np.concatenate([part.scores[f"{name}{suffix}"] for part in parts]) for name in models}
    if any(len(one) != len(table) for one in found.values()):
        raise InvalidInputError(f"{path}: expected numbers or nothing in columns MODEL{suffix}")
    return found


def _read_folder(folder: Path) -> CostedOutcomes:
    """A folder of RouterArena's files or of LLMRouterBench's."""
    lines = sorted(folder.glob("*.jsonl"))
    if lines:
        bad = BadRows()
        return _joined("routerarena", _arena(lines, bad), bad)
    runs = sorted(folder.glob("*/*/*/*.json"))
    if not runs:
        raise InvalidInputError(
            f"{folder}: no *.jsonl of RouterArena and no DATASET/SPLIT/MODEL/TIME.json of LLMRouterBench"
        )
    # The last run of a model counts.
    latest = {run.parent: run for run in runs}
    bad = BadRows()
    return _joined(folder.name, _bench(latest.values(), bad), bad)


def _arena(files: Iterable[Path], bad: BadRows) -> Iterator[_Answer]:
    """Answers of RouterArena's cached results; those that were never graded are invalid rows."""
    for file in files:
        for chunk in read_chunks(file):
            columns = [chunk.column(name) for name in ("global_index", "question", "llm_selected", "evaluation_result")]
            for number, (key, prompt, model, result) in zip(chunk.numbers, zip(*columns, strict=True), strict=True):
                graded = result if isinstance(result, dict) else {}
                score, cost = number_of(graded.get("score")), number_of(graded.get("inference_cost"))
                if not key or not prompt or not model or score is None or np.isnan(score):
                    bad.add(str(file), number, "no global_index, question, llm_selected or evaluation_result.score")
                    continue
                category = str(key).rpartition("_")[0] or "none"
                yield _Answer(str(key), str(prompt), category, str(model), score, np.nan if cost is None else cost)
        bad.check(str(file))


def _llmrouter(files: Iterable[Path], bad: BadRows) -> Iterator[_Answer]:
    """Answers of LLMRouter's routing data."""
    for file in files:
        for chunk in read_chunks(file):
            tasks = chunk.column("task_name") if "task_name" in chunk.names else ["none"] * len(chunk)
            scores, problems = scores_of(chunk.column("performance"), "performance")
            rows = zip(chunk.numbers, chunk.column("query"), chunk.column("model_name"), tasks, scores, strict=True)
            for index, (number, prompt, model, task, score) in enumerate(rows):
                if index in problems or not prompt or not model or np.isnan(score):
                    bad.add(str(file), number, problems.get(index, "no query, model_name or performance"))
                    continue
                yield _Answer(str(prompt), str(prompt), str(task), str(model), float(score), np.nan)
        bad.check(str(file))


def _bench(files: Iterable[Path], bad: BadRows) -> Iterator[_Answer]:
    """Answers of LLMRouterBench's runs."""
    for file in files:
        dataset, split, model = file.parts[-4:-1]
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            records: list[dict[str, Any]] = content["records"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidInputError(f"{file}: not a run of LLMRouterBench: {error}") from error
        for number, record in enumerate(records, start=1):
            score, cost = number_of(record.get("score")), number_of(record.get("cost"))
            prompt = record.get("prompt") or record.get("origin_query")
            if not prompt or score is None or np.isnan(score):
                bad.add(str(file), number, "no prompt or score")
                continue
            key = f"{dataset}/{split}/{record.get('index', number)}"
            yield _Answer(key, str(prompt), dataset, model, score, np.nan if cost is None else cost)
        bad.check(str(file))


def _joined(name: str, answers: Iterable[_Answer], bad: BadRows) -> CostedOutcomes:
    """One row a prompt, one column a model; the last of several answers of a model counts."""
    place: dict[str, int] = {}
    first: list[_Answer] = []
    scores: dict[str, dict[int, tuple[float, float]]] = {}
    for answer in answers:
        row = place.setdefault(answer.key, len(place))
        if row == len(first):
            first.append(answer)
        scores.setdefault(answer.model, {})[row] = (answer.score, answer.cost)
    if not first:
        raise InvalidInputError(f"{name}: no graded answer{': ' + str(bad) if bad else ''}")
    columns: dict[str, Floats] = {}
    costs: dict[str, Floats] = {}
    for model, found in scores.items():
        both = np.full((len(first), 2), np.nan)
        for row, pair in found.items():
            both[row] = pair
        columns[model] = both[:, 0]
        if not np.isnan(both[:, 1]).all():
            costs[model] = both[:, 1]
    table = Outcomes(name, [one.prompt for one in first], columns, [one.category for one in first])
    return CostedOutcomes(table, costs, list(place))
