"""Ray Data: scores prompt tables larger than one machine, with one router per worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turnout._core import InvalidInputError, NoFeasibleModelError
from turnout.conversation import judged_text
from turnout.extras import require
from turnout.pool.router import PoolRouter
from turnout.router import load

require("ray", "pyarrow", "ray", purpose=__name__)

import pyarrow as pa
import ray.data


class RoutePrompts:
    """What ``Dataset.map_batches`` runs on each worker (``batch_format="pyarrow"``): loads the router once, then adds columns.

    Args:
        artifact: Artifact folder, at the same path on every machine; by default the router that ships with the package.
        column: Column of the prompts.
        prefix: Prefix of the names of the added columns.
        router: Options of :func:`turnout.load`, ``pool`` among them.
    """

    def __init__(
        self,
        artifact: str | Path | None = None,
        *,
        column: str = "prompt",
        prefix: str = "",
        router: dict[str, Any] | None = None,
    ) -> None:
        self._router = load(artifact, **(router or {}))
        numbers = ("success", "expected_cost") if isinstance(self._router, PoolRouter) else ("win_rate", "threshold")
        self._columns = {"model": pa.string(), **dict.fromkeys(numbers, pa.float64())}
        self._column = column
        self._prefix = prefix

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Adds ``model`` (string), ``win_rate`` and ``threshold`` (float64), and ``routing_error`` (string) to a table.

        With a pool ``success`` and ``expected_cost`` take the place of ``win_rate`` and ``threshold``. A row that cannot be routed (not text,
        not valid Unicode, or no model of the pool may serve it) has nulls and the reason in ``routing_error``; all others have null there.

        Raises:
            InvalidInputError: The table lacks the column, or has one of the added ones already.
        """
        if self._column not in batch.column_names:
            raise InvalidInputError(f"no column {self._column!r}; the table has {', '.join(batch.column_names)}")
        names = {name: self._prefix + name for name in (*self._columns, "routing_error")}
        if taken := sorted(set(names.values()) & set(batch.column_names)):
            raise InvalidInputError(f"the table has a column {taken[0]!r} already; choose other names with a prefix")
        prompts, errors = _texts(batch.column(self._column))
        valid = [row for row, error in enumerate(errors) if error is None]
        decisions: list[Any] = [None] * len(prompts)
        texts = [judged_text(prompts[row]) for row in valid]
        try:
            for row, decision in zip(valid, self._router.route_batch(texts), strict=True):
                decisions[row] = decision
        except NoFeasibleModelError:
            # It is about one row: each by itself then.
            for row, text in zip(valid, texts, strict=True):
                try:
                    decisions[row] = self._router.route(text)
                except NoFeasibleModelError as error:
                    errors[row] = str(error)
        for name, type_ in self._columns.items():
            values = [None if decision is None else getattr(decision, name) for decision in decisions]
            batch = batch.append_column(names[name], pa.array(values, type_))
        return batch.append_column(names["routing_error"], pa.array(errors, pa.string()))


def _texts(column: pa.ChunkedArray) -> tuple[list[str], list[str | None]]:
    """Prompts, and the error of each or ``None``; Arrow does not guarantee that its strings are valid UTF-8."""
    prompts: list[str] = []
    errors: list[str | None] = []
    for scalar in column:
        try:
            value = scalar.as_py()
        except UnicodeDecodeError as error:
            prompts.append("")
            errors.append(f"not valid UTF-8: {error}")
            continue
        is_text = isinstance(value, str)
        prompts.append(value if is_text else "")
        errors.append(None if is_text else f"expected text, found {'null' if value is None else scalar.type}")
    return prompts, errors


def route_dataset(
    dataset: ray.data.Dataset,
    artifact: str | Path | None = None,
    *,
    column: str = "prompt",
    prefix: str = "",
    router: dict[str, Any] | None = None,
    **options: Any,
) -> ray.data.Dataset:
    """Adds a decision to every row of a dataset. Decisions are computed when the dataset is consumed.

    Args:
        dataset: Rows with a column of prompts.
        artifact: Artifact folder, at the same path on every machine; by default the router that ships with the package.
        column: Column of the prompts.
        prefix: Prefix of the names of the added columns.
        router: Options of :func:`turnout.load`, ``pool`` among them; ``threads`` is 1 by default, because Ray counts CPUs.
        **options: Options of ``Dataset.map_batches``: ``concurrency`` (workers: a number or a range), ``batch_size``, ``num_cpus``, ...

    Returns:
        The dataset with the columns that :class:`RoutePrompts` adds.

    Example::

        import ray

        routed = route_dataset(ray.data.read_parquet("prompts/"), concurrency=4)
        routed.write_parquet("routed/")
    """
    constructor = {
        "artifact": None if artifact is None else str(artifact),
        "column": column,
        "prefix": prefix,
        "router": {"threads": 1, **(router or {})},
    }
    return dataset.map_batches(
        RoutePrompts, fn_constructor_kwargs=constructor, batch_format="pyarrow", zero_copy_batch=True, **options
    )
