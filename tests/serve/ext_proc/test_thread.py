"""The thread that serves gateways, and the event loop that decides: neither waits for the other for long, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading

import pytest
from scripted_upstream import wait_until
from tests.serve.ext_proc.gateway import body, chat, head, headers_of

from turnout._core import ByteBudget, ExtProcServer
from turnout.ext_proc import decider

FIELDS = {
    "paths": ["/v1/chat/completions"],
    "model_header": "x-model",
    "rewrites_body": True,
    "max_exchanges": 10,
    "max_message_bytes": 1000,
    "max_body_bytes": 1000,
    "body_timeout_s": 1.0,
    "patience_s": 1.0,
}
#: A service that nobody stops, in a process that ends; a fork of it ends before.
LEFT_RUNNING = """
import asyncio, os, socket
from turnout._core import ByteBudget, ExtProcServer
with socket.create_server(("127.0.0.1", 0)) as listener:
    server = ExtProcServer(listener.fileno(), ByteBudget(1000), {fields})
    address = listener.getsockname()
child = os.fork()
if not child:
    del server
    os._exit(0) if {is_short} else exit(0)
assert os.waitpid(child, 0)[1] == 0
socket.create_connection(address).close()
print("served")
"""


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


class Blocked:
    """Holds the event loop of a gateway's service."""

    def __init__(self, one):
        self._one, self._release, held = one, threading.Event(), threading.Event()

        def hold():
            held.set()
            self._release.wait(60)

        one._loop.call_soon_threadsafe(hold)
        assert held.wait(30)

    def release(self):
        self._release.set()


def test_what_needs_no_decision_does_not_wait_for_the_event_loop(gateway):
    one = gateway()
    blocked = Blocked(one)
    assert len(one.ask(head("/v1/files"), body(b"x"))) == 2
    assert headers_of(one.ask(head(is_end=True))[0]) == {"x-turnout-undecided": "no_body"}
    blocked.release()
    one.counted(other_path=1, no_body=1)


def test_a_request_that_waits_beyond_its_deadline_is_not_decided(gateway):
    one = gateway(ext_proc={"deadline_ms": 20.0})
    blocked = Blocked(one)
    answers = one.call(iter([head().SerializeToString(), body(chat()).SerializeToString()]), timeout=30)
    next(answers)
    wait_until(lambda: one.state.bodies.used > 0)
    threading.Timer(0.1, blocked.release).start()
    assert b"deadline" in next(answers)
    one.counted(deadline=1, decided=0)
    assert one.state.recent.count == 0


def test_requests_of_gateways_that_gave_up_are_not_decided(gateway):
    one = gateway()
    blocked = Blocked(one)
    call = one.call(iter([head().SerializeToString(), body(chat()).SerializeToString()]), timeout=30)
    next(call)
    wait_until(lambda: one.state.bodies.used > 0)
    call.cancel()
    # Its exchange is gone when another one has its place.
    assert headers_of(one.ask(head("/v1/files"))[0]) == {}
    blocked.release()
    wait_until(lambda: one.state.bodies.used == 0)
    one.counted(decided=0, gateway_gone=1)
    assert one.state.recent.count == 0


def test_requests_whose_gateways_give_up_while_they_are_decided_are_not_counted_as_decided(gateway, monkeypatch):
    begun, going_on = threading.Event(), threading.Event()
    plan = decider.plan

    async def slow(*arguments):
        begun.set()
        await asyncio.to_thread(going_on.wait, 30)
        return await plan(*arguments)

    monkeypatch.setattr(decider, "plan", slow)
    one = gateway()
    call = one.call(iter([head().SerializeToString(), body(chat()).SerializeToString()]), timeout=30)
    next(call)
    assert begun.wait(30)
    call.cancel()
    one.counted(gateway_gone=1)
    going_on.set()
    wait_until(lambda: one.state.bodies.used == 0)
    # The next one is: it was the first one's loop.
    assert headers_of(one.ask(head(), body(chat()))[1])["x-turnout-model"] == "big"
    one.counted(decided=1, gateway_gone=1)
    assert one.state.recent.count == 1


def test_a_request_that_the_event_loop_drops_goes_on(gateway, monkeypatch):
    one = gateway()

    async def dropped(request):
        raise asyncio.CancelledError

    monkeypatch.setattr(one.service._decider, "decide", dropped)
    _, answer = one.ask(head(), body(chat()))
    assert headers_of(answer) == {"x-turnout-undecided": "internal_error"}
    one.counted(internal_error=1)
    assert one.state.bodies.used == 0


def test_a_reload_changes_the_length_of_bodies(gateway):
    one = gateway(server={"max_body_bytes": 1000})
    long = chat(text="x" * 2000)
    assert headers_of(one.ask(head(), body(long))[1]) == {"x-turnout-undecided": "body_too_large"}
    server = one.state.snapshot.settings.server.model_copy(update={"max_body_bytes": 5000})
    settings = one.state.snapshot.settings.model_copy(update={"server": server})
    one.state._read_again = lambda: settings
    one._run(one.state.reload())
    assert headers_of(one.ask(head(), body(long))[1])["x-turnout-model"] == "big"


def test_a_server_has_its_own_descriptor_and_ends_when_it_is_told(listener):
    server = ExtProcServer(listener.fileno(), ByteBudget(1000), **FIELDS)
    address = listener.getsockname()
    listener.close()
    socket.create_connection(address).close()
    assert (server.take(), server.has_ended) == (([], []), False)
    server.stop(1e30)
    server.stop(0.0)
    wait_until(lambda: server.take() == ([], []) and server.has_ended)


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_no_socket_is_an_error(number):
    with pytest.raises((OSError, ValueError)):
        ExtProcServer(number, ByteBudget(1000), **FIELDS)


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_times_are_checked(listener, seconds):
    with pytest.raises(ValueError, match=" s: "):
        ExtProcServer(listener.fileno(), ByteBudget(1000), **{**FIELDS, "patience_s": seconds})
    ExtProcServer(listener.fileno(), ByteBudget(1000), **{**FIELDS, "patience_s": 1e300})


@pytest.mark.parametrize("is_short", [True, False])
def test_a_process_ends_although_its_server_runs_and_so_does_a_fork(is_short):
    fields = ", ".join(f"{name}={value!r}" for name, value in FIELDS.items())
    script = LEFT_RUNNING.format(fields=fields, is_short=is_short)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["served"]), done.stderr
