"""What is taken along (the contract, section 3): a run as a zip, its points as they lie, all runs as a table."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import BinaryIO

from ..store import layout
from ..store.reading import Damaged
from .records import META
from .tracker import Tracker


def zipped_run(tracker: Tracker, run_id: str) -> BinaryIO:
    """The run's folder as a zip file, open to read; nothing of a write that happens meanwhile, or all. NotFound."""
    tracker.run(run_id)
    return tracker.store.zip_run(run_id, lambda: tracker.locked_run(run_id))


def stored_points(tracker: Tracker, run_id: str) -> BinaryIO:
    """The run's metrics.jsonl as it lies, open to read; empty while there is none that can be read. NotFound."""
    tracker.run(run_id, (META,))
    try:
        return tracker.store.runs.open_lines(run_id, layout.METRICS)
    except (FileNotFoundError, Damaged):
        return io.BytesIO()  # of damage the catalog tells


def collected(tracker: Tracker, lines: Iterable[str]) -> BinaryIO:
    """Lines of text in a file, open to read; in memory there is one line. OSError."""
    file = tracker.store.scratch()
    try:
        for line in lines:
            file.write(line.encode())
    except BaseException:
        file.close()
        raise
    return file
