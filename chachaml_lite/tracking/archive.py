"""A run to take along: its folder as a zip (the contract, section 3, GET /api/runs/:id/download)."""

from __future__ import annotations

from typing import BinaryIO

from .tracker import Tracker


def zipped_run(tracker: Tracker, run_id: str) -> BinaryIO:
    """The run's folder as a zip file, open to read; nothing of a write that happens meanwhile, or all. NotFound."""
    tracker.run(run_id)
    return tracker.store.zip_run(run_id, lambda: tracker.locked_run(run_id))
