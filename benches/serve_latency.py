"""What the server adds to a call: one connection, an upstream that answers at once, direct and through turnout in turns.

python benches/serve_latency.py [--requests 3000]
"""

from __future__ import annotations

import argparse
import json
import statistics

from http_client import Connection, request
from processes import PORT, turnout, upstream

PROMPT = "What is the difference between a turnout and a crossing on a railway, in two sentences?"


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    args = parser.parse_args()
    content = request("router-mf-0.5", PROMPT)
    with upstream() as port, turnout(port):
        direct, through = Connection(port), Connection(PORT)
        for _ in range(200):
            direct.ask(content)
            through.ask(content)
        times: dict[str, list[float]] = {"direct": [], "through": [], "decision": []}
        for _ in range(args.requests):
            times["direct"].append(direct.ask(content)[1])
            head, seconds = through.ask(content)
            times["through"].append(seconds)
            told = head.split(b"x-turnout-decision-us: ", 1)[1].split(b"\r\n", 1)[0]
            times["decision"].append(float(told) / 1e6)
    found = {
        name: {f"p{q}": round(statistics.quantiles(one, n=100)[q - 1] * 1e6, 1) for q in (50, 95, 99)}
        for name, one in times.items()
    }
    added = found["through"]["p50"] - found["direct"]["p50"]
    print(
        json.dumps(
            {"microseconds": found, "added_p50_us": round(added, 1), "bars_us": {"added": 1200, "decision": 50}},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
