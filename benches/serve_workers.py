"""Requests a second with one worker and with several, in turns: same machine, same upstream, same client.

python benches/serve_workers.py [--workers 1 2] [--dialect chat messages responses] [--connections 32] [--seconds 8] [--rounds 3]

Client and upstream need a core each, so that two workers show what they can do on four cores or more; ``cores`` says how many there are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from http_client import DIALECTS, request, requests_per_second
from processes import free_port, server, upstream

PROMPT = "What is the difference between a turnout and a crossing on a railway, in two sentences?"
TOML = """
[server]
port = {port}
admin_port = 0
playground = false

[upstreams.main]
base_url = "http://127.0.0.1:{upstream}/v1"

[models]
a = {{ upstream = "main", dialects = {dialects} }}
b = {{ upstream = "main", dialects = {dialects} }}

[pair]
strong = "a"
weak = "b"

# Workers share no memory.
[sessions]
stay = "off"
"""


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dialect", nargs="+", choices=list(DIALECTS), default=["chat"])
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    found = {}
    with upstream() as behind, contextlib.ExitStack() as running:
        ports = {workers: running.enter_context(serving(behind, workers)) for workers in args.workers}
        for dialect in args.dialect:
            content = request("router-mf-0.5", PROMPT, dialect=dialect)
            rates: dict[int, list[float]] = {workers: [] for workers in args.workers}
            for _ in range(args.rounds):
                for workers, port in ports.items():
                    rates[workers].append(requests_per_second(port, content, args.connections, args.seconds))
            medians = {workers: round(statistics.median(rate), 1) for workers, rate in rates.items()}
            first = medians[args.workers[0]]
            found[dialect] = {
                "requests_per_second": medians,
                "ratio": {workers: round(rate / first, 2) for workers, rate in medians.items()},
            }
    bars = {"requests_per_second": 1500, "ratio_of_two": 1.7}
    print(json.dumps({"cores": os.cpu_count(), "dialects": found, "bars": bars}, indent=1))


@contextlib.contextmanager
def serving(upstream_port: int, workers: int) -> Iterator[int]:
    """``turnout serve`` with some workers; gives its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "turnout.toml"
        config.write_text(TOML.format(port=port, upstream=upstream_port, dialects=json.dumps(list(DIALECTS))))
        command = [sys.executable, "-m", "turnout", "serve", "--config", str(config), "--workers", str(workers)]
        with server(command, port, "/ready"):
            yield port


if __name__ == "__main__":
    main()
