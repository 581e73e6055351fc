"""Adds a decision to every row of a parquet file, one chunk at a time, so the file may be larger than memory.

Run: python examples/batch_parquet.py questions.parquet decisions.parquet
Without arguments it makes a small `questions.parquet` from examples/data first.
(`turnout route questions.parquet --column question --out decisions.parquet` does the same from a shell.)
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

import turnout

if len(sys.argv) == 3:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
else:
    source, target = Path("questions.parquet"), Path("decisions.parquet")
    pq.write_table(pyarrow.csv.read_csv(Path(__file__).parent / "data" / "questions.csv"), source)

router = turnout.load()
table = pq.ParquetFile(source)
schema = table.schema_arrow.append(pa.field("model", pa.string())).append(pa.field("win_rate", pa.float32()))

rows = strong = 0
with pq.ParquetWriter(target, schema) as writer:
    for batch in table.iter_batches(batch_size=10_000):
        decisions = router.route_batch(batch.column("question").to_pylist())  # all cores, one call
        models = pa.array([decision.model for decision in decisions], pa.string())
        win_rates = pa.array([decision.win_rate for decision in decisions], pa.float32())
        writer.write_batch(pa.record_batch([*batch.columns, models, win_rates], schema=schema))
        rows += len(decisions)
        strong += sum(decision.is_strong for decision in decisions)

print(f"{target}: {rows} rows, {strong / rows:.0%} to {router.strong}")
