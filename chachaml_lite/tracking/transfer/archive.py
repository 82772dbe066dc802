"""Downloads: a run's folder as a zip, all runs as a table (the contract, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

from ..tracker import Tracker


def zipped_run(tracker: Tracker, run_id: str) -> BinaryIO:
    """The run's folder as a zip file, open to read; nothing of a write that happens meanwhile, or all. NotFound."""
    tracker.run(run_id)
    return tracker.store.zip_run(run_id, lambda: tracker.locked_run(run_id))


def collected(tracker: Tracker, lines: Callable[[], Iterable[str]]) -> BinaryIO:
    """Lines of text in a file, open to read; in memory there is one line. Raises OSError."""

    def fill(file: BinaryIO) -> None:
        for line in lines():
            file.write(line.encode())

    return tracker.store.spool(fill)
