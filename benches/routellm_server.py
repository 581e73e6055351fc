"""RouteLLM's server and turnout's, with their `random` routers: same machine, same upstream, same client, in turns.

    make bench-routellm
    python benches/routellm_server.py --routellm PYTHON [--seconds 8] [--rounds 3]

PYTHON is an interpreter with RouteLLM 0.2.0 and what its server needs. torch, datasets and transformers need not be there:
`routellm_launch.py` puts empty modules in their place, which its `random` router never touches.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from http_client import request, requests_per_second
from processes import PORT, free_port, server, turnout, upstream

PROMPT = "What is the difference between a turnout and a crossing on a railway, in two sentences?"


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routellm", required=True, metavar="PYTHON")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    args = parser.parse_args()
    content = request("router-random-0.5", PROMPT)
    port = free_port()
    rates: dict[str, list[float]] = {"routellm": [], "turnout": []}
    with upstream() as behind:
        launch = Path(__file__).parent / "routellm_launch.py"
        command = [
            args.routellm, str(launch), "--routers", "random", "--strong-model", "openai/a", "--weak-model", "openai/b",
            "--base-url", f"http://127.0.0.1:{behind}/v1", "--api-key", "x", "--port", str(port),
        ]  # fmt: skip
        with turnout(behind, "--router", "random"), server(command, port, "/openapi.json", OPENAI_API_KEY="x"):
            for _ in range(args.rounds):
                for name, listening in (("routellm", port), ("turnout", PORT)):
                    rates[name].append(
                        round(requests_per_second(listening, content, args.connections, args.seconds), 1)
                    )
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ratio = medians["turnout"] / medians["routellm"]
    print(json.dumps({"requests_per_second": rates, "medians": medians, "ratio": round(ratio, 2), "bar": 5}, indent=1))


if __name__ == "__main__":
    main()
