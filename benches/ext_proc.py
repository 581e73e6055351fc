"""Decisions of ``turnout ext-proc``: requests arrive at a fixed rate, whether or not earlier ones were answered.

python benches/ext_proc.py [--rate 1000] [--seconds 10] [--workers 1]

Times are those of a gateway on the same machine, whose own work they include: ``body`` from sending the body of a request to its decision, ``request``
from its first message, which opens a stream. ``decision`` is what the service measures itself: parsing, deciding, and writing the name into the body.
``cpu_us`` is the processor time of one request in the service and in this client, which compete where there are two cores: a million
divided by it is the most that one core can do in a second. The same requests go to a server of Python's gRPC (``grpc.aio``) first that answers
without reading them: ``floor``, below which no service on that library can be, and ``service_to_floor``. ``is_saturated`` says that requests were answered more slowly than they arrived; the times
are then those of a queue that grows. ``undecided`` requests went on without a decision, by reason.
"""

from __future__ import annotations

import argparse
import asyncio
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
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
from turnout.ext_proc.messages import BUFFERED, METHOD, ProcessingRequest, ProcessingResponse

from turnout.serve.run import new_loop

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
        loop = new_loop()
        loop.run_until_complete(only_answer())
    requests = int(args.rate * args.seconds)
    with floor() as (port, process):
        *_, floor_s = asyncio.run(load(port, process, args.rate, requests))
    with service(args.workers) as (port, admin, process):
        times, undecided, seconds, own_s, service_s = asyncio.run(load(port, process, args.rate, requests))
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics").read().decode()
    found = {
        name: {f"p{q}": round(statistics.quantiles(one, n=100)[q - 1] * 1e3, 3) for q in (50, 95, 99)}
        for name, one in times.items()
    }
    found["decision"] = {f"p{q}_at_most": bucket(metrics, q / 100) for q in (50, 95, 99)}
    print(
        json.dumps(
            {
                "rate": args.rate,
                "requests": requests,
                "answered_per_second": round(requests / seconds, 1),
                "is_saturated": seconds > 1.02 * requests / args.rate + 0.1,
                "undecided": dict(undecided),
                "workers": args.workers,
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
    changed = json.dumps({"model": "big"}).encode()
    answers = [
        ProcessingResponse(request_headers={}).SerializeToString(),
        ProcessingResponse(request_body={"response": {"body_mutation": {"body": changed}}}).SerializeToString(),
    ]

    async def process(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        number = 0
        async for _ in requests:
            yield answers[number]
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


async def load(
    port: int, process: int, rate: int, requests: int
) -> tuple[dict[str, list[float]], Counter[str], float, float, float]:
    """Seconds of each request from two points on, reasons of those that were not decided, seconds in all, and of the processor: here and there."""
    undecided: Counter[str] = Counter()
    times: dict[str, list[float]] = {"request": [], "body": []}
    head = ProcessingRequest(protocol_config={"request_body_mode": BUFFERED})
    for name, value in HEADERS.items():
        head.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    messages = [
        head.SerializeToString(),
        ProcessingRequest(request_body={"body": BODY, "end_of_stream": True}).SerializeToString(),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), 60)
        method = channel.stream_stream("/" + "/".join(METHOD))

        async def one() -> None:
            began = time.perf_counter()
            call = method()
            await call.write(messages[0])
            await call.read()
            sent = time.perf_counter()
            await call.write(messages[1])
            answer = ProcessingResponse.FromString(await call.read())
            ended = time.perf_counter()
            response = answer.request_body.response
            if response.body_mutation.body:
                assert json.loads(response.body_mutation.body)["model"] == "big"
            else:
                (reason,) = response.header_mutation.set_headers
                undecided[reason.header.raw_value.decode()] += 1
            times["request"].append(ended - began)
            times["body"].append(ended - sent)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF

        async def counted() -> None:
            try:
                await one()
            except grpc.aio.AioRpcError as error:
                # gRPC drops calls that wait for too long, and those beyond a number that wait.
                undecided[f"gRPC {error.code().name}"] += 1

        for _ in range(100):
            await one()
        for found in times.values():
            found.clear()
        undecided.clear()
        began, own, there = time.perf_counter(), time.process_time(), processor_s(process)
        running = []
        for number in range(requests):
            await asyncio.sleep(max(began + number / rate - time.perf_counter(), 0))
            running.append(asyncio.ensure_future(counted()))
        await asyncio.gather(*running)
        seconds = time.perf_counter() - began
        return times, undecided, seconds, time.process_time() - own, processor_s(process) - there


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
