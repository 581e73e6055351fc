"""The command line, through ``main`` and, where processes matter, as a process."""

from __future__ import annotations

import csv
import functools
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import turnout
from turnout.cli import main
from turnout.commands.inspect import describe
from turnout.data import chunks

TINY = Path(__file__).parents[2] / "models" / "tiny"
PROMPTS = ["What is 2 + 2?", "Prove that the sum of two even numbers is even.", "", "中文", 'a, "b"\nc']


@pytest.fixture(scope="module")
def router() -> turnout.Router:
    return turnout.load(TINY)


def route(*arguments: str | Path) -> int:
    return main(["route", "--router", str(TINY), *map(str, arguments)])


def process(*arguments: str | Path, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "turnout", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


def expected(router: turnout.Router, prompt: str) -> dict[str, object]:
    decision = router.route(prompt)
    return {"model": decision.model, "win_rate": decision.win_rate, "threshold": decision.threshold}


def test_a_prompt_gives_one_line_with_model_and_win_rate(router, capsys):
    assert route(PROMPTS[0]) == 0
    decision = router.route(PROMPTS[0])
    assert capsys.readouterr().out.split(maxsplit=2) == [decision.model, f"{decision.win_rate:.4f}", PROMPTS[0] + "\n"]


def test_json_lines_hold_what_route_gives_in_the_order_of_the_prompts(router, capsys):
    assert route("--json", *PROMPTS) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [{"prompt": prompt, **expected(router, prompt)} for prompt in PROMPTS]


@pytest.mark.parametrize(("threshold", "name"), [("0", "big"), ("1", "small")])
def test_threshold_and_labels_are_applied(threshold, name, capsys):
    assert route("--threshold", threshold, "--strong", "big", "--weak", "small", "Hello") == 0
    assert capsys.readouterr().out.split()[0] == name


def test_stdin_gives_a_line_per_line(router, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\r\n中"))
    assert route("--json", "-") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["prompt"] for row in rows] == ["one", "", "two", "中"]
    assert rows[3]["win_rate"] == router.win_rate("中")


def test_stdin_is_answered_before_it_ends():
    with process("route", "--router", TINY, "-", stdin=subprocess.PIPE) as child:
        child.stdin.write(b"What is 2 + 2?\n")
        child.stdin.flush()
        assert child.stdout.readline().split()[2:] == [b"1", *b"What is 2 + 2?".split()]
        child.stdin.close()
        assert child.wait(20) == 0


def write(path: Path, prompts: list[str]) -> Path:
    rows = [{"id": number, "prompt": prompt} for number, prompt in enumerate(prompts)]
    if path.suffix == ".txt":
        path.write_text("\n".join(" ".join(prompt.split()) for prompt in prompts), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["id", "prompt"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def read(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {**row, "win_rate": float(row["win_rate"])} if row["win_rate"] else row for row in csv.DictReader(file)
            ]
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


@pytest.mark.parametrize("source", [".txt", ".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("target", [".jsonl", ".csv", ".parquet"])
def test_files_stream_from_any_kind_to_any_kind(source, target, tmp_path, router, capsys, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 7)
    prompts = [f"{prompt} {number}" for number in range(10) for prompt in PROMPTS]
    out = tmp_path / f"out{target}"
    assert route(write(tmp_path / f"in{source}", prompts), "--out", out) == 0
    rows = read(out)
    if source == ".txt":
        prompts = [" ".join(prompt.split()) for prompt in prompts]
    assert [row["prompt"] for row in rows] == prompts
    assert [row["win_rate"] for row in rows] == [router.win_rate(prompt) for prompt in prompts]
    assert [row["model"] for row in rows] == [router.route(prompt).model for prompt in prompts]
    assert "50 rows to" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_other_columns_of_a_parquet_file_keep_their_types(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"prompt": ["a", "b"], "when": pa.array([1, 2], pa.timestamp("ms")), "tags": [["x"], None]}
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "in.parquet")
    assert route(tmp_path / "in.parquet", "--out", tmp_path / "out.parquet") == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(table.schema.names).equals(table)
    assert found.schema.names[3:] == ["model", "win_rate", "threshold"]


def test_bad_rows_are_told_with_file_and_row_and_stay_in_the_output(tmp_path, capsys):
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"prompt": "good"}\nnot json\n\n{"prompt": 7}\n{"text": "x"}\n[1]\n{"prompt": "\\ud800"}\n{"prompt": "too"}\n'
    )
    out = tmp_path / "out.jsonl"
    assert route(path, "--out", out) == 1
    complaints = capsys.readouterr().err.splitlines()
    for row, reason in [
        (2, "not JSON"),
        (4, "int, expected text"),
        (5, "no column"),
        (6, "a JSON array"),
        (7, "UTF-8"),
    ]:
        assert any(f"{path}: row {row}: " in line and reason in line for line in complaints), (row, complaints)
    assert complaints[-1] == "turnout: 5 rows could not be routed"
    rows = read(out)
    assert [row["win_rate"] is None for row in rows] == [False, True, True, True, True, True, False]
    assert rows[1]["unreadable"] == "not json"


def test_a_csv_record_with_other_fields_than_the_header_is_told(tmp_path, capsys):
    path = tmp_path / "in.csv"
    path.write_text("prompt,id\na,1\nb\nc,2,3\nd,4\n")
    assert route(path, "--out", tmp_path / "out.csv") == 1
    complaints = capsys.readouterr().err
    assert f"{path}: row 2: 1 fields, expected 2 (line 3)" in complaints
    assert f"{path}: row 3: 3 fields, expected 2 (line 4)" in complaints
    rows = read(tmp_path / "out.csv")
    assert [(row["prompt"], row["id"], bool(row["model"])) for row in rows] == [
        ("a", "1", True),
        ("b", "", False),
        ("c", "2,3", False),
        ("d", "4", True),
    ]


def test_bytes_that_are_no_utf_8_are_told_and_not_replaced(tmp_path, capsys):
    path = tmp_path / "in.txt"
    path.write_bytes(b"good\nb\xffd\ngood\n")
    assert route("--json", path) == 1
    captured = capsys.readouterr()
    assert f"{path}: row 2: " in captured.err
    assert [json.loads(line)["win_rate"] is None for line in captured.out.splitlines()] == [False, True, False]


def test_a_prompt_of_a_megabyte_passes_through_csv(tmp_path, router):
    prompt = "prove that " * 100_000
    assert route(write(tmp_path / "in.csv", [prompt]), "--out", tmp_path / "out.csv") == 0
    csv.field_size_limit(1 << 30)
    assert read(tmp_path / "out.csv")[0]["win_rate"] == router.win_rate(prompt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv"], "missing.csv"),
        (["--threshold", "2", "x"], "threshold is 2"),
        (["--threads", "-1", "x"], "--threads is -1"),
        ([], "nothing to route"),
        (["in.csv", "--column", "question"], "no column 'question'; its columns: id, prompt"),
        (["in.csv", "--out", "out.txt"], "expected one of .jsonl, .csv, .tsv, .parquet"),
        (["in.csv", "--out", "in.csv"], "is the file that is read"),
        (["in.csv", "Hello", "--out", "out.csv"], "one source, found 2"),
        (["taken.csv", "--out", "out.csv"], "has a column 'model' already"),
        (["--file", "in.xlsx"], "ends in '.xlsx'"),
        (["broken.parquet"], "broken.parquet"),
        (["\udcff"], "UTF-8"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("in.csv"), ["a"])
    Path("taken.csv").write_text("prompt,model\na,b\n")
    Path("in.xlsx").touch()
    Path("broken.parquet").write_bytes(b"PAR1 nonsense")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code = route(*arguments)
    captured = capsys.readouterr()
    if arguments == ["\udcff"]:  # A bad prompt is a bad row, as in a file.
        assert code == 1
    else:
        assert (code, captured.out) == (2, "")
        assert captured.err.startswith("turnout: error: ")
        assert captured.err.count("\n") == 1
    assert message in captured.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("text", ["٠.٥", "0_5", "30%", "0,5"])
def test_numbers_are_written_in_ascii(text, capsys):
    with pytest.raises(SystemExit) as caught:
        route("--threshold", text, "x")
    assert caught.value.code == 2
    assert "argument --threshold: invalid number value" in capsys.readouterr().err


def test_errors_of_the_system_name_the_file(tmp_path, capsys):
    assert main(["serve", "--config", str(tmp_path / "turnout.toml")]) == 2
    assert capsys.readouterr().err == f"turnout: error: {tmp_path / 'turnout.toml'}: no such file or directory\n"


def test_added_columns_take_a_prefix(tmp_path):
    (tmp_path / "in.csv").write_text("prompt,model\na,b\n")
    assert route(tmp_path / "in.csv", "--prefix", "turnout_", "--out", tmp_path / "out.jsonl") == 0
    assert list(read(tmp_path / "out.jsonl")[0]) == [
        "prompt",
        "model",
        "turnout_model",
        "turnout_win_rate",
        "turnout_threshold",
    ]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, capsys, monkeypatch):
    path = write(tmp_path / "in.parquet", ["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert route(path) == 2
    assert "pip install 'turnout[eval]'" in capsys.readouterr().err


def test_memory_stays_flat_over_a_long_file(tmp_path):
    """50 MB of prompts go through with far less than that beyond what the process needs for a few."""
    path = tmp_path / "in.jsonl"
    line = json.dumps({"prompt": "prove that " * 90}) + "\n"
    peak = "import resource, sys; from turnout.cli import main; code = main(sys.argv[1:]); " + (
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform != 'darwin' else 1 << 20))"
    )
    megabytes = []
    for lines in (100, 50_000):
        with path.open("w") as file:
            file.writelines(line for _ in range(lines))
        arguments = ["route", "--router", str(TINY), str(path), "--out", str(tmp_path / "out.jsonl")]
        done = subprocess.run([sys.executable, "-c", peak, *arguments], capture_output=True, text=True, check=True)
        code, used = map(int, done.stdout.split())
        assert code == 0
        megabytes.append(used)
    assert megabytes[1] - megabytes[0] < 40, megabytes


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    path = write(tmp_path / "in.txt", ["Hello"] * 200_000)
    with process("route", "--router", TINY, path) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(20) == 141


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_is_quiet():
    # A shell's background jobs ignore Ctrl-C, and so would their children.
    attend = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with process("route", "--router", TINY, "-", stdin=subprocess.PIPE, preexec_fn=attend) as child:
        child.stdin.write(b"Hello\n")
        child.stdin.flush()
        child.stdout.readline()
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
        assert child.stderr.read() == b""


def test_commands_import_nothing_heavy():
    loaded = "import sys; from turnout.cli import main; main(['inspect', sys.argv[1]]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded, str(TINY)], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    heavy = {"torch", "onnx", "onnxruntime", "pyarrow", "polars", "tokenizers", "transformers", "rich", "sklearn"}
    assert modules & heavy == set()


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"turnout {turnout.__version__}\n"


def test_every_command_explains_itself(capsys):
    for command in ("route", "inspect", "demo"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert f"usage: turnout {command}" in capsys.readouterr().out


def test_inspect_tells_files_pair_engine_and_provenance(capsys):
    assert main(["inspect", str(TINY)]) == 0
    text = capsys.readouterr().out
    router = turnout.load(TINY)
    for told in (router.artifact_hash, "native on cpu", router.strong, "model.onnx", "licence: Apache-2.0", "platt"):
        assert told in text


def test_inspect_json_holds_the_manifest(capsys):
    assert main(["inspect", str(TINY), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["manifest"] == json.loads((TINY / "router.json").read_text())
    assert (told["engine"], told["device"], told["unavailable"]) == ("native", "cpu", None)


def test_inspect_of_an_artifact_whose_engine_is_missing_tells_the_rest(monkeypatch):
    monkeypatch.setattr("turnout.engines.onnxruntime_library", lambda: "/nowhere/libonnxruntime.so")
    told = describe(str(TINY), engine="onnxruntime")
    assert told["engine"] is None
    assert told["unavailable"]
    assert told["manifest"]["name"] == "tiny"


def test_inspect_shows_quantiles_as_blocks_and_cuts_a_long_list_of_models(tmp_path, capsys):
    from turnout.artifact.manifest import rewrite_manifest

    manifest = json.loads((TINY / "router.json").read_text())
    manifest["thresholds"]["quantiles"] = [0.0, 0.25, 0.5, 0.75, 1.0]
    manifest["provenance"] = {
        "data": [{"name": "table", "rows": 3, "licence": "MIT", "note": "x" * 200}],
        "curve": [0.1] * 99,
    }
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes((TINY / name).read_bytes())
    (tmp_path / "README.md").write_text("card")
    rewrite_manifest(tmp_path, manifest)
    assert main(["inspect", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "0.000 ▁▃▅▇█ 1.000" in text
    assert "README.md" in text
    assert "curve: 99 numbers" in text
    assert "licence: MIT" in text


def test_inspect_of_a_missing_folder_is_one_line(capsys):
    assert main(["inspect", "/nowhere/at/all"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
