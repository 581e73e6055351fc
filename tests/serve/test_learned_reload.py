"""What was learned from a server's traffic goes back into it with a reload: only if it is not worse, and not after an unseen change."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import string
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scripted_upstream import completion, wait_until
from tests.outcomes.profiled import profiled_artifact, profiles_of
from tests.serve.test_processes import free_port, ready

import turnout
from turnout import ConfigError
from turnout.cli import main
from turnout.outcomes import Outcomes
from turnout.serve.decisions.learned import relearned
from turnout.serve.decisions.snapshot import take
from turnout.serve.routers import folder_stats
from turnout.serve.settings.file import settings_of
from turnout.serve.workers import check_workers

BELIEVED = {"large": 0.7, "small": 0.9}
TOML = """\
[server]
port = {port}
admin_port = {admin}
[upstreams.main]
base_url = "{base_url}"
[models.large]
upstream = "main"
input_price = 10.0
output_price = 10.0
profile = '{profiles}'
[models.small]
upstream = "main"
input_price = 1.0
output_price = 1.0
profile = '{profiles}'
[pool]
objective = {{ error_cost = 0.05 }}
[routers.mf]
path = '{artifact}'
[log]
path = '{folder}/decisions.jsonl'
prompts = true
[outcomes]
path = '{folder}/outcomes.sqlite'
"""


def request(number=0):
    return {"model": "router-mf", "messages": [{"role": "user", "content": f"Question {number}: which one?"}]}


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_a_running_server_takes_retrained_profiles_only_if_they_are_not_worse(tmp_path, upstream):
    artifact = profiled_artifact(tmp_path / "artifact")
    profiles, config, log = (tmp_path / name for name in ("p.safetensors", "turnout.toml", "decisions.jsonl"))
    profiles.write_bytes(profiles_of(artifact, **BELIEVED))
    values = {"port": free_port(), "admin": free_port(), "base_url": upstream.base_url, "artifact": artifact}
    config.write_text(TOML.format(**values, profiles=profiles, folder=tmp_path))
    child = subprocess.Popen([sys.executable, "-m", "turnout", "serve", "--config", str(config)])
    url = f"http://127.0.0.1:{values['port']}"

    def retrain(outcomes):
        return main(["retrain", str(log), "--outcomes", str(outcomes), "--config", str(config), "--out", str(profiles)])

    def reloads(client):
        def count():
            text = client.get(f"http://127.0.0.1:{values['admin']}/metrics").text
            return next(float(line.split()[1]) for line in text.splitlines() if 'reloads_total{outcome="done"}' in line)

        client.post(f"http://127.0.0.1:{values['admin']}/admin/reload").raise_for_status()
        before = count()
        child.send_signal(signal.SIGHUP)
        wait_until(lambda: count() == before + 1)

    try:
        wait_until(lambda: ready(url), 60)
        with httpx.Client(timeout=30) as client, Outcomes(tmp_path / "poisoned.sqlite") as poisoned:

            def asked(number):
                answer = client.post(f"{url}/v1/chat/completions", json=request(number)).raise_for_status()
                return answer.headers["x-request-id"], answer.headers["x-turnout-model"]

            for number in range(420):
                receipt_id, model = asked(number)
                assert model == "small"
                good = number * 7 % 10 < 4
                outcome = {"receipt_id": receipt_id, "passed": good}
                client.post(f"{url}/v1/outcomes", json=outcome).raise_for_status()
                poisoned.record(receipt_id, passed=good or number < 300)
            wait_until(lambda: len(log.read_text().splitlines()) == 420)
            content = profiles.read_bytes()

            assert retrain(tmp_path / "poisoned.sqlite") == 1
            assert profiles.read_bytes() == content
            reloads(client)
            assert asked(500)[1] == "small"

            assert retrain(tmp_path / "outcomes.sqlite") == 0
            assert profiles.read_bytes() != content
            assert asked(501)[1] == "small"
            reloads(client)
            assert {asked(number)[1] for number in range(502, 512)} == {"large"}
    finally:
        child.terminate()
        child.wait(60)


def test_a_running_server_takes_win_rates_that_were_calibrated_on_its_verdicts(start, tables, tmp_path, upstream):
    """In place: its log, its shadow verdicts, its artifact."""
    artifact = Path(shutil.copytree(tables["routers"]["mf"]["path"], tmp_path / "mine"))
    for model in tables["models"].values():
        model.update(input_price=1.0, output_price=1.0)
    tables["models"]["judge"] = tables["models"]["big"]
    words = [first + second for first in string.ascii_lowercase for second in string.ascii_lowercase]
    prompts = [f"What is {words[number]} of {words[-number]}?" for number in range(1, 421)]
    rates = turnout.load(artifact).win_rates(prompts)
    needs_strong = {
        prompt: bool(rate > np.median(rates) or number % 5 == 0)
        for number, (prompt, rate) in enumerate(zip(prompts, rates, strict=True))
    }

    async def judge(exchange):
        question = exchange.json["messages"][0]["content"]
        (prompt,) = (one for one in re.findall(r"What is .. of ..\?", question) if one in needs_strong)
        is_first = question.index("I am big") < question.index("I am small")
        word = "first" if is_first == needs_strong[prompt] else "second"
        await exchange.whole(200, completion("judge", f"verdict: {word}"))

    upstream.by_model["judge"] = judge
    log, outcomes = tmp_path / "log.jsonl", tmp_path / "o.sqlite"
    server = start(
        routers={"mf": {"path": str(artifact)}},
        log={"path": str(log), "prompts": True},
        outcomes={"path": str(outcomes)},
        shadow={
            "share": 1.0,
            "models": ["big", "small"],
            "judge": "judge",
            "budget_per_day": 100.0,
            "most_waiting": 500,
        },
    )

    def asked(prompt, threshold=0.5):
        body = {"model": f"router-mf-{threshold}", "messages": [{"role": "user", "content": prompt}]}
        return float(server.post(body).headers["x-turnout-win-rate"])

    for number, prompt in enumerate(prompts):
        # Every third one goes to the strong model.
        asked(prompt, 0.0 if number % 3 == 0 else 1.0)
    wait_until(lambda: sum(server.metric("turnout_shadow_total", result=one) for one in ("win", "loss")) == 420, 60)
    files = [str(log), "--outcomes", str(outcomes), "--pair", "big", "small"]
    assert main(["retrain", *files, "--router", str(artifact), "--out", str(artifact)]) == 0
    assert [asked(prompt) for prompt in prompts[:3]] == pytest.approx(rates[:3], abs=1e-6)
    assert reload(server).status_code == 200
    assert [asked(prompt) for prompt in prompts[:3]] != pytest.approx(rates[:3], abs=0.02)
    needed = np.array(list(needs_strong.values()))
    squares = [float(((one - needed) ** 2).mean()) for one in (rates, turnout.load(artifact).win_rates(prompts))]
    assert squares[1] < squares[0] / 2


@pytest.fixture
def pinning(start, tables, artifact, tmp_path, upstream):
    """A server with profiles whose `small` model reports another name from the second answer on, and the file of the profiles."""
    profiles = tmp_path / "p.safetensors"
    profiles.write_bytes(profiles_of(artifact, **BELIEVED))
    model = {"upstream": "main", "profile": str(profiles)}
    tables["models"] = {
        "large": {**model, "input_price": 10.0, "output_price": 10.0},
        "small": {**model, "input_price": 1.0, "output_price": 1.0},
    }
    del tables["pair"], tables["routers"]["random"]
    names = itertools.chain(["old"], itertools.repeat("new"))
    upstream.by_model["small"] = lambda exchange: exchange.whole(200, completion(next(names), "I am small"))
    return lambda **changes: (
        start(pool={"objective": {"error_cost": 0.05}}, changes={"watch": ["model"], **changes}),
        profiles,
    )


def changed(server):
    """Lets the model change."""
    for _ in range(2):
        assert server.post(request()).headers["x-turnout-model"] == "small"
    wait_until(lambda: server.metric("turnout_changes_total", model="small", signal="model") == 1)


def reload(server):
    return httpx.post(f"{server.admin_url}/admin/reload", timeout=30)


def test_after_a_change_what_was_learned_stays_until_it_is_confirmed(pinning, artifact):
    server, profiles = pinning(pin=True)
    profiles.write_bytes(profiles_of(artifact, large=0.7, small=0.89))
    assert reload(server).status_code == 200
    changed(server)
    profiles.write_bytes(profiles_of(artifact, large=0.9, small=0.1))
    refused = reload(server)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "reload_failed")
    assert "model small: reports the name 'new', before 'old'" in refused.text
    assert "the profile of model large, the profile of model small" in refused.text
    assert server.post(request()).headers["x-turnout-model"] == "small"
    assert "turnout_changes_pinned 1.0" in httpx.get(f"{server.admin_url}/metrics").text

    confirmed = confirm(server, listed(server)["revision"]).json()["changes"]
    assert [(one["model"], one["signal"]) for one in confirmed] == [("small", "model")]
    assert listed(server)["changes"] == []
    assert "turnout_changes_pinned 0.0" in httpx.get(f"{server.admin_url}/metrics").text
    assert reload(server).status_code == 200
    assert server.post(request()).headers["x-turnout-model"] == "large"


def listed(server):
    return httpx.get(f"{server.admin_url}/admin/changes").json()


def confirm(server, revision):
    return httpx.post(f"{server.admin_url}/admin/changes/confirm", json={"revision": revision})


def test_unseen_changes_are_not_confirmed(pinning, artifact):
    server, profiles = pinning(pin=True)
    before = listed(server)
    assert before["changes"] == []
    changed(server)
    seen = listed(server)
    server.state.changes._named("large", "one")
    server.state.changes._named("large", "two")
    for revision, texts in (
        (before["revision"], ["model small: ", "model large: "]),
        (seen["revision"], ["model large: reports the name 'two', before 'one'"]),
        ("0-0", ["model small: ", "model large: "]),
        ("9" * 10_000, ["model small: ", "model large: "]),
        (f"{seen['revision'].partition('-')[0]}-{'9' * 5000}", ["model small: ", "model large: "]),
    ):
        refused = confirm(server, revision)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "stale_revision")
        message = refused.json()["error"]["message"]
        assert [text in message for text in texts] == [True] * len(texts)
        assert message.count("model ") == len(texts)
    profiles.write_bytes(profiles_of(artifact, large=0.9, small=0.1))
    assert reload(server).status_code == 409
    revision = listed(server)["revision"]
    assert [one["model"] for one in confirm(server, revision).json()["changes"]] == ["small", "large"]
    # Sent again, it has nothing more to confirm.
    assert confirm(server, revision).json() == {"object": "list", "changes": []}
    assert reload(server).status_code == 200
    assert (
        confirm(server, "0-0")
        .json()["error"]["message"]
        .startswith("nothing was confirmed: revision '0-0' is not known")
    )


def test_a_revision_before_a_change_that_a_reload_has_forgotten_is_confirmed(pinning):
    server, _ = pinning(pin=True)
    changed(server)
    seen = listed(server)["revision"]
    for name in ("one", "two"):
        server.state.changes._named("large", name)
    assert confirm(server, seen).status_code == 409
    server.tables["models"]["large"]["name"] = "another"
    assert reload(server).status_code == 200
    assert confirm(server, f"{seen}0").status_code == 409, "of changes to come"
    assert [one["model"] for one in confirm(server, seen).json()["changes"]] == ["small"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"revision": 1}', b'{"revision": null}'])
def test_a_confirmation_names_what_it_confirms(pinning, body):
    server, _ = pinning(pin=True)
    changed(server)
    refused = httpx.post(f"{server.admin_url}/admin/changes/confirm", content=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "revision")
    assert len(listed(server)["changes"]) == 1


def test_what_the_operator_writes_is_not_pinned(pinning):
    server, _ = pinning(pin=True)
    changed(server)
    server.tables["models"]["small"]["input_price"] = server.tables["models"]["small"]["output_price"] = 100_000.0
    assert reload(server).status_code == 200
    assert server.post(request()).headers["x-turnout-model"] == "large"
    del server.tables["models"]["small"]
    assert reload(server).status_code == 200


def test_without_pin_a_change_is_listed_and_refuses_nothing(pinning, artifact):
    server, profiles = pinning()
    changed(server)
    (found,) = httpx.get(f"{server.admin_url}/admin/changes").json()["changes"]
    assert (found["model"], found["signal"]) == ("small", "model")
    assert found["text"] == "reports the name 'new', before 'old'"
    profiles.write_bytes(profiles_of(artifact, large=0.9, small=0.1))
    assert reload(server).status_code == 200
    assert server.post(request()).headers["x-turnout-model"] == "large"


def test_artifacts_and_judges_of_pairs_are_pinned_too(cascading, tables, tmp_path, upstream):
    from tests.serve.cascades import DISCARD, KEEP

    from turnout.cascade import Judge, Policy

    tables["changes"] = {"watch": ["model"], "pin": True}
    server = cascading(KEEP)
    names = itertools.chain(["old"], itertools.repeat("new"))
    upstream.default = lambda exchange: exchange.whole(200, completion(next(names), "Hi"))
    for _ in range(2):
        server.post(request())
    wait_until(lambda: server.metric("turnout_changes_total", model="small", signal="model") == 1)
    assert reload(server).status_code == 200
    Judge((DISCARD,), Policy(0.1, 1.0, 2.0, 0.0, 1.1)).save(tmp_path / "judge.json")
    assert "the judge of router mf for big and small" in reload(server).json()["error"]["message"]


@pytest.fixture
def ranking(tables, artifact, tmp_path):
    """A configuration whose one router rates battles; gives the router's folder, and the file of its index."""
    faiss = pytest.importorskip("faiss")
    from tests.ranking.conftest import battle_rows

    from turnout.data import BadRows
    from turnout.routers.sw_ranking.encoder import encoder_of
    from turnout.routers.sw_ranking.table import read_battle_table
    from turnout.routers.sw_ranking.train import Options, build

    pq.write_table(pa.Table.from_pylist(battle_rows()), tmp_path / "battles.parquet")
    table = read_battle_table([tmp_path / "battles.parquet"], bad=BadRows())
    folder, index = tmp_path / "router", tmp_path / "index.faiss"
    build(table, encoder_of(artifact), Options("alpha", "delta", tiers=4, index="Flat"), folder)
    own = faiss.read_index(str(folder / turnout.load(folder).manifest["ranking"]["index"]["file"]))
    vectors = own.reconstruct_n(0, own.ntotal)
    tables["routers"] = {"sw": {"path": str(folder), "index": str(index)}}

    def write(factory):
        made = faiss.index_factory(own.d, factory, faiss.METRIC_INNER_PRODUCT)
        made.train(vectors)
        made.add(vectors)
        faiss.write_index(made, str(index))

    write("Flat")
    return folder, write


@pytest.mark.parametrize("is_pool", [False, True])
def test_what_was_learned_is_compared_by_content(tables, ranking, is_pool):
    folder, write = ranking
    if is_pool:
        del tables["pair"]
        for name, price in (("big", 10.0), ("small", 1.0)):
            tables["models"][name] |= {"input_price": price, "output_price": price, "success": 0.5}
        tables["pool"] = {"objective": {"error_cost": 0.05}}

    tables["changes"] = {"watch": ["model"], "pin": True}

    def reread(before):
        after = take(settings_of(tables), before)
        return after, relearned(before, after)

    now = take(settings_of(tables))
    (folder / "README.md").write_text("Mine.")
    for file in folder.iterdir():
        os.utime(file)
    now, found = reread(now)
    assert found == []
    write("SQ8")
    now, found = reread(now)
    assert found == ["the artifact of router sw" + is_pool * " in the pool"]
    now, found = reread(now)
    assert found == []
    row = {"id": 1, "prompt": "what is the sum of 7 and two", "model_a": "alpha", "model_b": "delta", "winner": "tie"}
    turnout.load(folder).add_battles([row])
    now, found = reread(now)
    # A pool does not read them.
    assert found == ([] if is_pool else ["the artifact of router sw"])
    assert reread(now)[1] == []


def test_battles_and_an_index_are_read_for_their_hashes_only_where_they_are_pinned(tables, ranking, monkeypatch):
    folder, _ = ranking
    row = {"id": 1, "prompt": "what is the sum of 7 and two", "model_a": "alpha", "model_b": "delta", "winner": "tie"}
    turnout.load(folder).add_battles([row])
    read = []
    sha256_of = folder_stats.sha256_of
    monkeypatch.setattr(folder_stats, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    plain = take(settings_of(tables))
    assert read == []
    tables["changes"] = {"watch": ["model"], "pin": True}
    pinned = take(settings_of(tables))
    assert {"battles.sqlite", "index.faiss"} <= set(read)
    # `[changes]` keeps its values until a restart, so that a reload compares what was hashed at the start.
    read.clear()
    assert relearned(plain, take(settings_of(tables), plain)) == []
    assert read == []
    tables["changes"]["pin"] = False
    assert relearned(pinned, take(settings_of(tables), pinned)) == []
    assert read


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ({"changes": {"pin": True}}, r"\[changes\] pin waits for changes, and nothing is watched"),
        (
            {"changes": {"pin": True, "watch": ["model"]}, "server": {"admin_port": 0}},
            r"expected \[server\] admin_port",
        ),
        ({"changes": {"watch": ["name"]}}, r"\[changes\] watch\[0\] is 'name'"),
    ],
)
def test_settings_that_cannot_work_are_refused(tables, added, words):
    with pytest.raises(ConfigError, match=words):
        settings_of({**tables, **added})


def test_several_workers_do_not_pin(tables):
    settings = settings_of({**tables, "sessions": {"stay": "off"}, "changes": {"watch": ["model"], "pin": True}})
    with pytest.raises(ConfigError, match="pin = false, or one worker"):
        check_workers(settings, 2)
