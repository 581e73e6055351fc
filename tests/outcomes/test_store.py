"""Outcomes are kept exactly once, whatever happens to the process, and bad ones are refused."""

from __future__ import annotations

import math
import multiprocessing
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from turnout.errors import InvalidInputError, InvalidTypeError, OutcomeConflictError, OutcomesError
from turnout.outcomes import Outcome, Outcomes

RECORDER = """
import sys
from turnout.outcomes import Outcomes
outcomes = Outcomes(sys.argv[1])
for number in range(int(sys.argv[2]), 10_000):
    outcomes.record_many([{"receipt_id": f"{number}", "score": number / 10_000}, {"receipt_id": f"{number}", "thumbs": "up"}])
    print(number, flush=True)
"""


@pytest.fixture
def outcomes(tmp_path):
    with Outcomes(tmp_path / "outcomes.sqlite") as found:
        yield found


def test_every_kind_is_a_number_where_more_is_better(outcomes):
    for number, fields in enumerate(
        [{"score": 0.25}, {"preference": "tie"}, {"thumbs": "down"}, {"passed": True}, {"regenerated": True}]
    ):
        assert outcomes.record(f"r{number}", **fields)
    found = [(one.receipt_id, one.kind, one.value) for one in outcomes.read()]
    kinds = ("score", 0.25), ("preference", 0.5), ("thumbs", 0.0), ("passed", 1.0), ("regenerated", 0.0)
    assert found == [(f"r{number}", *kind) for number, kind in enumerate(kinds)]


def test_the_same_outcome_counts_once_and_another_value_is_a_conflict(outcomes):
    assert outcomes.record("a", thumbs="up")
    assert not outcomes.record("a", thumbs="up")
    with pytest.raises(OutcomeConflictError, match="has thumbs 1 already, found 0") as caught:
        outcomes.record("a", thumbs="down")
    assert (caught.value.receipt_id, caught.value.row) == ("a", 0)
    assert [one.value for one in outcomes.read()] == [1.0]


def test_kinds_and_models_of_a_receipt_are_separate(outcomes):
    outcomes.record("a", thumbs="up")
    outcomes.record("a", score=0.5)
    outcomes.record("a", score=0.75, model="other", source="judge")
    assert [one.model for one in outcomes.read()] == ["", "", "other"]
    assert [one.source for one in outcomes.read(2)] == ["judge"]


def test_a_batch_with_one_bad_outcome_leaves_nothing(outcomes):
    outcomes.record("a", thumbs="up")
    with pytest.raises(OutcomeConflictError, match="outcome 1"):
        outcomes.record_many([{"receipt_id": "b", "thumbs": "up"}, {"receipt_id": "a", "thumbs": "down"}])
    with pytest.raises(InvalidInputError, match="outcome 1: score is 2") as caught:
        outcomes.record_many([{"receipt_id": "b", "thumbs": "up"}, {"receipt_id": "c", "score": 2}])
    assert caught.value.row == 1
    assert len(outcomes) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "expected exactly one of score.*found: none"),
        ({"thumbs": "up", "score": 1}, "found: score, thumbs"),
        ({"score": math.nan}, "score is nan"),
        ({"score": 10**400}, "score is an integer of 1329 bits"),
        ({"score": True}, "type bool"),
        ({"score": "1"}, "type str"),
        ({"thumbs": "Up"}, "thumbs is 'Up', expected 'up' or 'down'"),
        ({"passed": 1}, "passed is 1, expected true or false"),
        ({"regenerated": False}, "expected true"),
        ({"thumbs": ["up"]}, "a value of type list"),
        ({"thumbs": "up", "model": ""}, "model has 0 characters"),
        ({"thumbs": "up", "receipt_id": None}, "receipt_id is missing"),
        ({"thumbs": "up", "receipt_id": 7}, "receipt_id is of type int"),
        ({"thumbs": "up", "receipt_id": "x" * 257}, "has 257 characters"),
        ({"thumbs": "up", "receipt_id": "a\nb"}, "control character"),
        ({"thumbs": "up", "receipt_id": "\ud800"}, "control character"),
        ({"thumbs": "up", "shade": 1}, "unknown field 'shade'"),
    ],
)
def test_a_bad_outcome_is_refused_with_the_reason(outcomes, fields, words):
    with pytest.raises((InvalidInputError, InvalidTypeError), match=words):
        outcomes.record_many([{"receipt_id": "a", **fields}])
    assert len(outcomes) == 0


def test_a_full_database_refuses_new_outcomes_and_knows_the_old_ones(tmp_path):
    outcomes = Outcomes(tmp_path / "o.sqlite", most=2)
    outcomes.record("a", score=1)
    outcomes.record("b", score=1)
    with pytest.raises(OutcomesError, match="full, with 2 outcomes"):
        outcomes.record("c", score=1)
    assert not outcomes.record("a", score=1)
    assert len(outcomes) == 2


def test_other_files_are_refused_and_stay_as_they_are(tmp_path):
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(OutcomesError, match="not a database"):
        Outcomes(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(OutcomesError, match=r"not a database of outcomes .*'mine'"):
        Outcomes(tmp_path / "other")
    with pytest.raises(OutcomesError, match="unable to open"):
        Outcomes(tmp_path / "missing" / "o.sqlite")
    assert (tmp_path / "text").read_text() == "no database " * 100


def test_threads_and_connections_record_at_once(tmp_path):
    path = tmp_path / "o.sqlite"
    begin = threading.Barrier(4)

    def record(number):
        with Outcomes(path) as outcomes:
            begin.wait()
            return sum(outcomes.record(f"{one}", score=0.5) for one in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(record, range(4))) == 50
    assert len(Outcomes(path)) == 50


def _in_child(outcomes: Outcomes, told) -> None:
    try:
        outcomes.record("a", score=1)
    except OutcomesError as error:
        told.put(str(error))


def test_a_fork_needs_a_database_of_its_own(outcomes):
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    child = context.Process(target=_in_child, args=(outcomes, told))
    child.start()
    assert "opened before a fork" in told.get(timeout=30)
    child.join(30)


def test_a_killed_process_loses_no_acknowledged_outcome_and_counts_none_twice(tmp_path: Path) -> None:
    generator, path = random.Random(0), tmp_path / "outcomes.sqlite"
    acknowledged: set[int] = set()
    begin = 0
    for _ in range(6):
        command = [sys.executable, "-c", RECORDER, str(path), str(begin)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(generator.randint(1, 40)):
                acknowledged.add(int(process.stdout.readline()))
            process.send_signal(signal.SIGKILL)
            acknowledged.update(int(line) for line in process.stdout if line[-1] == "\n")
        # The client that got no answer sends the last one again.
        begin = max(acknowledged)
        stored = list(Outcomes(path).read())
        by_kind = {kind: [int(one.receipt_id) for one in stored if one.kind == kind] for kind in ("score", "thumbs")}
        assert by_kind["score"] == by_kind["thumbs"]
        assert len(by_kind["score"]) == len(set(by_kind["score"]))
        assert acknowledged <= set(by_kind["score"])
        assert len(by_kind["score"]) <= len(acknowledged) + 6
    assert isinstance(stored[0], Outcome)
