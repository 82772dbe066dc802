"""Downloads: a run's folder as a zip, and all runs as a table (the contract, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

from ..tracker import Tracker


def open_run_zip(tracker: Tracker, run_id: str) -> BinaryIO:
    """Return a run's folder as a zip file, open for reading. A concurrent write is in it completely or not at all.

    Raises NotFound.
    """
    tracker.run(run_id)
    return tracker.store.zip_run(run_id, lambda: tracker.lock_run(run_id))


def collect_lines(tracker: Tracker, lines: Callable[[], Iterable[str]]) -> BinaryIO:
    """Return a file of lines of text, open for reading, with one line in memory at a time. Raises OSError."""

    def fill(file: BinaryIO) -> None:
        for line in lines():
            file.write(line.encode())

    return tracker.store.spool(fill)
