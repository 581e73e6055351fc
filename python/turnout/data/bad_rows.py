"""Counts invalid rows and reports the first of each file with row number and reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from turnout._core import InvalidInputError

#: Largest share of invalid rows in a file for training.
MAX_SHARE = 0.05


@dataclass(frozen=True)
class BadRow:
    """An invalid row.

    Attributes:
        file: The file.
        row: Number of the row, the first row of data being 1 (the header of a CSV file is not counted, a line of JSON is a row).
        reason: What was expected and found.

    Example:
        >>> print(BadRow("table.csv", 7, "prompt is missing"))
        table.csv, row 7: prompt is missing
    """

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}"


@dataclass
class BadRows:
    """Collects invalid rows: keeps the first few of each file and counts all.

    Attributes:
        keep: Number of invalid rows to keep per file.
        max_share: Largest share of invalid rows in a file, in ``[0, 1]``; ``None`` accepts any.
        shown: The kept rows.
        counts: Number of invalid rows by file.
        rows: Number of all rows by file.

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
        """Adds an invalid row.

        Args:
            file: Name of the file.
            row: Number of the row, from 1.
            reason: What was expected and found.
        """
        if self.counts[file] < self.keep:
            self.shown.append(BadRow(file, row, reason))
        self.counts[file] += 1

    def check(self, file: str) -> None:
        """Checks the share of invalid rows of a file that has been read completely.

        Args:
            file: Name of the file.

        Raises:
            InvalidInputError: The share is above :attr:`max_share`; the message has the first invalid rows.
        """
        count, rows = self.counts[file], self.rows[file]
        if self.max_share is not None and count > self.max_share * rows:
            raise InvalidInputError(
                f"{file}: {count:,} of {rows:,} rows are bad ({count / rows:.0%}), expected at most {self.max_share:.0%}; "
                f"--allow-bad-rows leaves them out: {self.first(file)}"
            )

    def first(self, file: str) -> str:
        """Describes the first invalid rows of a file.

        Args:
            file: Name of the file.

        Returns:
            One line with row numbers and reasons.
        """
        shown = "; ".join(f"row {one.row}: {one.reason}" for one in self.shown if one.file == file)
        more = self.counts[file] - self.keep
        return shown + (f"; and {more:,} more" if more > 0 else "")

    @property
    def count(self) -> int:
        """Number of invalid rows in all files."""
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
