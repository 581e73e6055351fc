"""What the server adds to a call: one connection, an upstream that answers at once, direct and through turnout in turns.

In the same turns, requests go through ``forward_only.py``, a server on the same libraries that only forwards: ``floor`` is what that adds, and
``added_to_floor`` how many times as much turnout adds.

python benches/serve_latency.py [--requests 3000] [--dialect chat messages responses]
"""

from __future__ import annotations

import argparse
import json
import statistics

from http_client import DIALECTS, Connection, request
from processes import PORT, forward_only, free_port, turnout, upstream

PROMPT = "What is the difference between a turnout and a crossing on a railway, in two sentences?"


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--dialect", nargs="+", choices=list(DIALECTS), default=list(DIALECTS))
    args = parser.parse_args()
    forwarding = free_port()
    with upstream() as port, turnout(port, "--dialect", *DIALECTS), forward_only(forwarding, port):
        found = {dialect: measure(port, forwarding, dialect, args.requests) for dialect in args.dialect}
    print(json.dumps({"microseconds": found, "bars_us": {"added": 1200, "decision": 50}}, indent=1))


def measure(port: int, forwarding: int, dialect: str, requests: int) -> dict[str, object]:
    """Quantiles in microseconds of one dialect, direct, through the server that only forwards, and through turnout in turns."""
    content = request("router-mf-0.5", PROMPT, dialect=dialect)
    direct, forward, through = Connection(port), Connection(forwarding), Connection(PORT)
    for _ in range(200):
        for one in (direct, forward, through):
            one.ask(content)
    times: dict[str, list[float]] = {"direct": [], "forward": [], "through": [], "decision": []}
    for _ in range(requests):
        times["direct"].append(direct.ask(content)[1])
        times["forward"].append(forward.ask(content)[1])
        head, seconds = through.ask(content)
        times["through"].append(seconds)
        told = head.split(b"x-turnout-decision-us: ", 1)[1].split(b"\r\n", 1)[0]
        times["decision"].append(float(told) / 1e6)
    found = {
        name: {f"p{q}": round(statistics.quantiles(one, n=100)[q - 1] * 1e6, 1) for q in (50, 95, 99)}
        for name, one in times.items()
    }
    added, floor = (found[name]["p50"] - found["direct"]["p50"] for name in ("through", "forward"))
    return {
        **found,
        "added_p50": round(added, 1),
        "floor_p50": round(floor, 1),
        "added_to_floor": round(added / floor, 2),
    }


if __name__ == "__main__":
    main()
