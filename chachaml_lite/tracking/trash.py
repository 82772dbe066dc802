"""The trash: hidden runs that can be restored or permanently removed (the contract, section 2, "Trash")."""

from __future__ import annotations

from ..errors import Conflict
from .names import quote_name
from .tracker import Tracker


def trash_run(tracker: Tracker, run_id: str) -> None:
    """Move a run to the trash. It stays complete, and references to it keep working.

    Repeating this changes nothing. Raises NotFound.
    """
    with tracker.lock_run(run_id) as run:
        if run.meta.get("deleted_at") is None:
            tracker.write_meta(run, deleted_at=tracker.clock.now_ms())


def restore_run(tracker: Tracker, run_id: str) -> None:
    """Restore a run from the trash. Repeating this changes nothing.

    Raises NotFound, Conflict (its experiment is deleted, so it would stay hidden).
    """
    with tracker.lock_run(run_id) as run:
        name = run.meta["experiment"]
        if tracker.descriptions.is_deleted(name):
            raise Conflict(f"the run's experiment {quote_name(name)} is deleted; restore that first")
        if run.meta.get("deleted_at") is not None:
            tracker.write_meta(run, deleted_at=None)


def remove_run(tracker: Tracker, run_id: str) -> int:
    """Remove a run and all its contents permanently; return the number of bytes freed.

    Raises NotFound, Conflict (a model version is pinned to it).
    """
    with tracker.lock_run(run_id):
        versions = tracker.registry.pinned_to(run_id)
        if versions:
            version_names = ", ".join(f"{version.name} {version.version}" for version in versions[:5])
            raise Conflict(f"model versions point to this run ({version_names}); it is needed for as long as they are")
        freed_bytes = tracker.store.contents.size(run_id)
        tracker.store.runs.remove(run_id)
        tracker.catalog.known(run_id)  # makes the catalog notice that the run is gone
        return freed_bytes
