"""Time to judge an answer by the signals that call no model: the answer is asserted first, then timed.

Usage: python benches/cascade.py [--tokens 200] [--smoke]
"""

from __future__ import annotations

import argparse
import math
import time

from turnout.cascade import Answer, Form, Judge, Policy

NAMES = ["mean_logprob", "least_logprob", "first_token_entropy", "first_token_margin", "length"]
WEIGHTS = [-1.0, -0.1, 0.5, -0.2, 0.1]


def main() -> None:
    """Prints quantiles in microseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--smoke", action="store_true", help="few repetitions")
    args = parser.parse_args()
    text = " ".join(f"word{index % 50}" for index in range(args.tokens))
    tops = [math.log(0.5 / 2**index) for index in range(5)]
    answer = Answer(text, [-0.01 * (index % 30) for index in range(args.tokens)], tops, [text])
    # 200 corners, more than a fit of some thousand rows has.
    corners = [index / 199 for index in range(200)]
    for more in ([], ["agreement"]):
        form = Form(
            [*NAMES, *more], [*WEIGHTS, *[-1.0] * len(more)], 0.7, 0.2, corners, [corner**2 for corner in corners]
        )
        _measure(form, answer, ", ".join(form.signals), 100 if args.smoke else 20_000)


def _measure(form: Form, answer: Answer, name: str, repetitions: int) -> None:
    judge = Judge([form], Policy(0.1, 1.0, 5.0, 0.2, 0.9, (-2.0, 0.5)))
    values = judge.form(answer)[1]
    assert math.isclose(values[3], math.log(2))
    found = judge.p_error(0.4, answer)
    expected = form.raw(0.4, values) ** 2
    assert abs(found - expected) < 1e-4, (found, expected)
    times = []
    for _ in range(repetitions):
        start = time.perf_counter_ns()
        judge.p_error(0.4, answer) <= judge.policy.threshold(0.4)  # noqa: B015
        times.append(time.perf_counter_ns() - start)
    times.sort()
    p50, p99 = (times[int(len(times) * part)] / 1e3 for part in (0.5, 0.99))
    print(f"{name}: p50 {p50:.1f} us, p99 {p99:.1f} us")


if __name__ == "__main__":
    main()
