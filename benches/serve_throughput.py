"""Requests a second through ``turnout serve`` with one worker and with two, in turns, from as many connections as keep them busy.

python benches/serve_throughput.py [--seconds 5] [--rounds 3] [--connections 32]

The client is wrk (on Debian ``apt-get install wrk``), which takes little of the processors; the upstream is ``instant_upstream.py``. In the
same turns goes ``forward_only.py``, a server on the same libraries that only forwards. The numbers are medians over the rounds; two workers,
the client and the upstream share what the machine has, so that two cores give less than twice of one worker.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import PORT, forward_only, free_port, server, upstream

SCRIPT = """\
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = [[{"model": "router-mf-0.5", "messages": [{"role": "user", "content":
  "What is the difference between a turnout and a crossing on a railway, in two sentences?"}]}]]
function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format("answered %d failed %d in %d", summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, summary.duration))
end
"""
TOML = """\
[server]
port = {port}
admin_port = 0
[sessions]
stay = "off"
[pair]
strong = "big"
weak = "small"
[upstreams.instant]
base_url = "http://127.0.0.1:{upstream}/v1"
[models.big]
upstream = "instant"
[models.small]
upstream = "instant"
"""


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("benches/serve_throughput.py needs wrk: on Debian apt-get install wrk")
    found: dict[str, list[float]] = {"forward_only": [], "one": [], "two": []}
    with tempfile.TemporaryDirectory() as folder, upstream() as port:
        script, config = Path(folder, "post.lua"), Path(folder, "turnout.toml")
        script.write_text(SCRIPT)
        config.write_text(TOML.format(port=PORT, upstream=port))
        command = [sys.executable, "-m", "turnout", "serve", "--config", str(config), "--workers"]
        for _ in range(args.rounds):
            forwarding = free_port()
            with forward_only(forwarding, port):
                found["forward_only"].append(rate(forwarding, script, args))
            for name, workers in (("one", "1"), ("two", "2")):
                with server([*command, workers], PORT, "/ready"):
                    found[name].append(rate(PORT, script, args))
    median = {name: round(statistics.median(rates)) for name, rates in found.items()}
    print(
        json.dumps(
            {
                "requests_per_second": median,
                "of_each_round": {name: [round(one) for one in rates] for name, rates in found.items()},
                "two_to_one": round(median["two"] / median["one"], 2),
                "cores": os.cpu_count(),
                "bars": {"one": 1500, "two_to_one": 1.7},
            },
            indent=1,
        )
    )


def rate(port: int, script: Path, args: argparse.Namespace) -> float:
    """Requests a second, after a second to warm up; every answer must be a 200."""
    for seconds in (1, args.seconds):
        command = [
            "wrk", "-t", "1", "-c", str(args.connections), "-d", f"{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/v1/chat/completions",
        ]  # fmt: skip
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        answered, failed, microseconds = map(int, re.findall(r"answered (\d+) failed (\d+) in (\d+)", told)[0])
        assert answered, told
        assert not failed, told
    return answered / microseconds * 1e6


if __name__ == "__main__":
    main()
