"""Feedback survives a process that is killed at any moment, and many threads that add and route at once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import turnout
from turnout.data import BadRows
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build

ADDER = """
import sys, turnout
router = turnout.load(sys.argv[1])
for number in range(10_000):
    row = {"id": 10**9 + number, "prompt": f"what is the sum of {number} and two", "model_a": "alpha", "model_b": "delta", "winner": "model_b"}
    router.add_battles([row])
    print(number, flush=True)
"""


@pytest.fixture
def folder(battles: Path, artifact: Path, tmp_path: Path) -> Path:
    table = read_battle_table([battles], bad=BadRows())
    build(table, encoder_of(artifact), Options("alpha", "delta", tiers=4), tmp_path / "router")
    return tmp_path / "router"


def test_a_killed_process_loses_nothing_that_it_was_told_is_safe(folder: Path) -> None:
    generator = random.Random(0)
    stored = len(turnout.load(folder).battles()["battle_id"])
    acknowledged: set[int] = set()
    for _ in range(6):
        command = [sys.executable, "-c", ADDER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(generator.randint(1, 40)):
                acknowledged.add(int(process.stdout.readline()))
            process.send_signal(signal.SIGKILL)
            acknowledged.update(
                int(line) for line in process.stdout.read().splitlines(keepends=True) if line[-1] == "\n"
            )
        stored_ids = (int(number) - 10**9 for number in turnout.load(folder).battles()["battle_id"])
        ids = {number for number in stored_ids if 0 <= number < 10_000}
        assert acknowledged <= ids
        assert len(ids) <= len(acknowledged) + 6
    assert len(turnout.load(folder).battles()["battle_id"]) == stored + len(ids)


def test_threads_add_and_route_at_once(folder: Path) -> None:
    router = turnout.load(folder)
    prompt = "what is the sum of 7 and two"
    before = router.win_rate(prompt)
    done = threading.Event()

    def route() -> list[float]:
        seen = [router.win_rate(prompt)]
        while not done.is_set():
            seen.append(router.win_rate(prompt))
        return seen

    def add(writer: int) -> int:
        total = 0
        for number in range(50):
            row = {"id": 10**6 * (writer + 1) + number, "prompt": prompt, "model_a": "alpha", "model_b": "delta"}
            total += router.add_battles([{**row, "winner": "model_b"}]).added
        return total

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(route) for _ in range(4)]
        added = sum(pool.map(add, range(4)))
        done.set()
        seen = [value for reader in readers for value in reader.result()]
    assert added == 200
    assert all(0 <= value <= 1 for value in seen)
    assert router.win_rate(prompt) < before
    assert router.win_rate(prompt) == pytest.approx(turnout.load(folder).win_rate(prompt), abs=1e-6)


def test_two_routers_of_one_artifact_share_the_log(folder: Path) -> None:
    first, second = turnout.load(folder), turnout.load(folder)
    row = {"prompt": "what is the sum of 7 and two", "model_a": "alpha", "model_b": "delta", "winner": "model_b"}
    assert first.add_battles([{**row, "id": 10**9}]).added == 1
    assert second.add_battles([{**row, "id": 10**9}]).duplicates == 1
    assert second.add_battles([{**row, "id": 10**9 + 1}]).added == 1
    assert turnout.load(folder).win_rate(row["prompt"]) == pytest.approx(second.win_rate(row["prompt"]), abs=1e-6)


def test_a_compacted_artifact_must_be_loaded_again_before_adding(folder: Path) -> None:
    from turnout.cli import main

    router = turnout.load(folder)
    row = {
        "id": 10**9,
        "prompt": "what is the sum of 7 and two",
        "model_a": "alpha",
        "model_b": "delta",
        "winner": "tie",
    }
    router.add_battles([row])
    assert main(["battles", "compact", str(folder)]) == 0
    with pytest.raises(turnout.ArtifactError, match="load it again"):
        router.add_battles([{**row, "id": 10**9 + 1}])
    assert turnout.load(folder).add_battles([{**row, "id": 10**9 + 1}]).added == 1


BUSY = """
import sys, turnout
router = turnout.load(sys.argv[1])
number = int(sys.argv[2])
while True:
    row = {"id": number, "prompt": f"what is the sum of {number % 40} and two", "model_a": "alpha", "model_b": "delta", "winner": "tie"}
    try:
        router.add_battles([row])
    except turnout.ArtifactError as error:
        assert "load it again" in str(error), error
        router = turnout.load(sys.argv[1])
        continue
    print(number, flush=True)
    number += 1
"""


def test_compaction_takes_its_turn_beside_two_busy_writers_and_no_battle_is_lost(folder: Path) -> None:
    from turnout.cli import main

    command = [sys.executable, "-c", BUSY, str(folder)]
    before = len(turnout.load(folder).battles()["battle_id"])
    writers = [
        subprocess.Popen([*command, str(start)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for start in (10**9, 2 * 10**9)
    ]
    try:
        for _ in range(3):
            for writer in writers:
                assert writer.stdout is not None
                for _ in range(5):
                    assert writer.stdout.readline(), writer.stderr and writer.stderr.read()
            assert main(["battles", "compact", str(folder)]) == 0
    finally:
        for writer in writers:
            writer.kill()
        output = [(writer.stdout.read(), writer.stderr.read()) for writer in writers if writer.stdout and writer.stderr]
        for writer in writers:
            writer.wait()
    ids = turnout.load(folder).battles()["battle_id"].tolist()
    assert len(ids) == len(set(ids)) > before + 20
    for start, (lines, error) in zip((10**9, 2 * 10**9), output, strict=True):
        assert not error
        added = sorted(number for number in ids if start <= number < 2 * start)
        acknowledged = [int(line) for line in lines.splitlines(keepends=True) if line.endswith("\n")]
        assert added == list(range(start, start + len(added)))
        assert len(added) - 1 <= acknowledged[-1] + 1 - start <= len(added)


def test_reading_keeps_the_lock_that_it_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a file releases the POSIX locks of this process on it, SQLite's among them."""
    router = turnout.load(folder)
    a, b = router.models[:2]
    router.add_battles([{"prompt": "Prove it by induction, please.", "model_a": a, "model_b": b, "winner": "tie"}])
    script = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')"
    )
    found: list[str] = []

    def frames(wal: Path) -> int:
        command = [sys.executable, "-c", script, str(wal).removesuffix("-wal")]
        found.append(subprocess.run(command, capture_output=True, text=True, check=False).stderr)
        return 0

    monkeypatch.setattr("turnout.battle_store._frames", frames)
    turnout.load(folder)
    assert len(found) == 1
    assert "database is locked" in found[0]
