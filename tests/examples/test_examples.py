"""Every script of ``examples/`` runs as it is, in a folder of its own, and prints and writes what it says.

Those that need FastAPI or a framework of ``turnout.integrations`` are in ``test_frameworks.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import turnout

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


def test_every_script_is_listed_and_tested() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    listed = re.findall(r"^\| \[`(\w+\.py)`\]", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    tested = set(re.findall(r"\"(\w+\.py)\"", tests))
    assert len(scripts) == 11
    assert sorted(listed) == sorted(scripts)
    assert scripts <= tested


def test_asyncio_service_answers_with_the_chosen_model(run: Run) -> None:
    lines = run("asyncio_service.py", "openai").splitlines()
    assert len(lines) == 20
    models = {line.split()[0] for line in lines}
    assert models == {"gpt-4o", "gpt-4o-mini"}
    assert all(line.endswith(f"I am {line.split()[0]}") for line in lines)


def test_batch_parquet_adds_the_decisions_of_the_router(run: Run, tmp_path: Path) -> None:
    run("batch_parquet.py", "pyarrow")
    import pyarrow.parquet as pq

    rows = pq.read_table(tmp_path / "decisions.parquet").to_pylist()
    router = turnout.load()
    assert list(rows[0]) == ["id", "question", "model", "win_rate"]
    assert [row["model"] for row in rows] == [router.route(row["question"]).model for row in rows]
    assert len(rows) == pq.read_metadata(tmp_path / "questions.parquet").num_rows > 10


def test_calibrate_budget_stays_within_the_budget(run: Run) -> None:
    printed = run("calibrate_budget.py", "scipy")
    cost = re.search(r"\$([\d,]+) a month", printed)
    assert cost is not None
    assert 0 < float(cost[1].replace(",", "")) <= 1000
    share = re.search(r"prompts: ([\d.]+)%, asked for ([\d.]+)%", printed)
    assert share is not None
    assert abs(float(share[1]) - float(share[2])) < 5


def test_evaluate_plot_measures_and_draws(run: Run, tmp_path: Path) -> None:
    printed = run("evaluate_plot.py", "matplotlib", "scipy")
    assert len(re.findall(r"^(?:mf|prompt length) +APGR 0\.\d{3} \[", printed, re.MULTILINE)) == 2
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_pool_chooses_by_objective(run: Run) -> None:
    lines = run("pool.py").splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["middle", "middle", "large", "large"]
    assert lines[4:] == ["  middle: feasible", "  large: feasible", "  small: does not serve tools"]


def test_own_embeddings_routes_by_the_callers_vectors(run: Run, tmp_path: Path) -> None:
    printed = run("own_embeddings.py", "sklearn", "safetensors")
    assert printed.count("Decision(") == 3
    assert turnout.load(tmp_path / "own-embeddings").embedding_dim == 128


def test_train_on_outcomes_makes_a_router(run: Run, tmp_path: Path) -> None:
    printed = run("train_on_outcomes.py", "safetensors", "onnx", "scipy")
    assert re.search(r"^mine +APGR \d\.\d{3}", printed, re.MULTILINE)
    router = turnout.load(tmp_path / "my-router")
    assert (router.strong, router.weak) == ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
