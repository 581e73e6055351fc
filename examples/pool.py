"""Three models, four objectives: which one answers, at what chance and cost.

Usage: python pool.py [prompt]
"""

from __future__ import annotations

import sys

import turnout

POOL = turnout.Pool(
    [
        turnout.Model("large", success=0.92, input_price=2.5, output_price=10, context_window=128_000),
        turnout.Model("middle", success=0.85, input_price=0.4, output_price=1.6, capabilities=["tools"]),
        turnout.Model("small", success=0.7, input_price=0.1, output_price=0.4, capabilities=[]),
    ]
)


def main() -> None:
    """Prints a decision for each objective, then every model for one of them."""
    prompt = sys.argv[1] if len(sys.argv) > 1 else "Prove that there are infinitely many primes."
    router = turnout.load(pool=POOL)
    for request in ({"target": 0.8}, {"max_cost": 0.0005}, {"error_cost": 0.1}, {"target": 0.8, "needs": ["images"]}):
        decision = router.route(prompt, **request)  # type: ignore[arg-type]
        print(f"{decision.model}: P {decision.success:.2f}, {decision.expected_cost:.6f} USD, {decision.reason}")
    for one in router.rank(prompt, target=0.8, needs=["tools"]):
        print(f"  {one.model}: {'feasible' if one.feasible else one.reason}")


if __name__ == "__main__":
    main()
