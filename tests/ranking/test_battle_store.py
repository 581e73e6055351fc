"""The database of added battles: what it may be on disk, who may write to it, and what damage does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import turnout
from turnout import battle_store
from turnout.battle_store import NAME, Battle, BattleStore

BATTLES = [
    Battle(number, number % 3, "alpha", "delta", f"what is {number} and two? Grüße", bytes([number % 251] * 8))
    for number in (1, 2, 3, 2**64 - 1)
]
FORK = """
import os, signal, threading
import turnout
router = turnout.load({folder!r})
row = {{"prompt": "what is the sum of 7 and two", "model_a": "alpha", "model_b": "delta", "winner": "tie"}}
router.add_battles([{{**row, "id": 10**9}}])
done = threading.Event()
def add():
    number = 10**9
    while not done.is_set():
        number += 1
        router.add_battles([{{**row, "id": number}}])
adder = threading.Thread(target=add)
adder.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        for call in (router.add_battles, lambda rows: turnout.Router.append_battles(router, [], [], [], [], [])):
            try:
                call([{{**row, "id": 1}}])
            except turnout.InferenceError as error:
                assert "before a fork" in str(error), error
            else:
                os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
done.set()
adder.join()
added = len(router.battles()["battle_id"])
assert len(turnout.load({folder!r}).battles()["battle_id"]) == added
print("right")
"""


def fill(folder: Path, battles: list[Battle] = BATTLES) -> BattleStore:
    store = BattleStore(folder, 2)
    for battle in battles:
        insert(store, battle)
    return store


def insert(store: BattleStore, battle: Battle) -> None:
    with store.writing() as writer:
        list(writer.others())
        writer.insert([battle])
    store.confirm(writer.last)


def stored(folder: Path) -> list[Battle]:
    return [battle for part in BattleStore(folder, 2).read() for battle in part]


@pytest.fixture
def router_folder(artifact: Path, battles: Path, tmp_path: Path) -> Path:
    from turnout.data import BadRows
    from turnout.routers.sw_ranking.encoder import encoder_of
    from turnout.routers.sw_ranking.table import read_battle_table
    from turnout.routers.sw_ranking.train import Options, build

    table = read_battle_table([battles], bad=BadRows())
    build(table, encoder_of(artifact), Options("alpha", "delta", tiers=4), tmp_path / "router")
    return tmp_path / "router"


def test_what_is_inserted_is_read_again(tmp_path: Path) -> None:
    assert stored(tmp_path) == []
    store = fill(tmp_path)
    assert stored(tmp_path) == BATTLES
    assert list(store.read()) == [], "its own battles are not new"
    del store
    assert {path.name for path in tmp_path.iterdir()} == {NAME}


def test_two_writers_see_each_other(tmp_path: Path) -> None:
    first = fill(tmp_path)
    with BattleStore(tmp_path, 2).writing() as writer:
        assert [battle for part in writer.others() for battle in part] == BATTLES
        writer.insert([BATTLES[0]._replace(id=7)])
    with first.writing() as writer:
        assert [battle.id for part in writer.others() for battle in part] == [7]


def test_a_call_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = fill(tmp_path)

    def fail() -> None:
        with store.writing() as writer:
            writer.insert([BATTLES[0]._replace(id=7)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert stored(tmp_path) == BATTLES
    with store.writing() as writer:
        writer.insert([BATTLES[0]._replace(id=8)])
    assert [battle.id for battle in stored(tmp_path)][-1] == 8


def test_a_writer_waits_for_its_turn_and_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(battle_store, "WAIT_S", 0.05)
    first = fill(tmp_path)
    second = fill(tmp_path, [])
    with second.writing() as writer:
        writer.others()
    with first.writing(), pytest.raises(turnout.OverloadedError, match="another process has been adding"):
        second.writing().__enter__()
    with second.writing():
        pass


def test_every_changed_byte_is_an_error_or_changes_no_battle(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    fill(tmp_path / "whole")
    content = (tmp_path / "whole" / NAME).read_bytes()
    refused = 0
    for at in [*range(110), *range(110, len(content), 37)]:
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        changed = bytearray(content)
        changed[at] ^= 0x10
        (folder / NAME).write_bytes(changed)
        try:
            found = stored(folder)
        except turnout.ArtifactError:
            refused += 1
        else:
            assert found == BATTLES, at
    assert refused > 30


def test_a_damaged_database_is_kept_as_a_copy_and_named(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / NAME
    content = path.read_bytes()
    path.write_bytes(content.replace(b"what is 2 and", b"what is 9 and"))
    for _ in range(2):
        with pytest.raises(turnout.ArtifactError, match=r"damaged: row 2 .*copy: damaged-[0-9a-f]{12}-battles\.sqlite"):
            stored(tmp_path)
    copies = [file for file in tmp_path.iterdir() if file.name.startswith("damaged-")]
    assert [copy.read_bytes() for copy in copies] == [path.read_bytes()]
    with pytest.raises(turnout.ArtifactError, match="damaged"), BattleStore(tmp_path, 2).writing() as writer:
        list(writer.others())


def test_a_lost_row_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path)
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("DELETE FROM battle WHERE number = 2")
    with pytest.raises(turnout.ArtifactError, match="row 2 is missing"):
        stored(tmp_path)


def test_an_unfinished_end_of_the_write_ahead_log_is_told_and_kept(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    store = fill(tmp_path / "whole")
    (tmp_path / "copy").mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(tmp_path / "whole" / (NAME + suffix), tmp_path / "copy" / (NAME + suffix))
    wal = tmp_path / "copy" / f"{NAME}-wal"
    content = bytearray(wal.read_bytes())
    content[-20] ^= 1
    wal.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"incomplete or damaged.*copy: damaged-"):
        kept = stored(tmp_path / "copy")
    assert kept == BATTLES[: len(kept)]
    copies = {file.name.split("-", 2)[2]: file for file in (tmp_path / "copy").glob("damaged-*")}
    assert copies[f"{NAME}-wal"].read_bytes() == bytes(content)
    del store


@pytest.mark.parametrize("name", [NAME, f"{NAME}-wal"])
def test_files_that_are_not_regular_are_refused_at_once(tmp_path: Path, name: str) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    fill(folder)
    outside.write_bytes(b"another's" * 1000)
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink(outside, path), lambda path: os.link(outside, path)):
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
        for call in (lambda: stored(folder), lambda: fill(folder)):
            with pytest.raises(turnout.ArtifactError, match=rf"{name}: file: .*expected (a regular file|one)"):
                call()
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    assert outside.read_bytes() == b"another's" * 1000


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE battle (number, id, outcome, model_a, model_b, prompt, embedding, checksum)")
    with pytest.raises(turnout.ArtifactError, match="schema: not the battles of a router"):
        stored(tmp_path)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(turnout.ArtifactError, match=r"not a database; copy: none"):
        stored(tmp_path)
    with path.open("wb") as stream:
        stream.truncate(battle_store.MAX_BYTES + 1)
    with pytest.raises(turnout.ArtifactError, match=r"size: .* expected at most"):
        stored(tmp_path)


def test_a_missing_database_beside_its_log_is_an_error(tmp_path: Path) -> None:
    store = fill(tmp_path)
    (tmp_path / NAME).rename(tmp_path / "elsewhere")
    with pytest.raises(turnout.ArtifactError, match="missing, but its -wal"):
        stored(tmp_path)
    del store


def test_embeddings_of_another_length_are_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(turnout.ArtifactError, match="row 1"):
        list(BattleStore(tmp_path, 3).read())


def test_the_log_of_an_earlier_version_is_refused_with_what_to_do(router_folder: Path) -> None:
    (router_folder / "battles.log").write_bytes(b"")
    turnout.load(router_folder)
    (router_folder / "battles.log").write_bytes(b"turnout battles\n\1\0\0\0")
    with pytest.raises(turnout.ArtifactError, match=r"battles\.log: .*turnout battles compact"):
        turnout.load(router_folder)
    (router_folder / "battles.log").unlink()
    os.mkfifo(router_folder / "battles.log")
    with pytest.raises(turnout.ArtifactError, match=r"battles\.log"):
        turnout.load(router_folder)


def test_adding_after_a_fork_says_what_to_do(router_folder: Path) -> None:
    script = FORK.format(folder=str(router_folder))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "right"), done.stderr


def test_misaligned_and_wrong_columns_are_refused(router_folder: Path) -> None:
    import numpy as np

    router = turnout.load(router_folder)
    ids = np.frombuffer(bytes(17), dtype=np.uint8)[1:].view(np.uint64)
    columns = (["what is the sum of 7 and two"] * 2, ["alpha"] * 2, ["delta"] * 2, np.zeros(2, np.uint8))
    with pytest.raises(turnout.InvalidInputError, match=r"ids must be .* not aligned"):
        router.append_battles(ids, *columns)
    with pytest.raises(turnout.InvalidTypeError, match="ids must be"):
        router.append_battles(np.zeros(2, np.int64), *columns)  # type: ignore[arg-type]
    assert not (router_folder / NAME).exists() or stored(router_folder) == []
    assert router.append_battles(np.array([10**9, 10**9], np.uint64), *columns) == 1


def test_a_writer_killed_at_any_moment_leaves_a_database_that_another_continues(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from turnout.battle_store import Battle, BattleStore
store = BattleStore(Path(sys.argv[1]), 2)
for part in store.read(): pass
for number in range(100_000):
    with store.writing() as writer:
        for part in writer.others(): pass
        writer.insert([Battle(writer.last + 1, 0, "alpha", "delta", "what is it", bytes(8))])
    print(writer.last, flush=True)
"""
    last = 0
    for lines in (1, 7, 20, 3):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().splitlines(keepends=True)
            last = max([last, *(int(line) for line in rest if line.endswith("\n"))])
        found = len(stored(tmp_path))
        assert last <= found <= last + 1


def test_threads_of_one_store_take_turns(tmp_path: Path) -> None:
    store = BattleStore(tmp_path, 2)

    def add(start: int) -> None:
        for number in range(start, start + 25):
            insert(store, BATTLES[0]._replace(id=number))

    threads = [threading.Thread(target=add, args=(1000 * writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({battle.id for battle in stored(tmp_path)}) == 100


def test_one_battle_a_call_reads_the_artifact_once(router_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    router = turnout.load(router_folder)
    row = {"prompt": "what is the sum of one and two", "model_a": "alpha", "model_b": "beta", "winner": "model_a"}
    router.add_battles([{**row, "id": 1}])

    def refuse(*_: object) -> bytes:
        raise AssertionError("the manifest was read again")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        patched.setattr(json, "loads", refuse)
        assert router.add_battles([{**row, "id": 2}]).added == 1
    # As a compaction writes it: another file of the same length.
    manifest = router_folder / "router.json"
    changed = manifest.with_name("new.json")
    changed.write_bytes(manifest.read_bytes().replace(b'"alpha"', b'"aleph"', 1))
    changed.replace(manifest)
    with pytest.raises(turnout.ArtifactError, match="was compacted or replaced"):
        router.add_battles([{**row, "id": 3}])
