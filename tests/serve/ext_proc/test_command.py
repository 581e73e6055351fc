"""``turnout ext-proc`` on the command line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
from tests.serve.ext_proc.gateway import PAIR

from turnout.cli import main
from turnout.ext_proc.service import Service
from turnout.serve.settings.file import settings_of

TOML = (
    """\
[server]
admin_port = 0
[ext_proc]
port = {port}
model_header = "x-model"
"""
    + PAIR
)


@pytest.fixture
def config(tmp_path, artifact):
    """Writes a file with a port; by default the service finds one."""

    def write(port=0):
        (tmp_path / "turnout.toml").write_text(TOML.format(port=port, artifact=artifact))
        return str(tmp_path / "turnout.toml")

    return write


def test_check_says_what_would_run_and_reads_no_key(config, capsys):
    assert main(["ext-proc", "--config", config(), "--check"]) == 0
    told = capsys.readouterr().out
    assert "grpc://127.0.0.1:0: sets header x-model and model in the body within 100 ms" in told
    assert "no key" in told


def test_a_taken_port_is_an_error_of_one_line(config, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for more in (["--check"], []):
            assert main(["ext-proc", "--config", config(port), *more]) == 2
            (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("turnout:")]
            assert f"cannot listen on 127.0.0.1:{port}" in line


def test_models_are_named_by_options_or_in_a_file(config, capsys):
    assert main(["ext-proc", "--strong-model", "a"]) == 2
    assert "--weak-model missing" in capsys.readouterr().err
    assert main(["ext-proc", "--config", config(), "--strong-model", "a", "--threshold", "0.5"]) == 2
    assert "--strong-model, --threshold given together with --config" in capsys.readouterr().err


def test_a_cascade_is_refused(config, tmp_path, capsys):
    path = config()
    with open(path, "a") as file:
        file.write('mode = "cascade"\njudge = "judge.json"\n')
    assert main(["ext-proc", "--config", path, "--check"]) == 2
    assert "ext-proc sees requests only" in capsys.readouterr().err.replace("\n", " ")


def test_changes_of_answers_are_the_servers_own(config, tmp_path, capsys):
    path = config()
    with open(path, "a") as file:
        file.write(
            f'\n[outcomes]\npath = "{tmp_path}/outcomes.sqlite"\n[changes]\nwatch = ["outcomes"]\n[sessions]\nstay = "off"\n'
        )
    assert main(["ext-proc", "--config", path, "--workers", "2", "--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["X-Model", "", "content-length", "a b", ":path"])
def test_the_header_is_one_that_gateways_accept(tables, name):
    with pytest.raises(Exception, match=r"\[ext_proc\] model_header is"):
        settings_of({**tables, "ext_proc": {"model_header": name}})


def test_a_server_that_ends_by_itself_ends_the_process(config, monkeypatch, caplog):
    start = Service.start

    async def broken(self, host, port):
        found = await start(self, host, port)
        self._server.stop(0.0)
        return found

    monkeypatch.setattr(Service, "start", broken)
    assert main(["ext-proc", "--config", config()]) == 1
    assert "the server for gateways has ended by itself" in caplog.text


def test_the_process_reloads_and_ends(config, tmp_path):
    command = [sys.executable, "-m", "turnout", "ext-proc", "--config", config()]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert child.stderr is not None
    lines = iter(child.stderr.readline, b"")
    # Signals are handled before it listens.
    assert any(b"listening on 127.0.0.1:" in line for line in lines)
    child.send_signal(signal.SIGHUP)
    assert any(b"reloaded" in line for line in lines)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
