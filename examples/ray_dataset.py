"""Scores a table with Ray Data; each worker loads the router once.

Run: python examples/ray_dataset.py         (writes the folder routed)
"""

from pathlib import Path

import pyarrow.parquet as pq
import ray

from turnout.integrations.ray_data import route_dataset

QUESTIONS = Path(__file__).parent / "data" / "questions.csv"
OUT = Path("routed").absolute()

ray.init(num_cpus=2, include_dashboard=False)  # ray.init("auto") joins your cluster
table = ray.data.read_csv(str(QUESTIONS))  # or read_parquet of a folder
routed = route_dataset(table, column="question", router={"strong_share": 0.5}, concurrency=1)
routed.write_parquet(str(OUT))
ray.shutdown()

for counted in pq.read_table(OUT).column("model").value_counts().to_pylist():
    print(f"{counted['values']}: {counted['counts']} rows")
