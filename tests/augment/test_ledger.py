from __future__ import annotations

import contextlib
import functools
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from turnout import ConfigError
from turnout.augment import Answer, Ledger
from turnout.cli import main

PRICES = ["--strong-price", "2,4", "--weak-price", "1,2", "--judge-price", "2,4"]
#: Of a long answer of the strong model, and of the weak one.
WORST = 1024 * (4 + 2) / 1e6


@pytest.fixture
def path(tmp_path):
    return tmp_path / "battles.jsonl.ledger"


def test_an_attempt_without_an_answer_takes_nothing_from_a_paid_answer(path):
    ledger = Ledger(path)
    ledger.settle(ledger.begin(b"key", 9.0), Answer("paid", "length"), 1.0)
    ledger.settle(ledger.begin(b"key", 9.0), None, 2.0)
    assert ledger.answer(b"key") == Answer("paid", "length")
    assert ledger.spent() == 3.0
    ledger.close()


def test_a_request_counts_at_its_most_until_it_is_settled(path):
    ledger = Ledger(path)
    entry = ledger.begin(b"key", 9.0)
    assert ledger.spent() == 9.0
    ledger.settle(entry, None, 0.0)
    assert ledger.spent() == 0.0
    assert ledger.answer(b"key") is None
    ledger.close()


def test_what_a_run_left_unsettled_is_spent_at_the_next_opening_once(path):
    ledger = Ledger(path)
    ledger.begin(b"key", 9.0)
    ledger.begin(b"key", 9.0)
    ledger.close()
    for unsettled in (2, 0):
        ledger = Ledger(path)
        assert ledger.unsettled == unsettled
        assert ledger.spent() == 18.0
        ledger.close()


def test_looking_leaves_what_is_unsettled_and_makes_no_file(path):
    Ledger(path, read_only=True).close()
    assert not list(path.parent.iterdir())
    ledger = Ledger(path)
    ledger.begin(b"key", 9.0)
    ledger.close()
    for _ in range(2):
        ledger = Ledger(path, read_only=True)
        assert (ledger.unsettled, ledger.spent()) == (1, 9.0)
        ledger.close()


def test_a_ledger_is_opened_by_one_at_a_time(path):
    ledger = Ledger(path)
    with pytest.raises(ConfigError, match="another run is using"):
        Ledger(path)
    ledger.close()
    Ledger(path).close()


def test_a_folder_that_is_not_there_is_told(path):
    with pytest.raises(ConfigError, match="found no folder"):
        Ledger(path.parent / "nodir" / "x.ledger")
    (path.parent / "folder.ledger").mkdir()
    with pytest.raises(ConfigError, match="expected a ledger to read and write"):
        Ledger(path.parent / "folder.ledger")


def test_answers_of_ledgers_that_kept_no_reason_to_end_are_read(path):
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE paid (key BLOB PRIMARY KEY, answer TEXT, dollars REAL NOT NULL) WITHOUT ROWID")
        old.execute("INSERT INTO paid VALUES (?, 'paid', 1.0)", (b"key",))
        old.commit()
    ledger = Ledger(path)
    assert ledger.answer(b"key") == Answer("paid")
    ledger.close()


@pytest.fixture
def held(judge, endpoint, tmp_path):
    """A run in another process, whose first requests were asked and are not answered."""
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "big wins"}\n')
    models = ["--strong", "big", "--weak", "small", "--judge", "judge", "--base-url", endpoint.url, *PRICES]
    command = [sys.executable, "-m", "turnout", "augment", "judge", "--prompts", str(file), *models]
    endpoint.gate.clear()
    # Shells start what runs in the background with SIGINT ignored, and children inherit that.
    attend = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    run = subprocess.Popen(
        [*command, "--out", str(judge.out)], stderr=subprocess.PIPE, env=os.environ, preexec_fn=attend
    )
    until = time.monotonic() + 60
    while sum(endpoint.asked.values()) < 2 and time.monotonic() < until:
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.02)
    assert endpoint.asked == {"big": 1, "small": 1}
    yield run
    endpoint.gate.set()
    run.kill()
    run.wait()
    run.stderr.close()


def test_a_second_run_beside_the_first_asks_nothing(judge, endpoint, held, capsys):
    for options in ([], ["--dry-run"]):
        assert judge(*options, prompts=["big wins"]) == 2
        assert "another run is using" in capsys.readouterr().err
    assert endpoint.asked == {"big": 1, "small": 1}
    endpoint.gate.set()
    assert held.wait(60) == 0


def test_requests_under_way_at_a_kill_count_as_spent_and_are_asked_again(judge, endpoint, held, capsys):
    held.send_signal(signal.SIGKILL)
    held.wait()
    endpoint.gate.set()
    assert judge("--budget", str(WORST), *PRICES, prompts=["big wins"]) == 1
    told = capsys.readouterr().err
    assert "2 requests of an interrupted run count with" in told
    assert "because of the budget" in told
    assert endpoint.asked == {"big": 1, "small": 1}
    assert judge("--budget", "1", *PRICES, prompts=["big wins"]) == 0
    assert endpoint.asked == {"big": 2, "small": 2, "judge": 2}


def test_an_interrupted_run_leaves_nothing_unsettled(judge, endpoint, held):
    held.send_signal(signal.SIGINT)
    assert held.wait(60) == 130
    ledger = Ledger(judge.out.with_name("battles.jsonl.ledger"))
    assert ledger.unsettled == 0
    assert WORST < ledger.spent() < 1.2 * WORST
    ledger.close()


@pytest.mark.parametrize("kind", ["judge", "gold"])
def test_an_out_that_cannot_be_written_is_told_before_any_work(kind, judge, endpoint, tmp_path, capsys):
    (tmp_path / "folder.jsonl").mkdir()
    for out, found in (("nodir/x.jsonl", "there is no folder"), ("folder.jsonl", "is a folder")):
        if kind == "judge":
            assert judge("--out", str(tmp_path / out)) == 2
        else:
            table = ["--table", str(tmp_path / "missing.csv"), "--strong", "a", "--weak", "b"]
            assert main(["augment", "gold", *table, "--out", str(tmp_path / out)]) == 2
        assert found in capsys.readouterr().err
    assert not endpoint.asked


def test_a_dry_run_makes_no_file(judge, tmp_path):
    assert judge("--dry-run") == 0
    assert [file.name for file in tmp_path.iterdir()] == ["prompts.jsonl"]
