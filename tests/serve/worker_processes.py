"""Worker processes of a server that a test started, as the kernel and the metrics show them."""

from __future__ import annotations

import re
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path


class WorkerProcesses(ABC):
    """What tests ask of a process with ``--workers``; needs Linux."""

    child: subprocess.Popen[bytes]

    @abstractmethod
    def metrics(self) -> str:
        """Of all workers."""

    def pids(self) -> set[int]:
        """Of the workers."""
        own = self.child.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}

    def deciding(self) -> set[int]:
        """Ids of the workers that have decided."""
        return {int(pid) for pid in re.findall(r'turnout_strong_share{pid="(\d+)"', self.metrics())}
