"""Who may write a decision log: one server, and of its workers one at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from turnout._core import ConfigError
from turnout.serve.settings.tables import LogSettings


def lock_of(settings: LogSettings) -> PathLock | None:
    """Keeps other servers from a log; ``None`` where there is none, or where it is no regular file.

    Args:
        settings: Of ``[log]``.

    Raises:
        ConfigError: Another server has it.
        OSError: The file or folder cannot be written.
    """
    if not settings.path:
        return None
    path = Path(settings.path)
    if settings.format == "parquet":
        path.mkdir(parents=True, exist_ok=True)
        return PathLock(path / ".lock")
    return None if path.exists() and not path.is_file() else PathLock(path.with_name(f"{path.name}.lock"))


class Turns:
    """One worker at a time writes to a log.

    Args:
        group: Folder that the workers share; ``None`` for the only process.
    """

    def __init__(self, group: Path | None) -> None:
        self._file = (group / "log.turn").open("ab") if group is not None else None

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Waits for a turn; gives whether others have turns too. A worker that is killed in its turn ends it."""
        if self._file is None:
            yield False
            return
        import fcntl

        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield True
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class PathLock:
    """Keeps a second process from the same log, which would rotate or delete the first one's files.

    Args:
        path: A file beside the log. One that a killed process leaves is not locked.

    Raises:
        ConfigError: Another process has the lock.
    """

    def __init__(self, path: Path) -> None:
        import fcntl

        self._path = path
        while True:
            self._file = path.open("a+b")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                raise ConfigError(
                    f"[log] path: {path} is locked by another server, expected a separate path for each server"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(self._file.fileno())):
                    return
            self._file.close()  # Removed by its owner between the two calls.

    def release(self) -> None:
        """Ends the lock and removes the file."""
        self._path.unlink(missing_ok=True)
        self._file.close()
