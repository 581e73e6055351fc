"""Signed receipts: every change of a field shows, in both formats of the log."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from tests.serve.dialects import HELLO

from turnout import ConfigError
from turnout.cli import main
from turnout.serve.receipt_signature import ReceiptKey, canonical, check, read_receipt_key
from turnout.serve.route_receipt import route_receipt

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


def test_numbers_and_objects_are_signed_as_parquet_keeps_them():
    lines = {"cost": 1, "request": {"needs": ["json"], "limit": 0.5}, "fallback": "", "served": None}
    parquet = {"cost": 1.0, "request": json.dumps(lines["request"]), "fallback": "", "served": None, "pool_hash": None}
    assert canonical(lines) == canonical(parquet)


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


def test_a_failed_request_is_signed_without_an_answer(start, upstream, tmp_path, key_file):
    from scripted_upstream import refuse

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
    ("fallback", "served", "status", "reason"),
    [
        ("429", "b", "occurred", "rate_limit"),
        ("breaker_open", "b", "occurred", "capacity"),
        ("lost", "b", "occurred", "provider_error"),
        ("context_overflow", "b", "occurred", "unknown"),
        ("", "b", "occurred", "policy"),
        ("", None, "none", "none"),
    ],
)
def test_reasons_are_those_of_the_draft(fallback, served, status, reason):
    found = route_receipt({"request_id": "r", "model": "a", "served": served, "fallback": fallback})
    assert (found["fallback"]["status"], found["fallback"]["reason"]) == (status, reason)
    assert found["completion_status"] == ("complete" if served else "failed")
