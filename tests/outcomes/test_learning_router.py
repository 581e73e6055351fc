"""A pool's router that learns: receipts that replay, outcomes that are learned once, also after a restart."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

import turnout
from turnout.cli import main
from turnout.errors import ConfigError, InvalidInputError, InvalidTypeError, OutcomesError
from turnout.outcomes import Outcomes, learning_router
from turnout.outcomes.bandit import BanditSettings
from turnout.outcomes.learning_router import LearningRouter
from turnout.outcomes.signature import ReceiptKey

MODELS = [
    turnout.Model("big", success=0.8, input_price=10, output_price=30, capabilities=["images"]),
    turnout.Model("small", success=0.75, input_price=1, output_price=3, capabilities=[]),
]


@pytest.fixture(autouse=True)
def ids(monkeypatch):
    """Receipts' ids that are the same in each run: draws depend on them."""
    numbers = itertools.count()
    monkeypatch.setattr(learning_router, "_new_id", lambda: f"{next(numbers):032x}")


@pytest.fixture(scope="module")
def pool(artifact):
    return turnout.load(artifact, pool=turnout.Pool(MODELS, error_cost=1.0))


def learning(pool, **options):
    return LearningRouter(pool, error_cost=1.0, settings=BanditSettings(max_loss=0.5, seed=3), **options)


def test_outcomes_move_the_choice(pool):
    router = learning(pool)
    for _ in range(400):
        decision = router.route("What is 2 + 2?")
        router.record(decision.receipt_id, passed=decision.model == "small")
    assert [router.route("What is 2 + 2?").model for _ in range(20)].count("small") > 15


def test_the_baseline_is_what_the_pool_chooses(pool):
    prompt = "Prove that there are infinitely many primes."
    assert learning(pool).route(prompt).receipt["baseline"] == pool.route(prompt, error_cost=1.0).model


def test_limits_of_a_request_hold(pool):
    router = learning(pool)
    assert {router.route("Hi", needs=["images"]).model for _ in range(100)} == {"big"}


def test_a_receipt_replays_from_the_saved_state_and_from_no_other(pool, tmp_path):
    router = learning(pool)
    for number in range(30):
        router.record(router.route(f"prompt {number}").receipt_id, thumbs="up" if number % 3 else "down")
    router.save(tmp_path / "state.json")
    receipt = json.loads(json.dumps(router.route("Why?").receipt))
    again = learning(pool)
    assert any("state" in line for line in again.replay(receipt, "Why?"))
    again.restore(tmp_path / "state.json")
    assert again.replay(receipt, "Why?") == []
    assert any("prompt_sha256" in line for line in again.replay(receipt, "Who?"))
    assert any("model" in line for line in again.replay({**receipt, "model": "other"}, "Why?"))
    with pytest.raises(InvalidInputError, match="lacks"):
        again.replay({}, "Why?")


def test_after_a_restart_each_outcome_is_learned_once(pool, tmp_path):
    with Outcomes(tmp_path / "outcomes.sqlite") as outcomes:
        router = learning(pool, outcomes=outcomes)
        decisions = [router.route(f"prompt {number}") for number in range(10)]
        for decision in decisions[:5]:
            router.record(decision.receipt_id, passed=True)
        router.save(tmp_path / "state.json")
        for decision in decisions[5:]:
            router.record(decision.receipt_id, passed=False)
        again = learning(pool, outcomes=outcomes)
        again.restore(tmp_path / "state.json")
        again.record(decisions[0].receipt_id, passed=True)
        assert again._bandit.state == router._bandit.state


def test_decisions_after_the_save_are_learned_after_a_restart(pool, tmp_path):
    """The receipts of the decision log say all that an outcome needs."""
    with Outcomes(tmp_path / "outcomes.sqlite") as outcomes:
        router = learning(pool, outcomes=outcomes)
        decisions = [router.route(f"prompt {number}") for number in range(5)]
        router.record(decisions[0].receipt_id, passed=True)
        router.save(tmp_path / "state.json")
        decisions += [router.route(f"prompt {number}") for number in range(5, 12)]
        router.record(decisions[5].receipt_id, passed=False)
        receipts = [json.loads(json.dumps(one.receipt)) for one in decisions]
        again = learning(pool, outcomes=outcomes)
        again.restore(tmp_path / "state.json", [{"router": "mf", "time": 4e9}, *receipts])
        for decision in (*decisions[1:5], *decisions[6:]):
            again.record(decision.receipt_id, passed=False)
        # Learned before the save: the first grade counts.
        again.record(decisions[0].receipt_id, thumbs="down")
        for decision in (*decisions[1:5], *decisions[6:]):
            router.record(decision.receipt_id, passed=False)
        assert again._bandit.to_dict()["gram"] == router._bandit.to_dict()["gram"]
        assert again._bandit.to_dict()["moment"] == router._bandit.to_dict()["moment"]


def test_outcomes_after_the_save_are_learned_once_however_often_it_is_restored(pool, tmp_path):
    with Outcomes(tmp_path / "outcomes.sqlite") as outcomes:
        router = learning(pool, outcomes=outcomes)
        decisions = [router.route(f"prompt {number}") for number in range(6)]
        router.save(tmp_path / "state.json")
        for decision in decisions:
            router.record(decision.receipt_id, passed=False)
        learned = router._bandit.state
        for _ in range(2):
            router.restore(tmp_path / "state.json")
            router.record(decisions[0].receipt_id, passed=False)
            assert router._bandit.state == learned


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_was_recorded_after_the_save_is_not_learned_after_rolling_back(pool, tmp_path, is_restarted):
    """A flood of wrong outcomes is forgotten for good: the database still has them."""
    with Outcomes(tmp_path / "outcomes.sqlite") as outcomes:
        router = learning(pool, outcomes=outcomes)
        before = [router.route(f"prompt {number}") for number in range(10)]
        router.record(before[0].receipt_id, passed=True)
        router.save(tmp_path / "state.json")
        good = router._bandit.state
        since = [router.route(f"prompt {number}") for number in range(10, 20)]
        for decision in (*before[1:9], *since[:9]):
            router.record(decision.receipt_id, passed=False)
        receipts = [json.loads(json.dumps(one.receipt)) for one in since]
        again = learning(pool, outcomes=outcomes) if is_restarted else router
        for _ in range(2):
            again.roll_back(tmp_path / "state.json", receipts if is_restarted else ())
            assert again._bandit.state == good
        again.record("elsewhere", passed=True)
        # The first grade counts, and it was left out.
        again.record(before[1].receipt_id, thumbs="up")
        again.record(since[0].receipt_id, thumbs="up")
        assert again._bandit.state == good
        for decision in (before[9], since[9]):
            state = again._bandit.state
            again.record(decision.receipt_id, passed=True)
            assert again._bandit.state != state
        again.save(tmp_path / "state.json")
        last = learning(pool, outcomes=outcomes)
        last.restore(tmp_path / "state.json")
        last.record(since[9].receipt_id, passed=True)
        assert last._bandit.state == again._bandit.state


def test_what_another_process_recorded_before_the_save_is_learned(pool, tmp_path):
    with Outcomes(tmp_path / "outcomes.sqlite") as outcomes, Outcomes(tmp_path / "outcomes.sqlite") as theirs:
        router = learning(pool, outcomes=outcomes)
        before, since = router.route("Hi"), router.route("Why?")
        fresh = router._bandit.to_dict()["moment"]
        theirs.record(before.receipt_id, passed=False)
        router.save(tmp_path / "state.json")
        theirs.record(since.receipt_id, passed=False)
        good = router._bandit.state
        router.roll_back(tmp_path / "state.json")
        assert router._bandit.state == good
        assert router._bandit.to_dict()["moment"] != fresh


def test_a_rollback_without_its_database_changes_nothing(pool, tmp_path):
    with Outcomes(tmp_path / "outcomes.sqlite") as outcomes:
        router = learning(pool, outcomes=outcomes)
        router.save(tmp_path / "state.json")
        decision = router.route("Hi")
        router.record(decision.receipt_id, passed=True)
        state = router._bandit.state
    with pytest.raises(OutcomesError):
        router.roll_back(tmp_path / "state.json")
    assert router._bandit.state == state
    assert router._decisions == {decision.receipt_id: None}


def test_a_restored_router_and_a_second_one_draw_anew(pool, tmp_path):
    router = learning(pool)
    router.save(tmp_path / "state.json")
    runs = []
    for _ in range(3):
        router.restore(tmp_path / "state.json")
        runs.append(tuple(router.route("Hi").model for _ in range(60)))
    assert len(set(runs)) == 3
    assert {"big", "small"} == {model for run in runs for model in run}


def test_outcomes_of_receipts_that_are_not_known_are_kept_and_a_warning(pool, caplog):
    router = learning(pool)
    assert router.record("elsewhere", passed=True)
    assert "1 outcomes so far are of receipts that are not among the last decisions" in caplog.text
    for number in range(2, 12):
        router.record(f"elsewhere {number}", passed=True)
    assert len(caplog.records) == 2
    decision = router.route("Hi")
    router.record(decision.receipt_id, passed=True)
    router.record(decision.receipt_id, thumbs="up")
    assert len(caplog.records) == 2
    assert len(router.outcomes) == 13


def test_receipts_of_other_models_are_errors(pool, tmp_path):
    router = learning(pool)
    router.save(tmp_path / "state.json")
    receipt = dict(router.route("Hi").receipt)
    with pytest.raises(InvalidInputError, match="receipt 0 is not one of this router"):
        router.restore(tmp_path / "state.json", [{**receipt, "success": {"other": 0.5}}])


def test_the_last_decisions_are_bounded(pool, monkeypatch):
    monkeypatch.setattr(learning_router, "MOST_DECISIONS", 10)
    router = learning(pool)
    for number in range(30):
        router.route(f"prompt {number}")
    assert len(router._decisions) == 10


def test_an_outcome_is_learned_once_and_one_of_another_model_or_receipt_not_at_all(pool):
    router = learning(pool)
    decision = router.route("Hi")
    before = router._bandit.state
    router.record("elsewhere", passed=True)
    router.record(decision.receipt_id, score=0.3, model="other")
    assert router._bandit.state == before
    router.record(decision.receipt_id, regenerated=True)
    assert router._bandit.state == before
    assert router.record(decision.receipt_id, passed=True, model=decision.model)
    after = router._bandit.state
    assert after != before
    assert not router.record(decision.receipt_id, passed=True, model=decision.model)
    assert router.record(decision.receipt_id, thumbs="up")
    assert router._bandit.state == after


def test_threads_route_and_record_at_once(pool):
    router = learning(pool)

    def work():
        for number in range(50):
            router.record(router.route(f"prompt {number}").receipt_id, passed=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(router.outcomes) == 200
    assert set(router._decisions.values()) == {None}


def test_the_report_reads_its_receipts(pool, tmp_path, capsys):
    with Outcomes(tmp_path / "outcomes.sqlite") as outcomes:
        router = learning(pool, outcomes=outcomes)
        with (tmp_path / "log.jsonl").open("w") as log:
            for number in range(200):
                decision = router.route(f"prompt {number}")
                log.write(json.dumps(decision.receipt) + "\n")
                router.record(decision.receipt_id, passed=number % 2 == 0)
    command = [
        "report",
        str(tmp_path / "log.jsonl"),
        "--outcomes",
        str(tmp_path / "outcomes.sqlite"),
        "--resamples",
        "50",
    ]
    assert main(command) == 0
    assert "(doubly robust; IPS 0." in capsys.readouterr().out


def test_signed_receipts_are_verified_by_the_command_and_replay(pool, tmp_path, capsys):
    """The mechanism is the server's: the same key, the same command, the same bytes from a log."""
    secret = "a secret of sixteen bytes or more"
    router = learning(pool, receipt_key=ReceiptKey(secret.encode()))
    router.save(tmp_path / "state.json")
    receipts = [json.loads(json.dumps(router.route(f"prompt {number}").receipt)) for number in range(3)]
    log, key = tmp_path / "log.jsonl", tmp_path / "key"
    key.write_text(secret + "\n")
    verify = ["explain-receipt", str(log), "--verify", "--key-file", str(key)]
    log.write_text("\n".join(map(json.dumps, receipts)))
    assert main(verify) == 0
    assert "3 intact" in capsys.readouterr().out
    receipts[1]["propensities"]["big"] += 1e-9
    log.write_text("\n".join(map(json.dumps, receipts)))
    assert main(verify) == 1
    assert "1 changed, 2 intact" in capsys.readouterr().out
    restored = learning(pool)
    restored.restore(tmp_path / "state.json")
    assert restored.replay(receipts[0], "prompt 0") == []
    assert "signature" not in learning(pool).route("Hi").receipt


def test_a_receipt_with_the_answer_is_signed_anew(pool):
    key = ReceiptKey(b"sixteen bytes or more")
    receipt = learning(pool, receipt_key=key).route("Hi").receipt
    full = {**receipt, "output_tokens": 12, "response_sha256": "0" * 64}
    assert not key.holds(full)
    assert key.holds(key.signed(full))


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"bandit": {}, "decisions": {}, "seen": 0}'])
def test_a_bad_state_is_an_error(pool, tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ConfigError, match=r"state\.json: not the state of a learning router"):
        learning(pool).restore(tmp_path / "state.json")


def test_bad_arguments_are_errors(pool, artifact):
    with pytest.raises(ConfigError, match="error_cost is 0"):
        LearningRouter(pool, error_cost=0)
    with pytest.raises(ConfigError, match="unknown has 'x'"):
        LearningRouter(pool, error_cost=1, unknown=["x"])
    with pytest.raises(InvalidTypeError, match="prompt is of type int"):
        learning(pool).route(7)
    unpriced = turnout.load(artifact, pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
    with pytest.raises(turnout.RouterError, match="price"):
        LearningRouter(unpriced, error_cost=1).route("Hi")
