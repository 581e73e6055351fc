"""Rows that could not be used: counted, and shown with file, row and reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from turnout._core import InvalidInputError

#: Share of bad rows up to which a file is used to train on.
MAX_SHARE = 0.05


@dataclass(frozen=True)
class BadRow:
    """One row that could not be used.

    Attributes:
        file: The file.
        row: Number of the row, the first row of data being 1 (the header of a CSV file is not counted, a line of JSON is a row).
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
        max_share: Share of bad rows from which on a file is an error; ``None`` takes any file.
        shown: The rows kept.
        counts: Bad rows by file.
        rows: All rows by file.

    Example:
        >>> bad = BadRows()
        >>> bad.add("table.csv", 7, "prompt is missing")
        >>> print(bad)
        1 bad row in table.csv
          row 7: prompt is missing
    """

    keep: int = 5
    max_share: float | None = None
    shown: list[BadRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def add(self, file: str, row: int, reason: str) -> None:
        """Counts a row."""
        if self.counts[file] < self.keep:
            self.shown.append(BadRow(file, row, reason))
        self.counts[file] += 1

    def check(self, file: str) -> None:
        """Refuses a file with too many bad rows, when all of it is read.

        Raises:
            InvalidInputError: The share of bad rows is above :attr:`max_share`; names the first of them.
        """
        count, rows = self.counts[file], self.rows[file]
        if self.max_share is not None and count > self.max_share * rows:
            raise InvalidInputError(
                f"{file}: {count:,} of {rows:,} rows are bad ({count / rows:.0%}), expected at most {self.max_share:.0%}; "
                f"--allow-bad-rows leaves them out: {self.first(file)}"
            )

    def first(self, file: str) -> str:
        """The first bad rows of a file on one line."""
        shown = "; ".join(f"row {one.row}: {one.reason}" for one in self.shown if one.file == file)
        more = self.counts[file] - self.keep
        return shown + (f"; and {more:,} more" if more > 0 else "")

    @property
    def count(self) -> int:
        """All bad rows."""
        return self.counts.total()

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        lines = []
        for file, count in self.counts.items():
            of = f" of {self.rows[file]:,}" if self.rows[file] else ""
            lines.append(f"{count:,}{of} bad row{'s' if count > 1 else ''} in {file}")
            lines += [f"  row {one.row}: {one.reason}" for one in self.shown if one.file == file]
            if count > self.keep:
                lines.append(f"  and {count - self.keep:,} more")
        return "\n".join(lines) or "no bad rows"
