"""Decisions of ``turnout ext-proc``: requests arrive at a fixed rate, whether or not earlier ones were answered.

python benches/ext_proc.py [--rate 1000] [--seconds 10] [--workers 1]

Times are those of a gateway on the same machine: ``body`` from sending the body of a request to its decision, ``request`` from its first
message, which opens a stream; ``late`` is how much later than it was due a request was sent, the client's own doing. ``decision`` is what the service
measures itself: waiting for the event loop, parsing, deciding, and writing the name into the body. ``cpu_us`` is the processor time of one request in the service and
in this client, which compete where there are two cores: a million divided by it is the most that one core can do in a second. The same
requests go first to a server of Python's gRPC (``grpc.aio``) that answers without reading them: ``floor``, below which no service on that library
can be, and ``service_to_floor``. ``is_saturated`` says that requests were answered more slowly than they arrived; the times are then those of a queue that
grows. ``undecided`` requests went on without a decision, by reason. ``load`` is the machine's before the run: other work shows in the times.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway_client import METHOD, Client, Load, field_of

PROMPT = "What is the difference between a turnout and a crossing on a railway, in two sentences?"
BODY = json.dumps({"model": "router-mf-0.0", "messages": [{"role": "user", "content": PROMPT}]}).encode()
HEADERS = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    ":authority": "models",
    "accept": "*/*",
    "content-length": str(len(BODY)),
    "content-type": "application/json",
    "x-request-id": "5a9ec9b5-9a2c-4b6c-a0a7-8c4f1d6f8f6e",
}
BUFFERED = 2
_HEADERS = b"".join(
    field_of(1, field_of(1, name.encode()) + field_of(3, value.encode())) for name, value in HEADERS.items()
)
#: ``ProcessingRequest`` about the headers, with the mode of sending the body, and about the body.
MESSAGES = (
    field_of(2, field_of(1, _HEADERS)) + field_of(11, field_of(1, BUFFERED)),
    field_of(4, field_of(1, BODY) + field_of(2, 1)),
)
#: ``ProcessingResponse`` about headers that stay, and about a body that changes.
ANSWERS = (field_of(1, b""), field_of(3, field_of(1, field_of(3, field_of(1, b'{"model": "big"}')))))
#: Connections of the client for each process of the service: Envoy has one in each of its threads.
CONNECTIONS = 4
TOML = """\
[server]
admin_port = {admin}
[sessions]
stay = "{stay}"
[ext_proc]
port = {port}
[pair]
strong = "big"
weak = "small"
[upstreams.unused]
base_url = "http://localhost"
[models.big]
upstream = "unused"
[models.small]
upstream = "unused"
"""


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    parser.add_argument("--only-answer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_answer:
        asyncio.run(only_answer())
    requests, load_before = int(args.rate * args.seconds), os.getloadavg()[0]
    with floor() as (port, process):
        _, _, floor_s = load(port, process, args.rate, requests, CONNECTIONS)
    with service(args.workers) as (port, admin, process):
        done, own_s, service_s = load(port, process, args.rate, requests, CONNECTIONS * args.workers)
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics").read().decode()
    found = {
        name: {f"p{q}": round(statistics.quantiles(times, n=100)[q - 1] * 1e3, 3) for q in (50, 95, 99)}
        for name, times in (("request", done.request), ("body", done.body), ("late", done.late))
    }
    found["decision"] = {f"p{q}_at_most": bucket(metrics, q / 100) for q in (50, 95, 99)}
    print(
        json.dumps(
            {
                "rate": args.rate,
                "requests": requests,
                "answered_per_second": round(requests / done.seconds, 1),
                "is_saturated": done.seconds > 1.02 * requests / args.rate + 0.1,
                "undecided": dict(done.undecided),
                "workers": args.workers,
                "load": round(load_before, 2),
                "cpu_us": {
                    name: round(spent / requests * 1e6)
                    for name, spent in (("service", service_s), ("floor", floor_s), ("client", own_s))
                },
                # Processor times are in ticks of 10 ms: a short run may have none.
                "service_to_floor": round(service_s / floor_s, 2) if floor_s else None,
                "milliseconds": found,
                "bars_ms": {"p99": 1.0},
            },
            indent=1,
        )
    )


@contextmanager
def floor() -> Iterator[tuple[int, int]]:
    """A server that only answers, in a process of its own; its port and its process id."""
    child = subprocess.Popen([sys.executable, __file__, "--only-answer"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline()), child.pid
    finally:
        child.kill()
        child.wait(60)


async def only_answer() -> None:
    """Answers the messages of :func:`load` as the service does, with one coroutine and no other work, and prints its port."""
    import grpc
    import grpc.aio

    async def process(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        number = 0
        async for _ in requests:
            yield ANSWERS[number]
            number += 1

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    name, method = METHOD
    handlers = {method: grpc.stream_stream_rpc_method_handler(process)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


@contextmanager
def service(workers: int) -> Iterator[tuple[int, int, int]]:
    """The service in processes of its own; its port, that of its metrics, and the process id of the first."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "turnout.toml"
        config.write_text(TOML.format(port=ports[0], admin=ports[1], stay="turn" if workers == 1 else "off"))
        child = subprocess.Popen(
            [sys.executable, "-m", "turnout", "ext-proc", "--config", str(config), "--workers", str(workers)],
            stderr=subprocess.DEVNULL,
        )
        try:
            yield ports[0], ports[1], child.pid
        finally:
            child.terminate()
            child.wait(60)


def load(port: int, process: int, rate: int, requests: int, connections: int) -> tuple[Load, float, float]:
    """What came of requests, and seconds of the processor: here and there."""
    client = Client(port, connections, MESSAGES, "big")
    client.load(min(rate, 200), 200)
    gc.disable()
    own, there = time.process_time(), processor_s(process)
    done = client.load(rate, requests)
    found = done, time.process_time() - own, processor_s(process) - there
    gc.enable()
    client.close()
    return found


def processor_s(process: int) -> float:
    """Seconds of the processor that a process and those that it started have used, from Linux."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return own + sum(processor_s(int(child)) for child in children)


def bucket(metrics: str, share: float) -> float:
    """The milliseconds within which a share of the decisions was made, from the histogram of the service."""
    found = re.findall(r'turnout_ext_proc_seconds_bucket\{le="([^"]+)"\} (\S+)', metrics)
    total = float(found[-1][1])
    return next(float(limit) * 1e3 for limit, count in found if float(count) >= share * total)


if __name__ == "__main__":
    main()
