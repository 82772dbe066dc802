"""Runs: create, end, resume and change them, and convert them to JSON (the contract, sections 2 and 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import strict_json
from ..errors import Conflict, InvalidInput
from . import model_listing
from .artifacts import list_artifacts
from .environment import check_environment
from .index.run_entry import Run
from .index.run_parts import SUMMARY, keep_summary
from .names import check_name, check_run_id, quote_name
from .params import same_json
from .series.summary import number_to_json
from .tags import TagValue, check_tags, merge_tags
from .tracker import Tracker

ENDINGS = ("completed", "failed")
#: Fields that the client sets and may change later.
CHANGEABLE = ("name", "created_by", "parent_run_id")
#: Enough for a traceback; a log belongs in an artifact.
MAX_ERROR_CHARACTERS = 100_000


@dataclass(frozen=True)
class NewRun:
    """The fields of a new run as sent by a client, checked on construction. Raises InvalidInput."""

    experiment: str
    name: str | None = None
    tags: dict[str, TagValue | None] = field(default_factory=dict)
    parent_run_id: str | None = None
    created_by: str | None = None
    id: str | None = None
    #: In ms since 1970; None means now. Like the note, it is not part of the fingerprint.
    start_time: int | None = None
    note: str | None = None
    env: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_name("experiment", self.experiment)
        if self.name is not None:
            check_name("name", self.name)
        check_tags(self.tags)
        if self.parent_run_id is not None:
            check_run_id("parent_run_id", self.parent_run_id)
        if self.created_by is not None:
            check_name("created_by", self.created_by)
        if self.id is not None:
            check_run_id("id", self.id)
        if self.env is not None:
            check_environment(self.env)

    def fingerprint(self) -> str:
        """Return a hash that a retried POST shares with the first. It leaves out the environment, which may change."""
        body = [self.experiment, self.name, sorted(_set(self.tags).items()), self.parent_run_id, self.created_by]
        return hashlib.sha256(strict_json.dumps(body).encode()).hexdigest()


def _set(tags: dict[str, TagValue | None]) -> dict[str, TagValue]:
    return {key: value for key, value in tags.items() if value is not None}


def create_run(tracker: Tracker, new: NewRun) -> dict[str, Any]:
    """Start a run and return it in the API's form; return the existing run for a repeated id with the same body.

    Raises Conflict if the id is another run's or differs from one only in case, or the experiment is deleted.
    """
    made_id, start_time = tracker.clock.new_run()
    run_id = new.id or made_id
    # Lock the id in all its spellings, since ids that differ only in case compete for the same name.
    with tracker.store.lock_id(run_id):
        if (existing := _existing(tracker, run_id, new)) is not None:
            return existing
        if tracker.descriptions.is_deleted(new.experiment):
            raise Conflict(
                f"the experiment {quote_name(new.experiment)} is deleted; restore it first, or choose another"
            )
        meta: dict[str, Any] = {
            "id": run_id,
            "experiment": new.experiment,
            "name": new.name,
            "status": "running",
            "start_time": start_time if new.start_time is None else new.start_time,
            "end_time": None,
            "error": None,
            "tags": _set(new.tags),
            "note": new.note or None,
            "datasets": [],
            "parent_run_id": new.parent_run_id,
            "created_by": new.created_by,
        }
        if new.env is not None:
            meta["env"] = new.env
        if new.id is not None:
            meta["request_sha256"] = new.fingerprint()
        try:
            tracker.store.runs.create(run_id, meta)
        except FileExistsError as fault:
            if (existing := _existing(tracker, run_id, new)) is not None:  # it was copied in just now
                return existing
            raise Conflict("a file or link that is no run has this id for a name; choose another id") from fault
        return run_to_json(tracker.run(run_id))


def _existing(tracker: Tracker, run_id: str, new: NewRun) -> dict[str, Any] | None:
    """Return an existing run with this id, or None. Raises Conflict if it is another run or its id differs in case."""
    existing = tracker.catalog.find_alike(run_id)
    if existing is None:
        return None
    _refuse_another(tracker, existing, new)
    return run_to_json(tracker.run(existing))


def _refuse_another(tracker: Tracker, existing: str, new: NewRun) -> None:
    if existing != new.id:
        raise Conflict(f"the id differs from that of the run {existing} only in case; choose another id")
    run = tracker.catalog.run(existing)
    if run is None:
        raise Conflict("a damaged run has this id; choose another id, or repair that run first")
    if tracker.is_trashed(run):
        raise Conflict("the run of this id is in the trash; restore it, or choose another id")
    if run.meta.get("request_sha256", _as_it_stands(run.meta)) != new.fingerprint():
        raise Conflict(
            "another run has this id; leave the id out, choose another, or send the same body to get that run"
        )


def _as_it_stands(meta: dict[str, Any]) -> str:
    """Return the fingerprint of a run without a stored one: the server chose its id, or an older version created it."""
    fields: dict[str, Any] = {name: meta.get(name) for name in ("experiment", "name", "parent_run_id", "created_by")}
    try:
        return NewRun(**fields, tags=meta.get("tags", {})).fingerprint()
    except InvalidInput:
        return ""


def finish_run(tracker: Tracker, run_id: str, status: str, error: str | None = None) -> None:
    """End a run. Repeating this with the same status changes nothing.

    Raises InvalidInput, NotFound, RunTrashed, Conflict (it ended with another status).
    """
    check_end(status, error)
    with tracker.writable_run(run_id, SUMMARY) as run:
        ended_as = run.meta["status"]
        if ended_as == status:
            return
        if ended_as != "running":
            raise Conflict(f"the run has ended already, as {ended_as}")
        _end(tracker, run, status, error, None)


def set_status(
    tracker: Tracker,
    run_id: str,
    status: str,
    error: str | None = None,
    end_time: int | None = None,
    *,
    mlflow_status: str | None = None,
) -> None:
    """Set a run's status, whatever it was; a second end counts as a resumption followed by an end.

    `end_time`, in ms since 1970, is used if the status ends the run. `mlflow_status` is MLflow's own status if ours has
    no equivalent, and is kept until the next change of status. Raises InvalidInput, NotFound, RunTrashed.
    """
    if status != "running":
        check_end(status, error)
    with tracker.writable_run(run_id, SUMMARY) as run:
        _set_status(tracker, run, status, error, end_time)
        before = mlflow_of(run.meta)
        if before.get("status") != mlflow_status:
            after = {key: value for key, value in before.items() if key != "status"}
            tracker.write_meta(run, mlflow=after if mlflow_status is None else {**after, "status": mlflow_status})


def _set_status(tracker: Tracker, run: Run, status: str, error: str | None, end_time: int | None) -> None:
    meta = run.meta
    was_running = meta["status"] == "running"
    if status == "running":
        if not was_running:
            _resume(tracker, run)
        return
    if (meta["status"], meta.get("error")) == (status, error) and end_time in (None, meta.get("end_time")):
        return
    if not was_running:
        _resume(tracker, run)
    _end(tracker, run, status, error, end_time)


def mlflow_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object `mlflow` of a run's meta.json: data of MLflow's clients for which this store has no field."""
    value = meta.get("mlflow")
    return value if isinstance(value, dict) else {}


def check_end(status: str, error: str | None) -> None:
    """Raise InvalidInput if a run can't end with this status and error."""
    if status not in ENDINGS:
        raise InvalidInput('status must be "completed" or "failed"')
    if error is not None and len(error) > MAX_ERROR_CHARACTERS:
        raise InvalidInput(
            f"error has {len(error)} characters; the limit is {MAX_ERROR_CHARACTERS}: upload a log instead"
        )


def _end(tracker: Tracker, run: Run, status: str, error: str | None, end_time: int | None) -> None:
    since = max(run.meta["start_time"], run.meta.get("resumed_at") or 0)
    end_time = max(tracker.clock.now_ms() if end_time is None else end_time, since)
    tracker.write_meta(run, status=status, end_time=end_time, error=error)
    keep_summary(tracker.store, run.id, run.part(SUMMARY))


def resume_run(tracker: Tracker, run_id: str) -> dict[str, Any]:
    """Resume an ended run under its id, and return it; a running one is left unchanged. Raises NotFound, RunTrashed."""
    with tracker.writable_run(run_id) as run:
        if run.meta["status"] != "running":
            _resume(tracker, run)
    return run_to_json(tracker.run(run_id))


def _resume(tracker: Tracker, run: Run) -> None:
    # Later than the end that it undoes, so that merging a copy with that end can't bring the end back.
    resumed_at = max(tracker.clock.now_ms(), (run.meta.get("end_time") or 0) + 1)
    tracker.write_meta(run, status="running", end_time=None, error=None, resumed_at=resumed_at)


def change_run(
    tracker: Tracker, run_id: str, tags: Mapping[str, TagValue | None] | None = None, **changes: str | None
) -> None:
    """Change a run's name, created_by, parent_run_id, note and tags in one write; None removes a value.

    Raises InvalidInput, NotFound, RunTrashed.
    """
    check_changes(tags or {}, changes)
    with tracker.writable_run(run_id) as run:
        changed = fields_to_change(run, tags or {}, changes)
        if changed:
            tracker.write_meta(run, **changed)


def fields_to_change(
    run: Run, tags: Mapping[str, TagValue | None], changes: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the fields of meta.json that get a new value from these tags and changes, already checked."""
    changed: dict[str, Any] = {key: value for key, value in changes.items() if run.meta.get(key) != value}
    before = run.meta.get("tags", {})
    after = merge_tags(before, tags)
    if not same_json(after, before):
        changed["tags"] = after
    return changed


def check_changes(tags: Mapping[str, TagValue | None], changes: Mapping[str, str | None]) -> None:
    """Raise InvalidInput for tags or changes that `change_run` can't store."""
    check_tags(tags)
    for key, value in changes.items():
        if key not in (*CHANGEABLE, "note"):
            raise AssertionError(key)
        if value is not None and key != "note":
            (check_run_id if key == "parent_run_id" else check_name)(key, value)


def set_note(tracker: Tracker, run_id: str, note: str) -> None:
    """Replace a run's note, which is Markdown; "" removes it. Raises NotFound, RunTrashed."""
    with tracker.writable_run(run_id) as run:
        if run.meta.get("note") != (note or None):
            tracker.write_meta(run, note=note or None)


def run_to_json(run: Run) -> dict[str, Any]:
    """Return a run in the form of the API's lists (the contract, section 3)."""
    meta = run.meta
    return {
        "id": run.id,
        "experiment": meta["experiment"],
        "name": meta.get("name"),
        "status": meta["status"],
        "start_time": meta["start_time"],
        "end_time": meta.get("end_time"),
        "duration_ms": run.duration_ms,
        "error": meta.get("error"),
        "tags": meta.get("tags", {}),
        "parent_run_id": meta.get("parent_run_id"),
        "created_by": meta.get("created_by"),
        "resumed_at": meta.get("resumed_at"),
        "deleted_at": meta.get("deleted_at"),
        "params": run.params,
        "metrics": latest_metrics(run),
        "last_write_time": run.last_write_time,
    }


def latest_metrics(run: Run) -> dict[str, Any]:
    """Return the latest value of each metric, with non-finite values as text."""
    return {key: number_to_json(series.last) for key, series in run.summary.items()}


def run_details(tracker: Tracker, run: Run, children: Sequence[Run] | None = None) -> dict[str, Any]:
    """Return a run with everything but its points. Pass `children` if they are loaded already."""
    children = tracker.catalog.children(run.id) if children is None else children
    about = tracker.descriptions.about(run.meta["experiment"])
    models = model_listing.list_models_of(tracker, run)
    return {
        **run_to_json(run),
        "deleted_at": run.meta.get("deleted_at") or (about.deleted_at if about else None),
        "metric_summary": {key: series.public() for key, series in run.summary.items()},
        "artifacts": list_artifacts(run),
        **({"logged_models": models} if models else {}),
        "datasets": run.meta.get("datasets", []),
        "env": run.meta.get("env"),
        "note": run.meta.get("note"),
        "children": [
            {"id": child.id, "name": child.meta.get("name"), "status": child.meta["status"]} for child in children
        ],
    }
