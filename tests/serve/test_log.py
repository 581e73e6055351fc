"""The decision log and receipts that replay bit for bit."""

from __future__ import annotations

import json
import time

import pytest
from scripted_upstream import refuse

from turnout.cli import main
from turnout.serve.decision_log import DecisionLog
from turnout.serve.receipts import prompt_hash
from turnout.serve.settings import LogSettings

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
        ("{", "line 1"),
        ("[]", "expected a line"),
        ("{}", "no prompt"),
        ('{"prompt": "x", "router": "random"}', "no artifact"),
        ("", "no receipt"),
    ],
)
def test_what_is_no_receipt_is_one_line_on_stderr(tmp_path, capsys, content, words):
    (tmp_path / "x").write_text(content)
    assert main(["explain-receipt", str(tmp_path / "x")]) == 2
    assert words in capsys.readouterr().err


def test_the_log_rotates_by_size_and_keeps_so_many(tmp_path):
    path = tmp_path / "d.jsonl"
    log = DecisionLog(LogSettings(path=str(path), max_bytes=100, keep=2), dropped=lambda count: None)
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


def test_a_disk_that_fails_loses_receipts_loudly_and_nothing_else(caplog):
    dropped = []
    log = DecisionLog(LogSettings(path="/dev/full"), dropped=dropped.append)
    log.add({"a": 1})
    log.close()
    assert 1 in dropped
    assert "lost 1 receipts" in caplog.text
