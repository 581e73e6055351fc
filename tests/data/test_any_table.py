"""Any table: every row is written, or one line explains why not."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout import InvalidInputError, RouterError
from turnout.data import BadRows, iter_prompts, open_writer, read_chunks
from turnout.data.prompts import read_prompts

ADDED = {"model": str, "win_rate": float}
ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.zst")

_LEAVES = st.sampled_from(
    [
        pa.null(), pa.bool_(), pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(),
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary(3), pa.date32(), pa.date64(),
        pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", tz="Europe/Berlin"), pa.timestamp("ms", tz="Nowhere/Land"),
        pa.time32("ms"), pa.time64("ns"), pa.duration("ns"), pa.decimal128(10, 2), pa.decimal256(50, 3),
        pa.dictionary(pa.int32(), pa.string()),
    ]
)  # fmt: skip
_TYPES = st.recursive(
    _LEAVES,
    lambda kinds: st.one_of(
        kinds.map(pa.list_),
        kinds.map(pa.large_list),
        kinds.map(lambda kind: pa.list_(kind, 2)),
        st.lists(kinds, max_size=2).map(lambda found: pa.struct([(f"f{i}", kind) for i, kind in enumerate(found)])),
        kinds.map(lambda kind: pa.map_(pa.string(), kind)),
    ),
    max_leaves=3,
)
_WHOLE = {"int8": 7, "int64": 63, "uint64": 64, "date32[day]": 31, "date64[ms]": 40, "time32[ms]": 26, "time64[ns]": 46}


@st.composite
def arrays(draw: st.DrawFn, kind: pa.DataType, rows: int) -> pa.Array:
    """An array of a type, edge values and nulls included."""
    valid = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), dtype=bool)
    types = pa.types
    if types.is_null(kind):
        return pa.nulls(rows)
    if types.is_struct(kind):
        if not kind.num_fields:
            return pa.array([{} if one else None for one in valid], kind)
        children = [draw(arrays(field.type, rows)) for field in kind]
        return pa.StructArray.from_arrays(children, [field.name for field in kind], mask=pa.array(~valid))
    if types.is_map(kind):
        items = draw(arrays(kind.item_type, rows))
        keys = pa.array([f"k{i}" for i in range(rows)])
        return pa.MapArray.from_arrays(pa.array(range(rows + 1), pa.int32()), keys, items)
    if types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(draw(arrays(kind.value_type, 2 * rows)), 2)
    if types.is_nested(kind):
        values = draw(arrays(kind.value_type, rows))
        made = pa.LargeListArray if types.is_large_list(kind) else pa.ListArray
        offsets = pa.array(range(rows + 1), pa.int64() if types.is_large_list(kind) else pa.int32())
        return made.from_arrays(offsets, values)
    if types.is_dictionary(kind):
        return draw(arrays(pa.string(), rows)).dictionary_encode()
    if types.is_decimal(kind):
        whole = draw(st.lists(st.integers(-(10**9), 10**9), min_size=rows, max_size=rows))
        values = [Decimal(one).scaleb(-2) if is_valid else None for one, is_valid in zip(whole, valid, strict=True)]
        return pa.array(values, kind)
    if types.is_boolean(kind):
        return pa.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), mask=~valid)
    if types.is_floating(kind):
        numbers = draw(st.lists(st.floats(width=16), min_size=rows, max_size=rows))
        return pa.array(np.array(numbers, dtype=kind.to_pandas_dtype()), kind, mask=~valid)
    if types.is_integer(kind) or types.is_temporal(kind):
        bits = _WHOLE.get(str(kind), 63)
        low = 0 if str(kind) in ("uint64", "time32[ms]", "time64[ns]") else -(2**bits)
        numbers = draw(st.lists(st.integers(low, 2**bits - 1), min_size=rows, max_size=rows))
        if types.is_integer(kind):
            return pa.array(numbers, kind, mask=~valid)
        storage = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(numbers, storage, mask=~valid).view(kind)
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        texts = draw(
            st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), min_size=rows, max_size=rows)
        )
        return pa.array([text if one else None for text, one in zip(texts, valid, strict=True)], kind)
    size = kind.byte_width if types.is_fixed_size_binary(kind) else None
    contents = draw(st.lists(st.binary(min_size=size or 0, max_size=size or 5), min_size=rows, max_size=rows))
    return pa.array([content if one else None for content, one in zip(contents, valid, strict=True)], kind)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 4))
    columns = [draw(arrays(kind, rows)) for kind in draw(st.lists(_TYPES, min_size=1, max_size=3))]
    prompts = pa.array([f"prompt {row}" for row in range(rows)], pa.string())
    return pa.table([prompts, *columns], names=["prompt", *(f"c{i}" for i in range(len(columns)))])


def copy(source: Path, target: Path) -> int:
    """Rows that went from one file to the other."""
    rows = 0
    with open_writer(target, ADDED) as write:
        for chunk, prompts in read_prompts(source):
            write(chunk, {"model": ["m"] * len(chunk), "win_rate": [0.5] * len(chunk)})
            rows += len(prompts)
    return rows


def refusal(run: Callable[[], object]) -> str | None:
    """The error's message if the user's table is refused; anything but one of turnout's errors fails the test."""
    try:
        run()
    except RouterError as error:
        return str(error)
    return None


def count(path: Path) -> int:
    return sum(map(len, read_chunks(path)))


@settings(max_examples=120)
@given(table=tables(), ending=st.sampled_from(ENDINGS))
def test_every_arrow_table_is_copied_or_refused_in_one_line(table, ending, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    try:
        pa.parquet.write_table(table, folder / "in.parquet")
    except pa.ArrowException:  # parquet lacks the type
        return
    rows = []
    told = refusal(lambda: rows.append(copy(folder / "in.parquet", folder / f"out{ending}")))
    if told is not None:
        assert len(told.splitlines()) == 1
        assert "in.parquet" in told or "out" in told
        return
    assert rows == [table.num_rows]
    assert count(folder / f"out{ending}") == table.num_rows
    if ending == ".parquet":
        written = pa.parquet.read_table(folder / "out.parquet")
        assert written.column_names == [*table.column_names, *ADDED]
        assert written.schema.field("c0").type == pa.parquet.read_schema(folder / "in.parquet").field("c0").type


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4)),
    lambda values: st.one_of(st.lists(values, max_size=2), st.dictionaries(st.text(max_size=2), values, max_size=2)),
    max_leaves=4,
)


@settings(max_examples=120)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["prompt", "a", "b"]), _JSON, max_size=3), min_size=1, max_size=4),
    ending=st.sampled_from(ENDINGS),
    source=st.sampled_from([".jsonl", ".json", ".jsonl.gz"]),
)
def test_every_json_table_is_copied_or_refused_in_one_line(rows, ending, source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    path = folder / f"in{source}"
    text = json.dumps(rows) if source == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    with gzip.open(path, "wb") if source.endswith(".gz") else path.open("wb") as file:
        file.write(text.encode())
    told = refusal(lambda: copy(path, folder / f"out{ending}"))
    if told is not None:
        assert len(told.splitlines()) == 1
        return
    if ending == ".jsonl":
        written = [json.loads(line, parse_constant=pytest.fail) for line in (folder / "out.jsonl").open()]
        assert [set(row) for row in written] == [{*row, *ADDED} for row in rows]
    # A row of CSV that is empty but for the added columns is still a row.
    assert count(folder / f"out{ending}") == len(rows)


@settings(max_examples=200)
@given(
    content=st.binary(max_size=200),
    ending=st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".txt", ".csv.gz", ".parquet"]),
)
def test_any_bytes_under_any_ending_are_read_or_refused_in_one_line(content, ending, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / f"in{ending}"
    path.write_bytes(content)

    def read() -> None:
        for chunk, prompts in read_prompts(path):
            assert len(prompts) == len(chunk)

    told = refusal(read)
    if told is not None:
        assert str(path) in told
        assert len(told.splitlines()) == 1


def test_types_of_a_parquet_file_stay_and_text_shows_every_digit(tmp_path):
    table = pa.table(
        {
            "prompt": ["a"],
            "time": pa.array([1704067200123456789], pa.timestamp("ns")),
            "id": pa.array([2**64 - 1], pa.uint64()),
            "price": pa.array([Decimal("12345.00")], pa.decimal128(20, 2)),
            "raw": pa.array([b"\xff\x01"], pa.large_binary()),
            "score": pa.array([float("nan")]),
        }
    )
    pa.parquet.write_table(table, tmp_path / "in.parquet")
    for ending in (".parquet", ".jsonl", ".csv"):
        assert copy(tmp_path / "in.parquet", tmp_path / f"out{ending}") == 1
    written = pa.parquet.read_table(tmp_path / "out.parquet")
    assert [written.schema.field(name).type for name in table.column_names] == table.schema.types
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["time"] == "2024-01-01 00:00:00.123456789"
    assert (row["id"], row["price"], row["score"]) == (2**64 - 1, "12345.00", None)
    with (tmp_path / "out.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        (record,) = csv.DictReader(file)
    assert record["raw"].encode("utf-8", "surrogateescape") == b"\xff\x01"


def test_nul_characters_are_written_to_csv_or_refused_in_one_line(tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": "a\0b"}) + "\n")
    told = refusal(lambda: copy(tmp_path / "in.jsonl", tmp_path / "out.csv"))
    if sys.version_info >= (3, 11):
        assert told is None
        ((chunk, prompts),) = read_prompts(tmp_path / "out.csv")
        assert (len(chunk), prompts) == (1, ["a\0b"])
    else:
        assert told is not None
        assert "NUL" in told


def test_rows_that_parquet_has_no_type_for_are_text(tmp_path):
    rows = [
        {"prompt": "a", "id": 12345678901234567890, "more": {}, "huge": 2**70, "mixed": 1},
        {"prompt": "caf\ud83d", "mixed": "x"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert copy(tmp_path / "in.jsonl", tmp_path / "out.parquet") == 2
    first, second = pa.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert (first["id"], first["more"], first["huge"], first["mixed"]) == (12345678901234567890, "{}", str(2**70), "1")
    assert (second["prompt"], second["mixed"]) == ("caf\\ud83d", "x")


@pytest.mark.parametrize(
    ("first", "later"),
    [(1, 1.5), (0.5, 2**60 + 1), ({"a": 1}, {"a": 1, "b": 2}), ([1], [0.5]), (1, True), (True, 1), ("x", 1)],
)
def test_later_rows_lose_nothing_to_the_types_of_the_first(first, later, tmp_path, monkeypatch):
    monkeypatch.setattr("turnout.data.chunks.CHUNK_ROWS", 2)
    rows = [{"prompt": "a", "x": first}, {"prompt": "b", "x": None}, {"prompt": "c", "x": later}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = refusal(lambda: copy(tmp_path / "in.jsonl", tmp_path / "out.parquet"))
    if isinstance(first, str):
        assert pa.parquet.read_table(tmp_path / "out.parquet")["x"].to_pylist() == ["x", None, "1"]
        return
    assert told is not None
    assert "rows 3 to 3 do not match the types of earlier rows, write jsonl" in told
    assert not (tmp_path / "out.parquet").exists()


def test_columns_with_any_name_are_written(tmp_path):
    row = {"prompt": "a", "\ud83d": {"\ud83d": 1.0}, "": 2}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    for ending in (".parquet", ".csv", ".jsonl"):
        assert copy(tmp_path / "in.jsonl", tmp_path / f"out{ending}") == 1
    (written,) = pa.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert (written["\\ud83d"], written[""]) == ('{"\\ud83d": 1.0}', 2)


def test_a_row_that_could_not_be_read_leaves_the_others_their_columns(tmp_path):
    (tmp_path / "in.jsonl").write_text('nonsense\n{"prompt": "a"}\n')
    for ending in (".csv", ".parquet"):
        assert copy(tmp_path / "in.jsonl", tmp_path / f"out{ending}") == 2
        (chunk,) = read_chunks(tmp_path / f"out{ending}")
        assert chunk.names == ["prompt", *ADDED]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".txt"])
@pytest.mark.parametrize("compression", ["", ".gz"])
def test_text_formats_need_no_pyarrow(ending, compression, tmp_path):
    rows = {
        ".csv": "prompt,n\na,1\n",
        ".tsv": "prompt\tn\na\t1\n",
        ".jsonl": '{"prompt":"a","n":1}\n',
        ".json": '[{"prompt":"a","n":1}]',
        ".txt": "a\n",
    }
    path = tmp_path / f"in{ending}{compression}"
    with gzip.open(path, "wt") if compression else path.open("w") as file:
        file.write(rows[ending])
    code = (
        "import sys; sys.modules['pyarrow'] = sys.modules['pandas'] = None\n"
        "from turnout.data import BadRows, iter_prompts\n"
        "print([prompt for chunk in iter_prompts(sys.argv[1], bad=BadRows()) for prompt in chunk])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "['a']\n"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfprompt,a\nx,1\n", "prompt,a\nx,1\n".encode("utf-16")])
def test_byte_order_marks_are_left_out_or_name_the_encoding(content, tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    if content.startswith(b"\xef"):
        assert prompts_of(path) == ["x"]
        return
    with pytest.raises(InvalidInputError, match=r"in\.csv is encoded in UTF-16, expected UTF-8"):
        prompts_of(path)


def test_empty_lines_before_the_header_are_no_header(tmp_path):
    (tmp_path / "in.csv").write_text("\n\nprompt,a\nx,1\n")
    assert prompts_of(tmp_path / "in.csv") == ["x"]


def test_a_byte_order_mark_is_no_part_of_the_first_prompt(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    assert prompts_of(path) == ["one", "two"]


def prompts_of(path: Path, **options: Any) -> list[str]:
    return [prompt for chunk in iter_prompts(path, bad=BadRows(), **options) for prompt in chunk]


def test_doubled_columns_a_missing_column_and_an_empty_table_name_the_file_and_the_columns(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,prompt\nx,y\n")
    with pytest.raises(InvalidInputError, match=r"a\.csv: duplicate column 'prompt'"):
        prompts_of(tmp_path / "a.csv")
    for name, content in (
        ("b.csv", "question,n\n"),
        ("b.jsonl", '{"question": "x", "n": 1}\n'),
        ("b.json", '[{"question": "x", "n": 1}]'),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(
            InvalidInputError,
            match=rf"{name} has no column 'prompt'; its columns: question, n; choose one with --column",
        ):
            prompts_of(tmp_path / name)
    assert prompts_of(tmp_path / "b.json", column="question") == ["x"]


def test_chats_are_read_from_messages_and_from_the_column_of_prompts(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": chat}) + "\n")
    pa.parquet.write_table(pa.table({"prompt": [chat]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("messages\n" + '"' + json.dumps(chat).replace('"', '""') + '"\n')
    for name in ("a.jsonl", "b.parquet", "c.csv"):
        assert prompts_of(tmp_path / name) == ["What is 2 + 2?"], name
    bad = BadRows()
    (tmp_path / "d.jsonl").write_text(
        '{"messages": [{"role": "user", "content": 7}]}\n{"messages": "Hi"}\n' + json.dumps({"messages": chat})
    )
    assert [prompt for chunk in iter_prompts(tmp_path / "d.jsonl", bad=bad) for prompt in chunk] == ["What is 2 + 2?"]
    assert [row.row for row in bad.shown] == [1, 2]


def test_json_arrays_of_any_length_are_read_a_row_at_a_time(tmp_path, monkeypatch):
    from turnout.data import text

    monkeypatch.setattr(text, "_BLOCK", 64)
    rows = [{"prompt": f"prompt {row} " + 'é"]},{ ' * row, "n": [row, {"x": None}]} for row in range(60)]
    for layout in (json.dumps(rows), json.dumps(rows, indent=2), "\n".join(map(json.dumps, rows))):
        (tmp_path / "in.json").write_text(layout)
        assert prompts_of(tmp_path / "in.json") == [row["prompt"] for row in rows]
    (tmp_path / "in.json").write_text(json.dumps(rows)[:-5])
    with pytest.raises(InvalidInputError, match=r"in\.json: row 60: not JSON"):
        prompts_of(tmp_path / "in.json")
    for more in ("x", " " * 100 + json.dumps(rows)):
        (tmp_path / "in.json").write_text(json.dumps(rows) + more)
        with pytest.raises(InvalidInputError, match=r"in\.json: row 61: not JSON: text after the end of the array"):
            prompts_of(tmp_path / "in.json")
    (tmp_path / "in.json").write_text(json.dumps(rows) + "\n" * 200)
    assert len(prompts_of(tmp_path / "in.json")) == 60
