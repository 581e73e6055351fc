"""Ray Serve and Ray Data on a cluster of two worker nodes on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import turnout

pytest.importorskip("ray", reason="needs Ray: pip install 'turnout[ray]'")
pytest.importorskip("ray.serve", reason="needs Ray Serve: pip install 'turnout[ray]'")
pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'turnout[ray]'")
pytest.importorskip("pyarrow", reason="needs Ray Data: pip install 'turnout[ray]'")

import pyarrow as pa
import ray
from ray import serve
from ray.cluster_utils import Cluster

from turnout.integrations.ray_data import RoutePrompts, route_dataset
from turnout.integrations.ray_serve import deployment

#: Of each node's object store.
_OBJECT_STORE_BYTES = 100 << 20


def _started() -> Cluster:
    """Ray gives a node 30 s to start, which a busy machine can exceed: the whole cluster is then started again, twice."""
    for attempt in range(3):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=0, object_store_memory=_OBJECT_STORE_BYTES, include_dashboard=False)
            for _ in range(2):
                cluster.add_node(num_cpus=1, object_store_memory=_OBJECT_STORE_BYTES)
            return cluster
        except Exception as error:
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
            cluster.shutdown()
    raise AssertionError("unreachable")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without CPUs and two workers with one each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = _started()
    try:
        paths = {"env_vars": {"PYTHONPATH": str(Path(turnout.__file__).parents[1])}}
        ray.init(cluster.address, runtime_env=paths, log_to_driver=False, logging_level="warning")
        yield cluster
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def url(cluster: Any, artifact: Path, pair: turnout.Router) -> Iterator[str]:
    """The deployment with a replica on each worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
    options = {"strong": pair.strong, "weak": pair.weak, "threshold": pair.threshold, "threads": 1}
    application = deployment(
        artifact,
        router=options,
        num_replicas=2,
        max_replicas_per_node=1,
        ray_actor_options={"num_cpus": 0.1},
    )
    serve.run(application, name="turnout", route_prefix="/v1/route")
    yield f"http://127.0.0.1:{port}/v1/route"
    serve.delete("turnout")


def test_replicas_decide_as_the_router_does(url: str, pair: turnout.Router, prompts: list[str]) -> None:
    handle = serve.get_app_handle("turnout")
    assert handle.route_batch.remote(prompts).result() == pair.route_batch(prompts)
    responses = [handle.route.remote(prompt) for prompt in prompts[:30]]
    assert [response.result() for response in responses] == [pair.route(prompt) for prompt in prompts[:30]]
    assert handle.route.remote("hello", threshold=1.0).result() == pair.route("hello", threshold=1.0)


def test_a_replica_runs_on_each_worker(url: str) -> None:
    # One replica a node at most, and the head has no CPU to give.
    states = serve.status().applications["turnout"].deployments["turnout"].replica_states
    assert states == {"RUNNING": 2}


def test_http_answers_one_prompt_or_many(url: str, pair: turnout.Router, prompts: list[str]) -> None:
    def row(decision: turnout.Decision) -> dict[str, Any]:
        return {"model": decision.model, "win_rate": decision.win_rate, "threshold": decision.threshold}

    one = httpx.post(url, json={"prompt": "hello"}, timeout=30)
    assert one.json() == row(pair.route("hello"))
    many = httpx.post(url, json={"prompts": prompts, "threshold": 0.25}, timeout=30)
    assert many.json() == {"decisions": [row(decision) for decision in pair.route_batch(prompts, threshold=0.25)]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "either `prompt` or `prompts`"),
        ('{"prompt": "a", "prompts": []}', "either `prompt` or `prompts`"),
        ('{"prompt": "a", "model": "b"}', "unknown keys ['model']"),
        ('{"prompt": 3}', "str"),
        ('{"prompts": "text"}', "must be a list"),
        ('{"prompt": "a", "threshold": "b"}', "`threshold` is of type str"),
        ('{"prompt": "a", "threshold": 2}', "threshold"),
        ('{"prompt": "\\ud800"}', "UTF-8"),
    ],
)
def test_http_answers_400_and_tells_what_is_wrong(url: str, body: str, message: str) -> None:
    answer = httpx.post(url, content=body, timeout=30)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_dataset_gets_the_routers_decisions(
    cluster: Any, artifact: Path, pair: turnout.Router, prompts: list[str]
) -> None:
    prompts = [prompt for prompt in prompts if prompt]
    rows = [{"id": place, "question": prompt} for place, prompt in enumerate(prompts)] + [{"id": -1, "question": None}]
    options = {"strong": pair.strong, "weak": pair.weak, "threshold": pair.threshold}
    dataset = ray.data.from_items(rows, override_num_blocks=4)
    routed = route_dataset(dataset, artifact, column="question", router=options, concurrency=2, num_cpus=0.5)
    found = {row["id"]: row for row in routed.take_all()}
    assert len(found) == len(rows)
    for place, decision in enumerate(pair.route_batch(prompts)):
        row = found[place]
        assert (row["question"], row["model"], row["win_rate"], row["threshold"], row["routing_error"]) == (
            prompts[place],
            decision.model,
            decision.win_rate,
            decision.threshold,
            None,
        )
    assert found[-1]["model"] is None
    assert found[-1]["win_rate"] is None
    assert found[-1]["routing_error"] == "expected text, found null"


def test_rows_that_cannot_be_routed_tell_why_and_spoil_no_other(artifact: Path) -> None:
    broken = pa.array([b"ok", b"\xff\xfe", None]).cast(pa.binary()).view(pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 3, broken.buffers())
    table = RoutePrompts(artifact, prefix="t_")(pa.table({"prompt": texts}))
    errors = table["t_routing_error"].to_pylist()
    assert errors[0] is None
    assert "UTF-8" in errors[1]
    assert errors[2] == "expected text, found null"
    assert [value is None for value in table["t_win_rate"].to_pylist()] == [False, True, True]
    numbers = RoutePrompts(artifact)(pa.table({"prompt": [3]}))
    assert numbers["routing_error"].to_pylist() == ["expected text, found int64"]


def test_columns_are_checked(artifact: Path) -> None:
    with pytest.raises(turnout.InvalidInputError, match="no column 'prompt'; the table has a, b"):
        RoutePrompts(artifact)(pa.table({"a": ["x"], "b": ["y"]}))
    with pytest.raises(turnout.InvalidInputError, match="a column 'model' already"):
        RoutePrompts(artifact)(pa.table({"prompt": ["x"], "model": ["y"]}))


def test_an_empty_table_keeps_its_schema(artifact: Path) -> None:
    table = RoutePrompts(artifact)(pa.table({"prompt": pa.array([], pa.string())}))
    assert table.column_names == ["prompt", "model", "win_rate", "threshold", "routing_error"]
    assert table.schema.field("win_rate").type == pa.float64()
