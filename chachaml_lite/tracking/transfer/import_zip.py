"""Import of runs from a zip as returned by GET /api/runs/:id/download: checked completely, then stored.

A new run appears in a single rename. A run that was imported before is merged with the stored one, since it may have
gone on where it came from (see `merge`). A run's zip contains no models.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO

from ...errors import Conflict, InvalidInput, translate_os_error
from ...store.incoming import Incoming
from ...store.zip_extract import BadZip
from ..names import quote_name
from ..tracker import Tracker
from .incoming_run import IncomingRun, load_run
from .merge import Merge


def import_runs(
    tracker: Tracker,
    stream: BinaryIO | Incoming,
    expected_bytes: int | None,
    *,
    overwrite: bool = False,
    max_file_bytes: int | None = None,
) -> dict[str, list[str]]:
    """Import the runs of a zip; return the ids of those that were "imported", "updated" and "unchanged".

    With `overwrite`, the zip wins where tags, notes and files unknown to this program differ. `max_file_bytes` limits
    the size of a single file. Raises InvalidInput, TooLarge, Conflict. Nothing is stored if it raises.
    """
    blobs = tracker.store.blobs
    try:
        upload = blobs.receive(stream, expected_bytes)
    except ValueError as fault:
        raise InvalidInput(f"the upload broke off: {fault}") from fault
    try:
        archive = tracker.store.unpack(upload, max_file_bytes)
    except BadZip as fault:
        raise InvalidInput(f"the zip is not imported: {fault}") from fault
    finally:
        blobs.discard(upload)
    try:
        if not archive.runs:
            raise InvalidInput("the zip holds no run", resolvable_by="download_run")
        return _land(tracker, [load_run(archive, run_id) for run_id in sorted(archive.runs)], overwrite=overwrite)
    finally:
        archive.discard()


def _land(tracker: Tracker, incoming: list[IncomingRun], *, overwrite: bool) -> dict[str, list[str]]:
    ids_by_result: dict[str, list[str]] = {"imported": [], "updated": [], "unchanged": []}
    acts: list[tuple[str, str, Callable[[], object]]] = []
    with ExitStack() as stack:
        # As in `create_run`, and in sorted order, so that two imports can't deadlock.
        for lower in sorted({run.id.lower() for run in incoming}):
            stack.enter_context(tracker.store.lock_id(lower))
        for run in incoming:
            stack.enter_context(tracker.store.lock_run(run.id))
        for run in incoming:
            existing = tracker.catalog.find_alike(run.id)
            if existing is None:
                _refuse_incomplete(run)
                acts.append(("imported", run.id, lambda run=run: _adopt(tracker, run)))  # type: ignore[misc]
                continue
            if existing != run.id:
                raise Conflict(f"run {run.id}: its id differs from that of the run {existing} only in case")
            existing_run = tracker.catalog.run(run.id)
            if existing_run is None:
                raise Conflict(f"run {run.id}: a damaged run has this id; repair or remove that one first")
            merge = Merge(tracker, existing_run, run, overwrite=overwrite)
            acts.append(("updated" if merge.changes else "unchanged", run.id, merge.apply))
        acts.sort(key=lambda act: act[0])  # new runs ("imported") first, since these can be rolled back
        _act(tracker, acts)
        for kind, run_id, _ in acts:
            ids_by_result[kind].append(run_id)
            tracker.catalog.run(run_id)  # makes the catalog notice what was renamed into place
    return ids_by_result


def _act(tracker: Tracker, acts: list[tuple[str, str, Callable[[], object]]]) -> None:
    """Perform the acts. After an error, remove the new runs; additions to existing runs stay, and are correct."""
    adopted = []
    try:
        for kind, run_id, act in acts:
            act()
            if kind == "imported":
                adopted.append(run_id)
    except (OSError, Conflict) as fault:
        for run_id in adopted:
            tracker.store.runs.remove(run_id)
            tracker.catalog.known(run_id)  # makes the catalog notice that the run is gone
        if isinstance(fault, OSError) and any(kind == "updated" for kind, _, _ in acts):
            why = translate_os_error(fault)
            text = f"{why.detail.partition(';')[0]}; a part of what the zip adds may be stored: send it again"
            raise type(why)(text) from fault
        raise


def _adopt(tracker: Tracker, run: IncomingRun) -> None:
    try:
        tracker.store.runs.adopt(run.id, run.folder)
    except FileExistsError as fault:
        raise Conflict(
            f"run {run.id}: a file or link that is no run has this id for a name; remove it first"
        ) from fault


def _refuse_incomplete(run: IncomingRun) -> None:
    for name in run.artifacts:
        if name not in run.blobs:
            raise InvalidInput(
                f"run {run.id}: the bytes of artifact {quote_name(name)} are not in the zip, and the run isn't here yet"
            )
