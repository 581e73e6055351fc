"""The files in which workers keep their metrics. Those of a worker that has ended become part of one file for all such workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

#: In place of the process id in the names of files of workers that have ended; no process has it.
_ENDED = "0"


class MetricFiles:
    """The files of one server.

    Args:
        group: Folder that its workers share, ``PROMETHEUS_MULTIPROC_DIR``.
    """

    def __init__(self, group: Path) -> None:
        self._group = group

    def text(self) -> bytes:
        """The exposition format, of all workers: counts are summed, those of workers that have ended too."""
        together = CollectorRegistry()
        with self._locked(is_shared=True):
            MultiProcessCollector(together, path=str(self._group))  # type: ignore[no-untyped-call]
            return generate_latest(together)

    def retire(self, pid: int) -> None:
        """Removes the files of a worker that has ended: its gauges vanish, its counts go to the file of such workers.

        Args:
            pid: Its process id.
        """
        with self._locked(is_shared=False):
            mark_process_dead(pid, str(self._group))  # type: ignore[no-untyped-call]
            for own in self._group.glob(f"*_{pid}.db"):
                ended = own.with_name(own.name.removesuffix(f"_{pid}.db") + f"_{_ENDED}.db")
                self._add(own, ended)
                own.unlink()

    @staticmethod
    def _add(own: Path, ended: Path) -> None:
        # A worker may have been killed before it gave its file a size.
        files = [str(path) for path in (own, ended) if path.exists() and path.stat().st_size]
        merged = MultiProcessCollector.merge(files, accumulate=False)  # type: ignore[no-untyped-call]
        kept = MmapedDict(str(ended))  # type: ignore[no-untyped-call]
        try:
            for metric in merged:
                for sample in metric.samples:
                    labels = sample.labels
                    key = mmap_key(metric.name, sample.name, labels.keys(), labels.values(), metric.documentation)
                    kept.write_value(key, sample.value, 0.0)  # type: ignore[no-untyped-call]
        finally:
            kept.close()  # type: ignore[no-untyped-call]

    @contextmanager
    def _locked(self, *, is_shared: bool) -> Iterator[None]:
        """Keeps counts that are on their way from one file to another from being read in both, or in none."""
        import fcntl  # Windows has neither this module nor workers.

        lock = os.open(self._group / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
