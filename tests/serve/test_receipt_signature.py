"""Signed receipts: every change of a field shows, in both formats of the log."""

from __future__ import annotations

import hashlib
import json
import pickle
import time

import pytest
from scripted_upstream import refuse
from tests.serve.dialects import HELLO, SPOKEN, speak, streaming

from turnout import ConfigError
from turnout.cli import main
from turnout.outcomes.signature import ReceiptKey, canonical, check
from turnout.serve.receipts.export import route_receipt
from turnout.serve.receipts.key import read_receipt_key
from turnout.serve.receipts.log_writers import writer_of
from turnout.serve.settings.tables import LogSettings

SECRET = "a secret of at least sixteen bytes"
KEY = ReceiptKey(SECRET.encode())


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture
def signed(start, tmp_path, key_file):
    """A server's log with two signed receipts, and the answers."""

    def made(format="jsonl"):
        log = tmp_path / "decisions"
        server = start(log={"path": str(log), "format": format, "hmac_key_file": str(key_file), "prompts": True})
        body = {"model": "router-mf-0.5", "messages": HELLO}
        answers = [server.post({**body, "stream": stream}) for stream in (False, True)]
        server.__exit__()
        return log, answers

    return made


def receipts(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_signature_covers_the_decision_and_the_answer(signed):
    log, answers = signed()
    found = receipts(log)
    assert [check(receipt, [KEY]) for receipt in found] == ["intact", "intact"]
    hashes = [hashlib.sha256(answer.content).hexdigest() for answer in answers]
    assert [receipt["response_sha256"] for receipt in found] == hashes
    assert SECRET not in log.read_text()
    assert found[0]["signature"]["key_id"] == KEY.id


def test_a_change_of_any_field_shows(signed):
    receipt = receipts(signed()[0])[0]
    for name, value in receipt.items():
        if name == "signature":
            continue
        for other in (None, "x", {"x": 1}, 7.25, [*receipt]):
            if other != value:
                expected = "changed" if value is not None or other is not None else "intact"
                assert check({**receipt, name: other}, [KEY]) == expected, (name, other)
    assert check({**receipt, "added": 1}, [KEY]) == "changed"
    signature = receipt["signature"]
    flipped = f"{int(signature['hmac_sha256'][0], 16) ^ 1:x}{signature['hmac_sha256'][1:]}"
    assert check({**receipt, "signature": {**signature, "hmac_sha256": flipped}}, [KEY]) == "changed"
    assert check({**receipt, "signature": {"key_id": KEY.id}}, [KEY]) == "changed"
    assert check({**receipt, "signature": "no JSON"}, [KEY]) == "unknown key"
    assert check({**receipt, "signature": None}, [KEY]) == "unsigned"
    assert check(receipt, [ReceiptKey(b"another key, as long")]) == "unknown key"
    assert check(receipt, [ReceiptKey(b"another key, as long"), KEY]) == "intact"


def test_a_change_of_a_single_bit_of_a_number_shows():
    receipt = KEY.signed({"win_rate": 0.1, "is_strong": True})
    assert check({**receipt, "win_rate": 0.10000000000000002}, [KEY]) == "changed"
    assert check({**receipt, "is_strong": 1}, [KEY]) == "changed"


def through_parquet(rows, folder):
    """Rows as a reader of the log gets them."""
    import pyarrow.parquet

    writer = writer_of(LogSettings(path=str(folder), format="parquet"))
    writer.write(rows)
    writer.close()
    (part,) = folder.glob("*.parquet")
    return pyarrow.parquet.read_table(part).to_pylist()


def test_numbers_and_objects_are_signed_as_parquet_keeps_them(tmp_path):
    first = {"cost": 1, "request": {"needs": ["json"], "limit": 0.5}, "fallback": "", "served": None}
    rows = [first, {"cost": 0.5, "pool_hash": "f0", "steps": ["small", "big"]}]
    found = through_parquet(rows, tmp_path / "log")
    assert found[0] == {**first, "request": json.dumps(first["request"]), "pool_hash": None, "steps": None}
    assert [canonical(row) for row in found] == [canonical(row) for row in rows]


@pytest.mark.parametrize("signals", [({"length": 7.0}, {"score": 0.25, "mean_logprob": -1.0}), ({}, {})])
def test_discarded_answers_with_any_signals_are_intact_in_parquet(tmp_path, signals):
    rows = [KEY.signed({"request_id": "r", "discarded": [{"model": "small", "signals": one}]}) for one in signals]
    found = through_parquet(rows, tmp_path / "log")
    assert [check(row, [KEY]) for row in found] == ["intact", "intact"]
    assert [json.loads(row["discarded"])[0]["signals"] for row in found] == [*signals]
    assert check({**found[0], "discarded": found[0]["discarded"].replace("small", "big")}, [KEY]) == "changed"


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_the_command_verifies_and_finds_what_was_changed(signed, key_file, format, capsys):
    log, answers = signed(format)
    file = log if format == "jsonl" else next(log.glob("*.parquet"))
    verify = ["explain-receipt", str(file), "--verify", "--key-file", str(key_file)]
    assert main(verify) == 0
    assert capsys.readouterr().out == "2 intact\n"
    if format == "jsonl":
        first, second = receipts(log)
        log.write_text("\n".join(map(json.dumps, ({**first, "model": "mine"}, {**second, "signature": None}))))
        assert main(verify) == 1
        ids = [answer.headers["x-request-id"] for answer in answers]
        out = capsys.readouterr().out
        assert out == f"{ids[0]}  changed\n{ids[1]}  unsigned\n1 changed, 1 unsigned\n"


def test_the_key_comes_from_the_environment_too(signed, monkeypatch, capsys):
    log, _ = signed()
    monkeypatch.setenv("RECEIPT_KEY", SECRET)
    assert main(["explain-receipt", str(log), "--verify", "--key-env", "RECEIPT_KEY"]) == 0
    assert main(["explain-receipt", str(log), "--verify"]) == 2
    assert main(["explain-receipt", str(log), "--key-env", "RECEIPT_KEY"]) == 2
    assert main(["explain-receipt", str(log), "--verify", "--export", "--key-env", "RECEIPT_KEY"]) == 2
    assert SECRET not in "".join(capsys.readouterr())


def test_a_key_that_cannot_be_used_is_named_and_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("SHORT", "tooshort")
    for arguments, words in (
        ({"env": "SHORT"}, "has 8 bytes, expected at least 16"),
        ({"env": "NOT_SET"}, "NOT_SET is not set"),
        ({"file": str(tmp_path / "none")}, "FileNotFoundError"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            read_receipt_key("[log] hmac key", **arguments)
        assert "tooshort" not in str(caught.value)
    assert SECRET not in repr(KEY)
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(KEY)


def test_a_failed_request_is_signed_without_an_answer(start, upstream, tmp_path, key_file):
    upstream.default = refuse(500)
    log = tmp_path / "log.jsonl"
    server = start(log={"path": str(log), "hmac_key_file": str(key_file)}, upstreams={})
    server.post({"model": "router-mf-0.5", "messages": HELLO})
    server.__exit__()
    (receipt,) = receipts(log)
    assert (check(receipt, [KEY]), "response_sha256" in receipt) == ("intact", False)


def test_an_exported_receipt_has_the_names_of_the_draft_and_no_prompt(signed, capsys):
    log, answers = signed()
    assert main(["explain-receipt", str(log), "--export"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first, receipt = documents[0], receipts(log)[0]
    assert first["receipt_id"] == first["request_id"] == answers[0].headers["x-request-id"]
    assert (first["requested_model"], first["resolved_model"]) == ("router-mf", receipt["served"])
    assert first["fallback"] == {"status": "none", "reason": "none", "from": receipt["model"], "to": receipt["served"]}
    assert (first["completion_status"], first["redactions"]) == ("complete", ["prompt"])
    assert first["served_at"].startswith(time.strftime("%Y-", time.gmtime(receipt["time"])))
    assert receipt["prompt"] not in json.dumps(documents)
    assert first["turnout"]["win_rate"] == receipt["win_rate"]


@pytest.mark.parametrize(
    ("fields", "status", "reason", "completion"),
    [
        ({"fallback": "429", "served": "b"}, "occurred", "rate_limit", "complete"),
        ({"fallback": "breaker_open", "served": "b"}, "occurred", "capacity", "complete"),
        ({"fallback": "lost", "served": "b"}, "occurred", "provider_error", "complete"),
        ({"fallback": "context_overflow", "served": "b"}, "occurred", "unknown", "complete"),
        ({"fallback": "", "served": "b"}, "occurred", "policy", "complete"),
        ({"fallback": "", "served": None}, "none", "none", "failed"),
        ({"fallback": "", "served": None, "by": "gateway"}, "none", "none", "unknown"),
        ({"fallback": "", "served": "a", "failure": "lost"}, "none", "none", "interrupted"),
        ({"fallback": "", "served": "a", "failure": "400"}, "none", "none", "failed"),
    ],
)
def test_words_are_those_of_the_draft(fields, status, reason, completion):
    found = route_receipt({"request_id": "r", "model": "a", **fields})
    assert (found["fallback"]["status"], found["fallback"]["reason"]) == (status, reason)
    assert found["completion_status"] == completion


CUT = streaming(*SPOKEN["chat"].stream("m", ("Hi",))[:2], ends="reset")


@pytest.mark.parametrize(
    ("script", "expected"),
    [(CUT, ("lost", "interrupted")), (refuse(400), ("400", "failed")), (speak, (None, "complete"))],
)
def test_a_receipt_says_why_an_answer_is_no_success(start, upstream, tmp_path, script, expected):
    upstream.default = script
    log = tmp_path / "log.jsonl"
    server = start(log={"path": str(log)})
    server.post({"model": "router-mf-0.5", "messages": HELLO, "stream": True})
    server.__exit__()
    (receipt,) = receipts(log)
    assert receipt["served"] is not None
    assert (receipt.get("failure"), route_receipt(receipt)["completion_status"]) == expected
