"""Records of data files for the cards of artifacts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from turnout.data.chunks import read_chunks
from turnout.data.formats import TABLES, format_of, require_pyarrow


def content_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_record(path: Path) -> dict[str, Any]:
    """Name, rows and hash of a data file.

    Args:
        path: A table; or another file, whose rows are not counted.

    Returns:
        ``file`` (its name without folders), ``rows`` (``None`` for other files) and ``sha256``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "prompts.csv")
        ...     _ = path.write_text("prompt\\nHi\\nWhy?\\n")
        ...     file_record(path)["rows"]
        2
    """
    ending, compression = format_of(path)
    rows = None
    if ending == ".parquet" and not compression:
        require_pyarrow(path, "parquet")
        from turnout.data.arrow import parquet_rows

        rows = parquet_rows(path)
    elif ending in TABLES:
        rows = sum(map(len, read_chunks(path)))
    return {"file": path.name, "rows": rows, "sha256": content_hash(path)}
