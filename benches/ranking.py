"""Elo by similarity: exact and approximate, from a thousand to a million battles, beside RouteLLM's own class.

Usage: python benches/ranking.py [--smoke] [--routellm PYTHON]        (``make bench`` does it)

Writes ``benches/report/ranking.md`` and ``ranking.png``. ``--routellm`` is the interpreter of an environment with RouteLLM 0.2.0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ranking_data import Battles, make_battles, write
from report import REPORT, Bar, cpu
from timing import medians

import turnout

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Size:
    """One row of the table, with the index that serves it."""

    battles: int
    dim: int
    index: tuple[str, str, int]
    exact_ms: float
    approximate_us: float


SIZES = (
    Size(55_000, 256, ("IVF256_HNSW32,SQ8", "nprobe=2", 32), 2.5, 150),
    Size(55_000, 1536, ("IVF256_HNSW32,SQ8", "nprobe=2", 32), 15, 600),
    Size(1_000_000, 256, ("IVF1024_HNSW32,SQ8", "nprobe=2", 32), 40, 500),
)
SMOKE = (Size(2_000, 128, ("IVF16,SQ8", "nprobe=4", 32), 0, 0),)
GROWTH = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000)

_MEMORY = """
import sys, numpy as np, turnout
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
router = turnout.load(sys.argv[1], index="exact")
query = np.ones(router.embedding_dim, dtype=np.float32)
for _ in range(3):
    router.win_rate(embedding=query)
print(resident() - before)
"""


def one_by_one(router: turnout.Router, queries: Any) -> Any:
    """A function that decides the next query at each call."""
    place = iter(range(1 << 60))
    return lambda: router.win_rate(embedding=queries[next(place) % len(queries)])


def measure(size: Size, folder: Path, seconds: float, routellm: Path | None) -> dict[str, Any]:
    """Times and errors of one size."""
    battles = make_battles(size.battles, size.dim)
    path = write(battles, folder / f"{size.battles}x{size.dim}", "int8", size.index)
    exact, approximate = turnout.load(path, index="exact", threads=1), turnout.load(path)
    many, queries = turnout.load(path, index="exact"), battles.queries
    truth = exact_truth(battles, folder)
    found = exact.win_rates(embeddings=queries)
    errors = np.abs(approximate.win_rates(embeddings=queries) - found)
    assert np.abs(found - truth).max() < 1e-3
    assert np.median(errors) < 0.05
    reading = np.frombuffer((path / "battles.safetensors").read_bytes(), dtype=np.uint64)[
        : size.battles * size.dim // 8
    ]
    times = medians(
        {
            "exact": one_by_one(exact, queries),
            "approximate": one_by_one(approximate, queries),
            "reading the vectors": lambda: reading.max(),
        },
        seconds=seconds,
        group=5,
    )
    prompts = np.tile(queries, (5, 1))[: 1000 if size.battles < 200_000 else 200]
    batch = medians({"batch": lambda: many.win_rates(embeddings=prompts)}, seconds=seconds / 2, group=1)["batch"]
    memory = subprocess.run([sys.executable, "-c", _MEMORY, str(path)], capture_output=True, text=True, check=True)
    row = {
        "battles": size.battles,
        "dim": size.dim,
        "index": size.index,
        "us": times,
        "batch_us": batch[0] / len(prompts),
        "int8_error": float(np.abs(found - truth).max()),
        "win_rates": [float(found.min()), float(found.std()), float(found.max())],
        "error_p50": float(np.percentile(errors, 50)),
        "error_p99": float(np.percentile(errors, 99)),
        "memory": int(memory.stdout) / (2 * size.battles * size.dim),
    }
    if routellm is not None and (size.battles, size.dim) == (55_000, 256):
        row["routellm_ms"] = routellm_ms(routellm, battles, folder)
    return row


def exact_truth(battles: Battles, folder: Path) -> Any:
    """Win rates from float32 vectors."""
    path = write(battles, folder / "truth", "f32", None)
    return turnout.load(path).win_rates(embeddings=battles.queries)


def routellm_ms(python: Path, battles: Battles, folder: Path) -> float:
    """Milliseconds of a decision of RouteLLM's own class over the same battles."""
    table = battles.rating.table
    np.savez(
        folder / "routellm.npz",
        embeddings=battles.vectors,
        queries=battles.queries[:12],
        models=np.array(table.models),
        a=table.a,
        b=table.b,
        outcome=table.outcome,
        pair=np.array(battles.pair),
    )
    command = [str(python), str(HERE / "routellm_ranking.py"), str(folder / "routellm.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["median_ms"])


def growth(folder: Path, counts: tuple[int, ...], seconds: float) -> list[dict[str, float]]:
    """Exact and approximate microseconds by the number of battles, 256 dimensions."""
    rows = []
    for count in counts:
        battles = make_battles(count, 256)
        cells = int(np.clip(2 ** round(np.log2(np.sqrt(count))), 16, 1024))
        path = write(battles, folder / f"growth-{count}", "int8", (f"IVF{cells},SQ8", "nprobe=2", 32))
        routers = {"exact": turnout.load(path, index="exact", threads=1), "approximate": turnout.load(path)}
        times = medians(
            {kind: one_by_one(router, battles.queries) for kind, router in routers.items()}, seconds=seconds, group=3
        )
        rows.append({"battles": count, **{kind: values[0] for kind, values in times.items()}})
        print(rows[-1], file=sys.stderr)
    return rows


def bars(results: dict[str, Any]) -> list[Bar]:
    """The promises, with what was measured."""
    found = []
    for size, row in zip(SIZES, results["sizes"], strict=True):
        name, exact = f"{size.battles:,} x {size.dim}", row["us"]["exact"][0] / 1e3
        found.append(Bar(f"{name}, exact, one thread", exact, size.exact_ms, True, "ms"))
        if "routellm_ms" in row:
            found.append(Bar(f"{name}, RouteLLM's own class over exact", row["routellm_ms"] / exact, 100, False, "x"))
        found.append(Bar(f"{name}, approximate", row["us"]["approximate"][0], size.approximate_us, True, "us"))
        found.append(Bar(f"{name}, approximate, 99 % of errors within", row["error_p99"], 0.01, True, ""))
        found.append(Bar(f"{name}, int8 against float32, largest error", row["int8_error"], 1e-4, True, ""))
        if (size.battles, size.dim) == (55_000, 256):
            text = "1,000 prompts at once, throughput over one by one"
            found.append(Bar(f"{name}, {text}", row["us"]["exact"][0] / row["batch_us"], 5, False, "x"))
    found.append(Bar("1,000,000 x 256, memory over the stored vectors", results["sizes"][-1]["memory"], 1.2, True, "x"))
    found.append(Bar("the Elo solve", results["solve_us"], 10, True, "us"))
    return found


def solve_us() -> float:
    """Microseconds of the Elo solve of ten tiers, from the Rust benchmark."""
    command = ["cargo", "bench", "--quiet", "--package", "turnout-benches", "--bench", "elo"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent).stdout
    return float(json.loads(output.splitlines()[-1])["p50_ns"]) / 1e3


def markdown(results: dict[str, Any]) -> str:
    """The report."""
    lines = [
        "# Elo by similarity",
        "",
        f"turnout {turnout.__version__}, {results['machine']}. Made by `make bench`. Prompts of the shipped battles, embedded by the",
        "default router, turned into more dimensions, tiled with noise; one battle a prompt; ten tiers; int8 with residuals.",
        "",
        "| quantity (medians of one run) | measured | target | |",
        "|---|---|---|---|",
        *(bar.row() for bar in bars(results)),
        "",
        "| battles x dimension | index | exact us | reading the vectors alone us | approximate us | batch us a prompt | error p50 | error p99 | spread of win rates |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["sizes"]:
        factory, search, neighbors = row["index"]
        lines.append(
            f"| {row['battles']:,} x {row['dim']} | {factory} {search}, {neighbors} neighbors | {row['us']['exact'][0]:,.0f} | "
            f"{row['us']['reading the vectors'][0]:,.0f} | {row['us']['approximate'][0]:,.0f} | {row['batch_us']:,.0f} | "
            f"{row['error_p50']:.5f} | {row['error_p99']:.5f} | {row['win_rates'][1]:.3f} |"
        )
    lines += ["", "| battles (256 dimensions) | exact us | approximate us |", "|---|---|---|"]
    lines += [f"| {r['battles']:,} | {r['exact']:,.0f} | {r['approximate']:,.0f} |" for r in results["growth"]]
    return "\n".join([*lines, "", "![growth](ranking.png)", ""])


def plot(results: dict[str, Any], target: Path) -> None:
    """How cost grows with the number of battles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    rows = results["growth"]
    for kind, color in (("exact", "#5f7f9f"), ("approximate", "#d1495b")):
        points = [(row["battles"], row[kind]) for row in rows]
        axes.plot(*zip(*points, strict=True), marker="o", color=color, label=kind)
        axes.annotate(
            f"{points[-1][1]:,.0f} us", points[-1], textcoords="offset points", xytext=(-6, 8), ha="right", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("battles, 256 dimensions")
    axes.set_ylabel("microseconds a decision, median")
    axes.set_title(f"Elo by similarity, one thread ({results['machine']})", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small sizes, answers asserted, nothing written")
    parser.add_argument("--routellm", type=Path, metavar="PYTHON", help="interpreter with RouteLLM 0.2.0")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.smoke:
            for size in SMOKE:
                measure(size, folder, 0.2, None)
            growth(folder, GROWTH[:1], 0.1)
            print("smoke: answers are right")
            return
        results: dict[str, Any] = {"machine": cpu(), "sizes": []}
        for size in SIZES:
            results["sizes"].append(measure(size, folder, 6.0, args.routellm))
            print(json.dumps(results["sizes"][-1]), file=sys.stderr)
        results["growth"] = growth(folder, GROWTH, 1.5)
        last = results["sizes"][-1]
        times = {kind: last["us"][kind][0] for kind in ("exact", "approximate")}
        results["growth"].append({"battles": last["battles"], **times})
        results["solve_us"] = solve_us()
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "ranking.json").write_text(json.dumps(results, indent=1))
    (REPORT / "ranking.md").write_text(markdown(results))
    plot(results, REPORT / "ranking.png")
    print(markdown(results))


if __name__ == "__main__":
    main()
