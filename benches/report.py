"""Runs every benchmark once, on this machine, and writes ``benches/report/``: a table of the bars, the numbers and a plot.

Usage: python benches/report.py [--smoke]        (``make bench`` does it, with everything it needs)

``--smoke`` asserts the answers and takes no time over the rest: its numbers mean nothing and are not written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import open_loop
from plain import PROMPTS, PlainNumpy, PlainOnnx
from pools import measure as measure_pools
from startup import memory, start_times
from threads import throughput
from timing import medians

import turnout

HERE = Path(__file__).parent
REPORT = HERE / "report"


@dataclass(frozen=True)
class Bar:
    """One promise: a measured number and what it must be."""

    text: str
    value: float
    limit: float
    at_most: bool
    unit: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def row(self) -> str:
        relation = "at most" if self.at_most else "at least"
        mark = "met" if self.is_met else "**missed**"
        return f"| {self.text} | {self.value:.3g} {self.unit} | {relation} {self.limit:g} {self.unit} | {mark} |"


def rust(bench: str) -> dict[str, dict[str, float]]:
    """Nanoseconds of a Rust benchmark by name."""
    command = ["cargo", "bench", "--quiet", "--package", "turnout-benches", "--bench", bench]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent).stdout
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {row["name"]: row for row in rows}


def cpu() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def measure(seconds: float) -> dict[str, Any]:
    """Everything, in one run; ``seconds`` for each measurement."""
    router, one_thread, two_threads = turnout.load(), turnout.load(threads=1), turnout.load(threads=2)
    numpy_router, onnx_router = PlainNumpy(), PlainOnnx()
    prompts: dict[str, Any] = {}
    for name, prompt in PROMPTS.items():
        answer = router.win_rate(prompt)
        assert abs(numpy_router.win_rate(prompt) - answer) < 1e-5
        assert abs(onnx_router.win_rate(prompt) - answer) < 1e-5
        assert numpy_router.ids(prompt) == router.explain(prompt).ids
        prompts[name] = medians(
            {
                "turnout": lambda prompt=prompt: router.route(prompt),
                "plain NumPy": lambda prompt=prompt: numpy_router.win_rate(prompt),
                "plain onnxruntime": lambda prompt=prompt: onnx_router.win_rate(prompt),
                "tokenizers alone": lambda prompt=prompt: numpy_router.tokenizer.encode(prompt),
            },
            seconds=seconds,
        )
        print(name, {kind: round(float(times[0]), 2) for kind, times in prompts[name].items()})
    many = [f"{PROMPTS['ascii-20']} {number}" for number in range(10_000)]
    batch = medians(
        {
            "one thread": lambda: one_thread.route_batch(many),
            "two threads": lambda: two_threads.route_batch(many),
            "plain NumPy, 1,000": lambda: [numpy_router.win_rate(prompt) for prompt in many[:1000]],
        },
        group=1,
        seconds=3 * seconds,
    )
    prompt = PROMPTS["ascii-20"]
    threads = {
        kind: {str(count): throughput(work, count, seconds=seconds / 2) for count in (1, 2, 8, 64)}
        for kind, work in {
            "turnout": lambda: router.route(prompt),
            "plain NumPy": lambda: numpy_router.win_rate(prompt),
        }.items()
    }
    load = {
        f"{rate}": open_loop(lambda: router.route(prompt), rate, seconds=seconds) for rate in (1_000, 20_000, 100_000)
    }
    return {
        "turnout": turnout.__version__,
        "artifact": router.artifact_hash,
        "machine": cpu(),
        "python": platform.python_version(),
        "prompts": prompts,
        "batch": batch,
        # Alone and with warm caches, as the Rust benchmark is.
        "alone": medians({"turnout": lambda: router.route(prompt)}, seconds=seconds)["turnout"],
        "threads": threads,
        "pools": measure_pools(seconds),
        "open_loop": load,
    }


def bars(results: dict[str, Any]) -> list[Bar]:
    """The promises of the project, with what was measured."""
    prompts, batch, threads = results["prompts"], results["batch"], results["threads"]["turnout"]
    p50 = lambda name, kind: prompts[name][kind][0]  # noqa: E731
    faster = lambda name: p50(name, "plain NumPy") / p50(name, "turnout")  # noqa: E731
    above_rust = results["alone"][0] - results["rust"]["route/ascii-20"]["p50_ns"] / 1e3
    foreign = max(p50(n, "turnout") / p50(n, "tokenizers alone") for n in prompts if not n.startswith("ascii"))
    plain_batch = 10 * batch["plain NumPy, 1,000"][0]
    pools = results["pools"]
    batch_rate = 1e10 / pools["10,000 prompts, 10 models"]["two threads"][0]
    start = results["startup"]
    process = start["process_ms"] / start["numpy_process_ms"]
    return [
        Bar("20 ASCII tokens, plain Python's time over `route`", faster("ascii-20"), 8, False, "x"),
        Bar("20 ASCII tokens, `route` from Python above Rust", above_rust, 1.5, True, "us"),
        Bar("128 ASCII tokens, plain Python's time over `route`", faster("ascii-128"), 10, False, "x"),
        Bar("non-ASCII, `route` over `tokenizers` alone (worst)", foreign, 1.1, True, "x"),
        Bar("10,000 prompts, throughput over plain Python's", plain_batch / batch["two threads"][0], 15, False, "x"),
        Bar("10,000 prompts, two cores over one", batch["one thread"][0] / batch["two threads"][0], 1.7, False, "x"),
        Bar("pool of 10 models, 20 ASCII tokens", pools["route, 10 models"]["turnout"][0], 6, True, "us"),
        Bar("pool of 100 models, 20 ASCII tokens", pools["route, 100 models"]["turnout"][0], 15, True, "us"),
        Bar("pool of 10 models, 10,000 prompts, two threads", batch_rate, 400_000, False, "prompts/s"),
        Bar("64 Python threads over one", threads["64"] / threads["1"], 1.0, False, "x"),
        Bar("`import turnout` over `import numpy`", start["import_ms"], 50, True, "ms"),
        Bar("`load()`", start["load_ms"], 6, True, "ms"),
        Bar("process `turnout route`, time over `import numpy`'s", process, 1.6, True, "x"),
        Bar("memory of a loaded router", start["memory_mib"], 60, True, "MiB"),
        Bar("memory growth over a million decisions", start["million_decisions_mib"], 1, True, "MiB"),
    ]


def markdown(results: dict[str, Any]) -> str:
    """The report."""
    lines = [
        "# Benchmark report",
        "",
        f"turnout {results['turnout']}, artifact `{results['artifact'][:12]}`, {results['machine']}, "
        f"Python {results['python']}. Made by `make bench`.",
        "",
        "| quantity (medians of one run) | measured | target | |",
        "|---|---|---|---|",
        *(bar.row() for bar in bars(results)),
        "",
        "| one decision from Python, microseconds (p50 / p99) | turnout | plain NumPy | plain onnxruntime | tokenizers alone |",
        "|---|---|---|---|---|",
    ]
    kinds = ("turnout", "plain NumPy", "plain onnxruntime", "tokenizers alone")
    for name, times in results["prompts"].items():
        lines.append(f"| {name} | " + " | ".join(f"{times[k][0]:.2f} / {times[k][2]:.2f}" for k in kinds) + " |")
    lines += ["", "| pools, microseconds a call (p50 / p99) | | | |", "|---|---|---|---|"]
    for name, times in results["pools"].items():
        cells = [f"{kind}: {row[0]:,.2f} / {row[2]:,.2f}" for kind, row in times.items()]
        lines.append(f"| {name} | " + " | ".join([*cells, "", ""][:3]) + " |")
    lines += ["", "| threads calling `route`, decisions per second | 1 | 2 | 8 | 64 |", "|---|---|---|---|---|"]
    for kind, counts in results["threads"].items():
        lines.append(f"| {kind} | " + " | ".join(f"{count:,.0f}" for count in counts.values()) + " |")
    lines += ["", "| open loop, arrivals per second | p50 | p99 | p99.9 | busy |", "|---|---|---|---|---|"]
    for rate, row in results["open_loop"].items():
        numbers = " | ".join(f"{row[key]:.2f} us" for key in ("p50_us", "p99_us", "p99.9_us"))
        lines.append(f"| {int(rate):,} | {numbers} | {row['busy']:.1%} |")
    lines += ["", "| in Rust, microseconds | p50 | p95 | p99 |", "|---|---|---|---|"]
    for name, row in results["rust"].items():
        lines.append(f"| {name} | " + " | ".join(f"{row[f'p{p}_ns'] / 1e3:,.2f}" for p in (50, 95, 99)) + " |")
    return "\n".join([*lines, "", "![one decision](route.png)", ""])


def plot(results: dict[str, Any], target: Path) -> None:
    """Time of one decision by prompt, logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(results["prompts"])
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    kinds = ("plain onnxruntime", "plain NumPy", "tokenizers alone", "turnout")
    colors = ("#b8b8b8", "#8c8c8c", "#5f7f9f", "#d1495b")
    for place, (kind, color) in enumerate(zip(kinds, colors, strict=True)):
        values = [results["prompts"][name][kind][0] for name in names]
        axes.bar([row + (place - 1.5) * 0.2 for row in range(len(names))], values, 0.19, label=kind, color=color)
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names, rotation=20)
    axes.set_ylabel("microseconds a decision, median")
    axes.set_title(f"One decision from Python ({results['machine']})", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, ncols=4, loc="upper left", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="assert the answers only")
    if parser.parse_args().smoke:
        measure(0.02)
        return
    REPORT.mkdir(exist_ok=True)
    results = {**measure(2.0), "startup": {**start_times(), **memory()}, "rust": {**rust("stages"), **rust("route")}}
    (REPORT / "report.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (REPORT / "report.md").write_text(markdown(results), encoding="utf-8")
    plot(results, REPORT / "route.png")
    print(markdown(results))


if __name__ == "__main__":
    main()
