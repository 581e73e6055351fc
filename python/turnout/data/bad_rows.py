"""Rows that could not be used: counted, and shown with file, row and reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BadRow:
    """One row that could not be used.

    Attributes:
        file: The file.
        row: Number of the row, the first row of data being 1 (a CSV header is not counted, a JSON line is a row).
        reason: What was expected and found.
    """

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}"


@dataclass
class BadRows:
    """Collects rows that could not be used; keeps the first few of each file in full and counts all.

    Attributes:
        keep: Rows kept in full per file.
        shown: The rows kept.
        counts: All bad rows by file.

    Example:
        >>> bad = BadRows()
        >>> bad.add("table.csv", 7, "prompt is missing")
        >>> print(bad)
        1 bad row in table.csv
          table.csv, row 7: prompt is missing
    """

    keep: int = 5
    shown: list[BadRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, file: str, row: int, reason: str) -> None:
        """Counts a row."""
        if self.counts[file] < self.keep:
            self.shown.append(BadRow(file, row, reason))
        self.counts[file] += 1

    @property
    def count(self) -> int:
        """All bad rows."""
        return self.counts.total()

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        lines = []
        for file, count in self.counts.items():
            lines.append(f"{count} bad row{'s' if count > 1 else ''} in {file}")
            lines += [f"  {row}" for row in self.shown if row.file == file]
            if count > self.keep:
                lines.append(f"  and {count - self.keep} more")
        return "\n".join(lines) or "no bad rows"
