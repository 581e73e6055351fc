"""Requests a second through ``turnout serve`` with one worker and with several, in turns, from as many connections as keep them busy.

python benches/serve_workers.py [--workers 1 2] [--dialect chat messages responses] [--connections 32] [--seconds 5] [--rounds 3]

The client is wrk (on Debian ``apt-get install wrk``), which takes little of the processors; the upstream is ``instant_upstream.py``. In the same turns
goes ``forward_only.py``, a server on the same libraries that only forwards. Numbers are medians over the rounds. Workers, client and upstream
share the cores: where there are two, two workers give less than twice of one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from http_client import DIALECTS, request
from processes import forward_only, free_port, server, upstream

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
SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = [[{body}]]
function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format("answered %d failed %d in %d", summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, summary.duration))
end
"""


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dialect", nargs="+", choices=list(DIALECTS), default=["chat"])
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("benches/serve_workers.py needs wrk: on Debian apt-get install wrk")
    found = {}
    with upstream() as behind, contextlib.ExitStack() as running:
        forwarding = free_port()
        running.enter_context(forward_only(forwarding, behind))
        ports = {str(workers): running.enter_context(serving(behind, workers)) for workers in args.workers}
        for dialect in args.dialect:
            rates: dict[str, list[float]] = {name: [] for name in ("forward_only", *ports)}
            for _ in range(args.rounds):
                for name, port in {"forward_only": forwarding, **ports}.items():
                    rates[name].append(rate(port, dialect, args.connections, args.seconds))
            medians = {name: round(statistics.median(each)) for name, each in rates.items()}
            first = medians[str(args.workers[0])]
            found[dialect] = {
                "requests_per_second": medians,
                "ratio": {name: round(medians[name] / first, 2) for name in ports},
            }
    bars = {"requests_per_second": 1500, "ratio_of_two": 1.7}
    print(json.dumps({"cores": os.cpu_count(), "dialects": found, "bars": bars}, indent=1))


def rate(port: int, dialect: str, connections: int, seconds: int) -> float:
    """Requests a second, after a second to warm up. Every answer must be a 200."""
    head, body = request("router-mf-0.5", PROMPT, dialect=dialect).decode().split("\r\n\r\n", 1)
    address = f"http://127.0.0.1:{port}{head.split()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "post.lua")
        script.write_text(SCRIPT.replace("{body}", body))
        for duration in (1, seconds):
            command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{duration}s", "-s", str(script), address]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            answered, failed, microseconds = map(int, re.findall(r"answered (\d+) failed (\d+) in (\d+)", told)[0])
            assert answered, told
            assert not failed, told
    return answered / microseconds * 1e6


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
