"""The decision log and receipts that replay bit for bit."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest
from scripted_upstream import refuse

from turnout import ConfigError
from turnout._core import ByteBudget
from turnout.cli import main
from turnout.serve.receipts.decision_log import DecisionLog
from turnout.serve.receipts.log_writers import Lines, Parts
from turnout.serve.receipts.receipts import prompt_hash
from turnout.serve.settings.tables import LogSettings


def opened(path, dropped=None, budget=None, **settings):
    count = (dropped if dropped is not None else []).append
    return DecisionLog(LogSettings(path=str(path), **settings), count, budget or ByteBudget(1 << 20))


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


PROMPT = "Prove that there are infinitely many primes."


def body(model="router-mf-0.5", prompt=PROMPT):
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


def receipts(path, count):
    until = time.monotonic() + 10
    while len(lines := path.read_text().splitlines()) < count:
        assert time.monotonic() < until
        time.sleep(0.01)
    return [json.loads(line) for line in lines]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "decisions.jsonl"


def test_a_receipt_tells_what_was_decided_and_who_answered(start, upstream, log, router):
    server = start(log={"path": str(log)})
    answer = server.post(body(), headers={"x-request-id": "abc"})
    (receipt,) = receipts(log, 1)
    assert receipt["request_id"] == "abc"
    assert receipt["win_rate"] == router.win_rate(PROMPT)
    assert receipt["artifact_hash"] == router.artifact_hash
    assert receipt["prompt_sha256"] == prompt_hash(PROMPT)
    assert receipt["model"] == receipt["served"] == answer.headers["x-turnout-model"]
    assert receipt["latency_ms"] > 0
    assert abs(receipt["time"] - time.time()) < 60
    assert PROMPT not in log.read_text()


def test_the_prompt_is_kept_only_where_it_is_asked_for(start, log):
    start(log={"path": str(log), "prompts": True}).post(body())
    assert receipts(log, 1)[0]["prompt"] == PROMPT


def test_a_fallback_and_a_failure_are_told(start, upstream, log):
    server = start(log={"path": str(log)})
    upstream.by_model["small"] = refuse(500)
    server.post(body("router-mf-1"))
    upstream.default = refuse(500)
    server.post(body("router-mf-1"))
    first, second = receipts(log, 2)
    assert (first["model"], first["served"], first["fallback"]) == ("small", "big", "500")
    assert second["served"] is None


def test_explain_receipt_replays_to_the_same_bits(start, log, artifact, capsys):
    start(log={"path": str(log)}).post(body(), headers={"x-request-id": "abc"})
    receipts(log, 1)
    assert main(["explain-receipt", str(log), "--artifact", str(artifact), "--prompt", PROMPT]) == 0
    assert "abc" in (out := capsys.readouterr().out)
    assert "replayed bit for bit" in out


def test_explain_receipt_takes_a_bare_reply_as_it_was_sent(start, log, artifact, capsys):
    start(log={"path": str(log)}).post(body(prompt="Hello!"))
    receipts(log, 1)
    for prompt, code in (("Hello!", 0), ("hello", 0), ("Goodbye!", 1)):
        assert main(["explain-receipt", str(log), "--artifact", str(artifact), "--prompt", prompt]) == code


@pytest.mark.parametrize("existed", [True, False])
def test_an_empty_file_that_was_there_before_stays(log, existed):
    if existed:
        log.touch()
    opened(log).close()
    assert log.exists() == existed


def test_receipts_that_come_after_the_end_are_lost_receipts(log, caplog):
    dropped = []
    kept = opened(log, dropped)
    kept.add({"number": 1})
    kept.close()
    kept.add({"number": 2})
    assert dropped == [1]
    assert "the log is closed" in caplog.text
    assert log.read_text() == '{"number": 1}\n'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"win_rate": 0.123}, "the receipt has 0.123"),
        ({"artifact_hash": "0" * 64}, "the artifact's hash"),
        ({"prompt_sha256": "0" * 64}, "the prompt's SHA-256"),
        ({"is_strong": None}, "the choice is"),
    ],
)
def test_an_altered_receipt_does_not_replay(start, log, artifact, capsys, change, words):
    start(log={"path": str(log), "prompts": True}).post(body("router-mf-0"))
    log.write_text(json.dumps({**receipts(log, 1)[0], **change}))
    assert main(["explain-receipt", str(log), "--artifact", str(artifact)]) == 1
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "row 1"),
        ("[]", "expected a line"),
        ("{}", "only the hash of its prompt"),
        ('{"prompt": "x", "router": "random"}', "not an artifact"),
        ("", "no receipt"),
    ],
)
def test_what_is_no_receipt_is_one_line_on_stderr(tmp_path, capsys, content, words):
    (tmp_path / "x").write_text(content)
    assert main(["explain-receipt", str(tmp_path / "x")]) == 2
    assert words in capsys.readouterr().err


def test_the_log_rotates_by_size_and_keeps_so_many(tmp_path):
    path = tmp_path / "d.jsonl"
    log = opened(path, max_bytes=100, keep=2)
    for number in range(20):
        log.add({"number": number, "padding": "x" * 20})
    log.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.jsonl", "d.jsonl.1", "d.jsonl.2"]
    assert all(file.stat().st_size <= 100 for file in tmp_path.iterdir())
    numbers = [
        json.loads(line)["number"]
        for name in ("d.jsonl.2", "d.jsonl.1", "d.jsonl")
        for line in (tmp_path / name).read_text().splitlines()
    ]
    assert numbers == list(range(20))[-len(numbers) :]


def test_parquet_rows_hold_the_same(start, tmp_path, artifact, capsys):
    pytest.importorskip("pyarrow")
    server = start(log={"path": str(tmp_path / "log"), "format": "parquet", "prompts": True})
    server.post(body())
    server.post(body())
    server.__exit__()
    (part,) = (tmp_path / "log").glob("*.parquet")
    assert main(["explain-receipt", str(part), "--artifact", str(artifact)]) == 0
    assert capsys.readouterr().out.count("replayed bit for bit") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fails_loses_receipts_loudly_and_nothing_else(caplog):
    dropped = []
    log = opened("/dev/full", dropped)
    log.add({"a": 1})
    log.close()
    assert dropped == [1]
    assert "lost 1 receipts: OSError" in caplog.text


def test_a_rotation_that_fails_ends_neither_the_log_nor_the_process(tmp_path, caplog):
    path = tmp_path / "d.jsonl"
    path.with_name("d.jsonl.1").mkdir()
    (path.with_name("d.jsonl.1") / "full").touch()
    path.with_name("d.jsonl.2").mkdir()
    (path.with_name("d.jsonl.2") / "full").touch()
    dropped = []
    log = opened(path, dropped, max_bytes=100, keep=2)
    for number in range(200):
        log.add({"number": number})
    log.close()
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == list(range(200))
    assert not dropped
    assert caplog.text.count("failed to rotate") == 1


def test_a_failed_write_leaves_whole_lines_and_the_next_one_is_written(tmp_path):
    resource = pytest.importorskip("resource")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path, dropped = tmp_path / "d.jsonl", []
    log = opened(path, dropped)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        for number in range(50):
            log.add({"number": number, "padding": "x" * 60})
        until(lambda: sum(dropped) + len(path.read_text().splitlines()) == 50 and dropped)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.add({"number": "last"})
    log.close()
    numbers = [json.loads(line)["number"] for line in path.read_text().splitlines()]
    assert numbers[-1] == "last"
    assert len(numbers) + sum(dropped) == 51


def test_an_unexpected_error_of_the_writer_does_not_end_the_log(tmp_path, caplog):
    dropped = []
    log = opened(tmp_path / "d.jsonl", dropped)
    log.add({"not": object()})
    until(lambda: dropped == [1])
    log.add({"number": 1})
    log.close()
    assert (tmp_path / "d.jsonl").read_text() == '{"number": 1}\n'
    assert "TypeError" in caplog.text


def test_a_writer_that_hangs_delays_neither_requests_nor_the_end(tmp_path, monkeypatch):
    go, dropped = threading.Event(), []
    monkeypatch.setattr(Lines, "write", lambda self, receipts: go.wait(60))
    log = opened(tmp_path / "d.jsonl", dropped)
    for number in range(12_000):
        log.add({"number": number})
    log.close(timeout_s=0.1)
    assert sum(dropped) >= 10_000
    go.set()


def test_a_second_server_on_the_path_is_refused(tmp_path):
    first = opened(tmp_path / "d.jsonl")
    with pytest.raises(ConfigError, match=r"d\.jsonl\.lock is locked by another server"):
        opened(tmp_path / "d.jsonl")
    first.close()
    opened(tmp_path / "d.jsonl").close()


def test_a_second_server_on_the_folder_of_parts_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    first = opened(tmp_path / "log", format="parquet")
    with pytest.raises(ConfigError, match="locked by another server"):
        opened(tmp_path / "log", format="parquet")
    first.close()


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    path = tmp_path / "d.jsonl"
    log = opened(path)
    log.add({"number": 1})
    until(lambda: path.read_text())
    path.rename(tmp_path / "moved")
    log.add({"number": 2})
    log.close()
    assert path.read_text() == '{"number": 2}\n'


def test_prompts_that_wait_are_within_the_budget_and_not_kept_afterwards(tmp_path, monkeypatch):
    go, dropped, budget = threading.Event(), [], ByteBudget(1_000_000)
    write = Lines.write
    monkeypatch.setattr(Lines, "write", lambda self, receipts: go.wait(60) and write(self, receipts))
    log = opened(tmp_path / "d.jsonl", dropped, budget=budget)
    for number in range(100):
        log.add({"number": number, "prompt": "x" * 50_000})
    assert 900_000 < budget.used <= 1_000_000
    go.set()
    log.close()
    assert budget.used == 0
    assert sum(dropped) == 100 - len((tmp_path / "d.jsonl").read_text().splitlines())


def test_prompts_do_not_stay_in_memory(start, log):
    server = start(log={"path": str(log), "prompts": True})
    server.post(body())
    assert receipts(log, 1)[0]["prompt"] == PROMPT
    assert PROMPT not in str(server.state.recent.since(0, 10))
    until(lambda: server.state.bodies.used == 0)


def test_prompts_that_wait_for_a_part_are_few_bytes(tmp_path):
    pytest.importorskip("pyarrow")
    parts = Parts(LogSettings(path=str(tmp_path), format="parquet"))
    counts = []
    for number in range(6):
        parts.write([{"number": number, "prompt": "x" * 1_500_000}])
        counts.append(len(list(tmp_path.glob("*.parquet"))))
    parts.close()
    assert counts == [0, 0, 1, 1, 1, 2]


def test_parts_are_written_in_time_without_further_receipts(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("turnout.serve.receipts.log_writers._PART_S", 0.01)
    log = opened(tmp_path / "log", format="parquet")
    log.add({"number": 1})
    until(lambda: list((tmp_path / "log").glob("*.parquet")))
    log.close()
