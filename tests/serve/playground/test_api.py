"""What the page asks for, and what it is given."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

import turnout
from turnout.serve.playground.evaluation import evaluation_of
from turnout.serve.playground.explain import explained

API = "/playground/api/"


def test_the_page_loads_nothing_from_elsewhere_and_may_not(server):
    page = httpx.get(server.url + "/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    files = ["/" + path for path in re.findall(r'(?:src|href)="([^"#]*)"', page.text)]
    assert len(files) >= 3
    seen = {"/playground/main.js"}
    while files:
        path = files.pop()
        answer = httpx.get(server.url + path)
        assert answer.status_code == 200, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        # The name of SVG's namespace is no address.
        assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", ""), path
        assert "innerHTML" not in answer.text
        # Under a proxy's prefix only relative addresses work.
        assert not re.findall(r"""["'`(]/(?:playground|v1)/""", answer.text), path
        imported = {f"/playground/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)}
        files += imported - seen
        seen |= imported


@pytest.mark.parametrize(
    "path", ["../describe.py", "..%2fdescribe.py", "nothing.js", "describe.py", "%00", "main.js%00"]
)
def test_only_files_of_the_page_are_served(server, path):
    answer = httpx.get(f"{server.url}/playground/{path}")
    assert answer.status_code == 404
    assert "from __future__" not in answer.text


def test_the_page_can_be_turned_off(start):
    server = start(server={"playground": False})
    assert httpx.get(server.url + "/").status_code == 404
    assert httpx.get(server.url + API + "setup").status_code == 404


def test_setup_tells_routers_pair_and_prices(start, router):
    server = start(models={"big": {"upstream": "main", "input_price": 2.0, "output_price": 8.0}})
    found = httpx.get(server.url + API + "setup").json()
    assert found["pair"]["strong"] == {"name": "big", "input_price": 2.0, "output_price": 8.0}
    assert found["pair"]["weak"] == {"name": "small", "input_price": None, "output_price": None}
    mf, dice = found["routers"]
    assert mf["name"] == "mf"
    assert mf["threshold"] == router.threshold
    assert mf["quantiles"] == router.manifest["thresholds"]["quantiles"] == mf["thresholds"] == []
    # The page computes no threshold of its own: the core has answered for every step of the slider.
    assert dice["thresholds"] == [turnout.threshold_for_share([0.0, 1.0], share / 100) for share in range(101)]
    assert mf["explains"]
    assert mf["artifact_hash"] == router.artifact_hash
    assert mf["evaluation"] == []
    assert "turnout eval --json" in mf["no_evaluation_because"]
    assert (dice["name"], dice["explains"], dice["artifact_hash"]) == ("random", False, None)


def test_scores_are_the_routers_own_and_count_as_no_decision(server, router, prompts):
    for prompt in prompts[:20]:
        found = server.post({"prompt": prompt, "routers": ["mf", "random"]}, API + "scores").json()["scores"]
        assert found["mf"]["win_rate"] == router.win_rate(prompt)
        assert 0 <= found["random"]["win_rate"] <= 1
    assert set(server.post({"prompt": "a"}, API + "scores").json()["scores"]) == {"mf", "random"}
    assert server.state.recent.count == 0


class Broken:
    """A router that fails, and says more than it should."""

    def win_rate(self, prompt: str) -> float:
        raise KeyError(f"secret of {prompt}")


class Wrong:
    """A router whose win rate is none."""

    def win_rate(self, prompt: str) -> float:
        return 7.0


def test_a_router_that_fails_fails_alone(start, router):
    turnout.register_router("broken", Broken)
    turnout.register_router("wrong", Wrong)
    server = start(routers={"broken": {}, "wrong": {}})
    found = server.post({"prompt": "hello"}, API + "scores").json()["scores"]
    assert found["mf"]["win_rate"] == router.win_rate("hello")
    assert "raised KeyError" in found["broken"]["error"]
    assert "secret" not in found["broken"]["error"]
    assert "7.0" in found["wrong"]["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected an object"),
        ({}, "prompt is of type NoneType"),
        ({"prompt": 3}, "prompt is of type int"),
        ({"prompt": "a", "routers": ["none"]}, "routers is not a list of mf, random"),
        ({"prompt": "a", "routers": [[]]}, "routers is not a list"),
        ({"prompt": "a", "routers": "mf"}, "routers is not a list"),
    ],
)
def test_scores_refuse_what_makes_no_sense(server, body, message):
    answer = server.post(body, API + "scores")
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_prompt_beyond_half_a_megabyte_is_refused(server):
    assert server.post({"prompt": "x" * 600_000}, API + "scores").status_code == 413
    assert server.post({"prompt": "x " * 100_000, "router": "mf"}, API + "explain").status_code == 200


def test_an_effect_is_the_win_rate_with_the_word_minus_that_without(server, router):
    prompt = "prove  the sum\nof numbers "
    found = server.post({"prompt": prompt, "router": "mf"}, API + "explain").json()
    own = router.explain(prompt)
    assert found["win_rate"] == own.decision.win_rate
    assert found["tokens"] == own.tokens
    assert found["artifact_hash"] == router.artifact_hash
    assert found["model_scores"] == sorted(([*one] for one in own.model_scores.items()), key=lambda one: -one[1])
    assert found["neighbors"] == []
    words = [word["text"] for word in found["words"]]
    assert "".join(words) == prompt
    for place, word in enumerate(found["words"]):
        without = "".join(words[:place] + words[place + 1 :])
        assert word["effect"] == pytest.approx(own.decision.win_rate - router.win_rate(without), abs=1e-6)


def test_an_explanation_of_a_long_prompt_is_cut_and_says_so(server, router):
    found = server.post({"prompt": "sum " * 1000, "router": "mf"}, API + "explain").json()
    assert found["words_left_out"] == 1000 - len(found["words"])
    assert len(found["words"]) == 160
    assert len(found["tokens"]) <= found["token_count"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": "a"}, "unknown router"),
        ({"prompt": "a", "router": ["mf"]}, "unknown router"),
        ({"prompt": "a", "router": "random"}, "random has no explanations"),
        ({"router": "mf"}, "prompt is of type NoneType"),
    ],
)
def test_explain_refuses_what_makes_no_sense(server, body, message):
    answer = server.post(body, API + "explain")
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_nearest_battles_are_told_by_routers_that_have_them():
    battle = SimpleNamespace(prompt="Why?", similarity=np.float32(0.5), model_a="a", model_b="b", outcome="tie")
    explanation = SimpleNamespace(
        decision=turnout.Decision("strong", 0.7, 0.5),
        tokens=["why"],
        logit=0.1,
        raw_win_rate=0.7,
        model_scores={},
        stages=[],
        engine="native",
        artifact_hash="0" * 64,
        neighbors=[battle] * 12,
    )
    slow = SimpleNamespace(explain=lambda _: explanation, is_microseconds=False)
    found = explained(slow, "Why not?")
    assert len(found["neighbors"]) == 10
    assert found["neighbors"][0] == {
        "prompt": "Why?",
        "similarity": 0.5,
        "model_a": "a",
        "model_b": "b",
        "outcome": "tie",
    }
    assert found["words"] == [{"text": "Why ", "effect": None}, {"text": "not?", "effect": None}]


def events(answer: httpx.Response):
    """Values of the events of a stream."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def test_decisions_arrive_as_they_are_made_and_tell_no_prompt(server, router):
    model, message = "router-mf-0.0", [{"role": "user", "content": "a secret prompt"}]
    body = {"model": model, "messages": message}
    assert server.post(body).status_code == 200
    with httpx.stream("GET", server.url + API + "decisions", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        found = events(stream)
        first = next(found)
        assert first["count"] == 1
        one = first["decisions"][0]
        fields = (
            "number time router model is_strong win_rate threshold success expected_cost decision_us served fallback"
        )
        assert set(one) == set(fields.split())
        assert (one["router"], one["model"], one["is_strong"]) == ("mf", "big", True)
        assert one["win_rate"] == router.win_rate("a secret prompt")
        assert server.post(body).status_code == 200
        second = next(found)
        assert (second["count"], [one["number"] for one in second["decisions"]]) == (2, [2])


def test_the_model_that_answered_follows_when_the_answer_has_ended(server, upstream):
    go = threading.Event()

    async def refuse_late(exchange):
        while not go.is_set():
            await asyncio.sleep(0.01)
        await exchange.whole(500, b"{}")

    upstream.by_model["big"] = refuse_late
    body = {"model": "router-mf-0.0", "messages": [{"role": "user", "content": "x"}]}
    asking = threading.Thread(target=server.post, args=(body,))
    with httpx.stream("GET", server.url + API + "decisions", timeout=30) as stream:
        found = events(stream)
        next(found)
        asking.start()
        (begun,) = next(found)["decisions"]
        assert (begun["number"], begun["model"], begun["served"]) == (1, "big", None)
        go.set()
        (ended,) = next(found)["decisions"]
        assert (ended["number"], ended["model"], ended["served"], ended["fallback"]) == (1, "big", "small", "500")
    asking.join(10)


def test_a_watching_page_does_not_hold_up_a_shutdown(server):
    ended = threading.Event()
    began = threading.Event()

    def watch():
        with httpx.stream("GET", server.url + API + "decisions", timeout=30) as stream:
            for line in stream.iter_lines():
                began.set()
                assert line is not None
        ended.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert began.wait(10)
    server.state.is_ready = False
    assert ended.wait(10)
    thread.join(10)


def test_pages_that_watch_are_bounded_and_places_are_given_back(server, monkeypatch):
    monkeypatch.setattr("turnout.serve.playground.live._MAX_WATCHERS", 1)
    with httpx.stream("GET", server.url + API + "decisions", timeout=30) as stream:
        found = events(stream)  # Kept: a generator that is collected closes its connection.
        next(found)
        refused = httpx.get(server.url + API + "decisions")
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
    until = time.monotonic() + 10
    while True:
        with httpx.stream("GET", server.url + API + "decisions", timeout=30) as stream:
            if stream.status_code == 200:
                break
        assert time.monotonic() < until
        time.sleep(0.05)


def test_with_client_keys_the_page_is_open_and_its_api_is_not(start, tmp_path):
    from hashlib import sha256

    keys = tmp_path / "keys"
    keys.write_text(f"me:{sha256(b'open-sesame').hexdigest()}\n", encoding="utf-8")
    server = start(server={"client_keys_file": str(keys)})
    assert httpx.get(server.url + "/").status_code == 200
    for path in ("setup", "decisions"):
        assert httpx.get(server.url + API + path).status_code == 401
    assert server.post({"prompt": "a"}, API + "scores").status_code == 401
    headers = {"authorization": "Bearer open-sesame"}
    assert httpx.get(server.url + API + "setup", headers=headers).status_code == 200


def evaluation(name: str, artifact_hash: str) -> dict:
    """A file as ``turnout eval --json`` writes it, in the parts that are read."""
    curve = {"shares": [0.0, 0.5, 1.0], "quality": [0.5, 0.65, 0.7]}
    table = {
        "table": "sums",
        "prompts": 10,
        "strong": "big",
        "weak": "small",
        "strong_quality": {"value": 0.7},
        "weak_quality": {"value": 0.5},
        "routers": {name: {"curve": curve}, "prompt length": {"curve": curve}},
    }
    return {"facts": {f"artifact {name}": artifact_hash}, "tables": [table]}


def test_an_evaluation_is_shown_only_with_the_artifact_it_was_made_for(tmp_path, artifact, router):
    from shutil import copytree

    from turnout.registry import open_router

    folder = copytree(artifact, tmp_path / "mine")
    mine = open_router("mine", {"path": folder})
    path = Path(folder) / "evaluation.json"
    path.write_text(json.dumps(evaluation("tiny", router.artifact_hash)), encoding="utf-8")
    found = evaluation_of(mine)
    assert found["no_evaluation_because"] is None
    assert found["evaluation"][0]["curve"] == {"shares": [0.0, 0.5, 1.0], "quality": [0.5, 0.65, 0.7]}
    assert found["evaluation"][0]["strong_quality"] == 0.7
    path.write_text(json.dumps(evaluation("tiny", "0" * 64)), encoding="utf-8")
    assert "another artifact" in evaluation_of(mine)["no_evaluation_because"]


def test_a_real_evaluation_file_is_read(tmp_path, artifact):
    from shutil import copytree

    from turnout.commands import eval as command  # noqa: F401 - the writer must be there
    from turnout.data import Outcomes
    from turnout.evaluate import Options, evaluate
    from turnout.evaluate.report import to_json
    from turnout.registry import open_router

    folder = copytree(artifact, tmp_path / "mine")
    mine = open_router("mine", {"path": folder})
    prompts = [f"how many sums {place}" for place in range(30)]
    scores = {"big": np.ones(30), "small": np.arange(30) % 2 * 1.0}
    found = evaluate(Outcomes("sums", prompts, scores), {"tiny": mine}, Options("big", "small", resamples=0))
    text = to_json([found], {"artifact tiny": mine.artifact_hash})
    (Path(folder) / "evaluation.json").write_text(text, encoding="utf-8")
    shown = evaluation_of(mine)["evaluation"][0]
    assert shown["curve"]["quality"][-1] == 1.0
    assert shown["weak_quality"] == 0.5


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"facts": 3}', "[" * 100_000, "\xff", '{"facts": {"artifact a": "HASH"}, "tables": [{}]}'],
)
def test_a_spoiled_evaluation_is_told_and_harms_nothing(tmp_path, artifact, router, text):
    from shutil import copytree

    from turnout.registry import open_router

    folder = copytree(artifact, tmp_path / "mine")
    content = text.replace("HASH", router.artifact_hash).encode("latin-1")
    (Path(folder) / "evaluation.json").write_bytes(content)
    found = evaluation_of(open_router("mine", {"path": folder}))
    assert found["evaluation"] == []
    assert "not in the format of turnout eval" in found["no_evaluation_because"]


@pytest.mark.parametrize("values", [[0.0, float("nan")], [0.0], [0.7, 0.1], [0.0, "a"]])
def test_a_curve_of_other_numbers_is_refused(tmp_path, artifact, router, values):
    from shutil import copytree

    from turnout.registry import open_router

    folder = copytree(artifact, tmp_path / "mine")
    document = evaluation("tiny", router.artifact_hash)
    document["tables"][0]["routers"]["tiny"]["curve"] = {"shares": values, "quality": values}
    (Path(folder) / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    assert evaluation_of(open_router("mine", {"path": folder}))["evaluation"] == []


def test_the_setup_has_the_pool_and_no_pair_where_there_is_none(start, tables):
    priced = {"upstream": "main", "success": 0.5, "input_price": 1.0, "output_price": 2.0}
    tables["models"] = {
        "big": {**priced, "efforts": {"high": {"output_price": 3.0}}},
        "small": {"upstream": "main", "success": 0.4},
    }
    del tables["pair"]
    server = start(pool={"objective": {"tolerance": 0}, "routers": ["mf"]})
    found = httpx.get(f"{server.url}/playground/api/setup").json()
    assert (found["pair"], found["routers"]) == (None, [])
    (pool,) = found["pools"]
    assert (pool["name"], pool["objective"], pool["currency"]) == ("mf", {"tolerance": 0.0}, "USD")
    assert pool["models"] == [
        {"name": "big", "input_price": 1.0, "output_price": 2.0},
        {"name": "big:high", "input_price": 1.0, "output_price": 3.0},
        {"name": "small", "input_price": None, "output_price": None},
    ]


def test_decisions_of_a_pool_are_live(start, tables):
    tables["models"] = {name: {"upstream": "main", "success": 0.5} for name in ("big", "small")}
    server = start(pool={"objective": {"tolerance": 0}, "routers": ["mf"]})
    server.post({"model": "router-mf", "messages": [{"role": "user", "content": "Hi"}]})
    with httpx.stream("GET", f"{server.url}/playground/api/decisions") as answer:
        line = next(line for line in answer.iter_lines() if line.startswith("data:"))
    (decision,) = json.loads(line[5:])["decisions"]
    assert (decision["model"], decision["success"], decision["is_strong"], decision["win_rate"]) == (
        "big",
        0.5,
        None,
        None,
    )
