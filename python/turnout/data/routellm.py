"""Reads the ``evals`` folder of a RouteLLM checkout (github lm-sys/RouteLLM, ``routellm/evals``)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Literal

import numpy as np

from turnout._core import InvalidInputError
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import read_chunks
from turnout.data.outcomes import Outcomes, join, read_outcomes
from turnout.data.scores import scores_of
from turnout.data.texts import texts

Benchmark = Literal["mmlu", "gsm8k", "mt-bench"]
BENCHMARKS: tuple[Benchmark, ...] = ("mmlu", "gsm8k", "mt-bench")


def read_routellm_benchmark(folder: str | Path, benchmark: Benchmark, *, bad: BadRows) -> Outcomes:
    """Reads one benchmark, without the prompts that its ``contaminated_prompts.jsonl`` lists.

    Args:
        folder: The ``evals`` folder, with ``mmlu/responses/*.csv``, ``gsm8k/gsm8k_responses.csv``, ``mt_bench/question.jsonl`` and
            ``mt_bench/judgements.jsonl``.
        benchmark: ``"mmlu"``, ``"gsm8k"`` or ``"mt-bench"``.
        bad: Collects invalid rows.

    Returns:
        Outcomes. MMLU's category is the domain. An MT-Bench prompt is the first turn of a question and its score the mean of the
        judgments of both turns. A question with a contaminated turn is left out, as in RouteLLM.

    Raises:
        FileNotFoundError: The folder lacks the benchmark.
        InvalidInputError: Another benchmark, or a table without valid rows or with more invalid ones than ``bad`` allows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder, "gsm8k", "gsm8k_responses.csv")
        ...     table.parent.mkdir()
        ...     _ = table.write_text("prompt,big,small\\nWhat is 2 + 2?,True,False\\n")
        ...     read_routellm_benchmark(folder, "gsm8k", bad=BadRows()).scores["big"].tolist()
        [1.0]
    """
    folder = Path(folder)
    if benchmark == "mmlu":
        files = sorted((folder / "mmlu" / "responses").glob("mmlu_*.csv"))
        if not files:
            raise FileNotFoundError(f"{folder / 'mmlu' / 'responses'}: no mmlu_*.csv")
        parts = []
        for file in files:
            domain = read_outcomes(file, bad=bad)
            name = file.stem.removeprefix("mmlu_")
            parts.append(Outcomes(name, domain.prompts, domain.scores, [name] * len(domain)))
        return without(join("mmlu", parts), contaminated(folder / "mmlu"))
    if benchmark == "gsm8k":
        table = read_outcomes(folder / "gsm8k" / "gsm8k_responses.csv", bad=bad)
        table = Outcomes("gsm8k", table.prompts, table.scores, table.categories)
        return without(table, contaminated(folder / "gsm8k"))
    if benchmark == "mt-bench":
        return _mt_bench(folder / "mt_bench", bad)
    raise InvalidInputError(f"benchmark is {benchmark!r}, expected one of {', '.join(BENCHMARKS)}")


def contaminated(path: str | Path) -> set[str]:
    """Prompts of a ``contaminated_prompts.jsonl`` (one object with ``eval_prompt`` a line), or of the one in a folder, if any."""
    path = Path(path)
    file = path / "contaminated_prompts.jsonl" if path.is_dir() else path
    if path.is_dir() and not file.exists():
        return set()
    bad = BadRows()
    prompts: set[str] = set()
    for chunk in read_chunks(file, columns=["eval_prompt"]):
        found, problems = texts(chunk.column("eval_prompt"), "eval_prompt")
        chunk.add_problems(problems)
        prompts.update(found[index] for index in chunk.usable(bad))
    if bad:
        raise InvalidInputError(str(bad.shown[0]))
    return prompts


def without(table: Outcomes, prompts: set[str]) -> Outcomes:
    """The rows whose prompt is not among these."""
    keep = np.array([prompt not in prompts for prompt in table.prompts], dtype=bool)
    return table if keep.all() else table.rows(keep)


def _mt_bench(folder: Path, bad: BadRows) -> Outcomes:
    excluded = contaminated(folder)
    scores: dict[str, dict[object, list[float]]] = defaultdict(lambda: defaultdict(list))
    for chunk in read_chunks(folder / "judgements.jsonl"):
        numbers, problems = scores_of(chunk.column("score"), "score")
        chunk.add_problems(problems)
        models, problems = texts(chunk.column("model"), "model")
        chunk.add_problems(problems)
        chunk.add_problems({int(index): "score is missing" for index in np.flatnonzero(np.isnan(numbers))})
        questions_of_rows = chunk.column("question_id")
        for index in chunk.usable(bad):
            scores[models[index]][questions_of_rows[index]].append(float(numbers[index]))
    bad.check(str(folder / "judgements.jsonl"))
    prompts, questions, categories = [], [], []
    for chunk in read_chunks(folder / "question.jsonl"):
        turns = chunk.column("turns")
        chunk.add_problems(
            {
                index: "turns is not a list of texts"
                for index, one in enumerate(turns)
                if not (isinstance(one, list) and one and isinstance(one[0], str))
            }
        )
        for index in chunk.usable(bad):
            row = chunk.rows[index]
            if not any(turn in excluded for turn in turns[index]):
                prompts.append(turns[index][0])
                questions.append(row.get("question_id"))
                categories.append(row["category"] if isinstance(row.get("category"), str) else "none")
    bad.check(str(folder / "question.jsonl"))
    table = {
        model: np.array([np.mean(by_question[q]) if by_question.get(q) else np.nan for q in questions])
        for model, by_question in scores.items()
    }
    return Outcomes("mt-bench", prompts, table, categories)
