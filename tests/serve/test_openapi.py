"""The server keeps to its own description, whatever is sent to it."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from turnout.serve.endpoints.openapi import description

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SLOW = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))

schema = schemathesis.openapi.from_dict(description())


@schema.parametrize()
@SLOW
def test_every_answer_is_one_that_is_described(case, shared_server):
    case.call_and_validate(base_url=shared_server.url, checks=CHECKS)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    """One server for all examples."""
    from pathlib import Path

    from scripted_upstream import ScriptedUpstream
    from tests.serve.conftest import Limits, RunningServer
    from tests.serve.dialects import speak

    dialects = ["chat", "messages", "responses"]
    with ScriptedUpstream() as upstream:
        upstream.default = speak
        tables = {
            "pair": {"strong": "big", "weak": "small"},
            "upstreams": {"main": {"base_url": upstream.base_url}},
            "models": {
                name: {"upstream": "main", "dialects": dialects, "success": success}
                for name, success in (("big", 0.9), ("small", 0.6))
            },
            "pool": {"objective": {"tolerance": 0}},
            "routers": {"mf": {"path": str(Path(__file__).parents[2] / "models" / "tiny")}},
            "outcomes": {"path": str(tmp_path_factory.mktemp("outcomes") / "outcomes.sqlite")},
        }
        with RunningServer(tables, Limits()) as server:
            yield server


def test_the_description_is_served(server):
    answer = httpx.get(f"{server.url}/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == description()


def test_every_route_of_the_api_is_described(server):
    from turnout.serve.app import client_app

    routes = {route.path.replace("{name:path}", "{name}") for route in client_app(server.state).routes}
    described = {path for path in routes if not path.startswith("/playground") and path not in ("/", "/openapi.json")}
    assert set(description()["paths"]) == described
