"""Logged models: folders of a run's artifacts with a name, a type, params, metrics and tags of their own.

The files of a model `iris` are the artifacts `models/iris/...` of its run; everything else about it is in the run's
logged_models.jsonl (see `index.logged_models`). A model may be changed after its run's end, since it is used then.
For a model without a run, a run is created to hold it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidInput, NotFound
from ..store import disk_names
from .index.logged_models import FLAG, STATUSES, LoggedModel, ModelMetric, RunModels, parse_model_id
from .index.run_entry import Run
from .index.run_parts import ARTIFACTS, META
from .names import check_artifact_name, check_name, quote_name
from .runs import NewRun, create_run, mlflow_of
from .tracker import Tracker

#: The folder of a run's artifacts that contains a folder for each logged model.
FOLDER = "models"
_REFUSED = re.compile(r"""[/:.%"'\\]""")


@dataclass(frozen=True)
class NewModel:
    """A model to be logged, checked on construction. Raises InvalidInput."""

    name: str
    model_type: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("model name", self.name)
        if _REFUSED.search(self.name):
            raise InvalidInput(f"model name {quote_name(self.name)} must hold none of / : . % \" ' \\")
        check_artifact_name(f"{FOLDER}/{self.name}-99/MLmodel")
        if self.model_type is not None:
            check_name("model_type", self.model_type)
        check_keys("param", self.params)
        check_keys("tag", self.tags)


def check_keys(kind: str, values: Mapping[str, str | None]) -> None:
    """Raise InvalidInput for a key that can't be the name of a param or tag."""
    for key in values:
        check_name(kind, key)


def create_model(tracker: Tracker, run_id: str, new: NewModel) -> LoggedModel:
    """Add a model to a run, even after its end; its files are uploaded later. Raises NotFound, RunTrashed."""
    with tracker.writable_run(run_id, ARTIFACTS) as run:
        models = tracker.logged_models.of(run).models
        number = max((model.number for model in models.values()), default=0) + 1
        event = {
            "event": "created",
            "model_id": f"m-{run_id}-{number}",
            "name": new.name,
            "model_type": new.model_type,
            "folder": _free_folder(run, models.values(), new.name),
            "params": new.params,
            "tags": new.tags,
        }
        _append(tracker, run, [event])
        return tracker.logged_models.of(run).models[f"m-{run_id}-{number}"]


def create_holder(tracker: Tracker, experiment: str, name: str) -> str:
    """Create a completed run to hold a model that no run logged, and return its id.

    Raises InvalidInput, Conflict (the experiment is deleted).
    """
    run_id: str = create_run(tracker, NewRun(experiment, name))["id"]
    with tracker.writable_run(run_id) as run:
        end_time = run.meta["start_time"]
        of_mlflow = {**mlflow_of(run.meta), "holds_model": True, FLAG: True}
        tracker.write_meta(run, status="completed", end_time=end_time, mlflow=of_mlflow)
    return run_id


def holds_model(run: Run) -> bool:
    """Return whether a run was created for the sole purpose of holding a model."""
    return mlflow_of(run.meta).get("holds_model") is True


def _free_folder(run: Run, models: Iterable[LoggedModel], name: str) -> str:
    """Return a folder that no model and no artifact uses: `models/NAME`, or `models/NAME-2`, `models/NAME-3`, ..."""
    used_names = {disk_names.fold(model.folder) for model in models}
    used_names |= {disk_names.fold("/".join(each.split("/")[:2])) for each in run.artifacts}
    number, folder = 1, f"{FOLDER}/{name}"
    while disk_names.fold(folder) in used_names:
        number += 1
        folder = f"{FOLDER}/{name}-{number}"
    return folder


def _append(tracker: Tracker, run: Run, events: list[dict[str, Any]]) -> None:
    """Add events to a run, whose lock the caller holds. Events of metrics have a time already."""
    if not events:
        return
    if mlflow_of(run.meta).get(FLAG) is not True:
        tracker.write_meta(run, mlflow={**mlflow_of(run.meta), FLAG: True})
    # Never earlier than the last event, which may come from a clock ahead of ours: events are ordered by time.
    now_ms = max(tracker.clock.now_ms(), tracker.logged_models.of(run).last_timestamp)
    tracker.logged_models.append(run, [{"timestamp": now_ms, **event} for event in events])


# -- reading


def of_run(tracker: Tracker, run: Run) -> RunModels:
    """Return the models that a run logged, and its links to input and output models."""
    return tracker.logged_models.of(run)


def folders_of(tracker: Tracker, run: Run) -> list[str]:
    """Return the folders of the run's artifacts that belong to logged models, including deleted ones."""
    return [model.folder for model in list(tracker.logged_models.of(run).models.values())]


def get_model(tracker: Tracker, model_id: str, *, deleted: bool = False) -> LoggedModel:
    """Return a model by its id; with `deleted`, also a deleted one. Raises NotFound."""
    parts = parse_model_id(model_id)
    run = None if parts is None else tracker.catalog.run(parts[0], (META,))
    model = None if run is None else tracker.logged_models.of(run).models.get(model_id)
    if model is None or (model.is_deleted and not deleted):
        raise NotFound("logged model", f"no logged model has the id {quote_name(model_id)}")
    return model


def folder_of(tracker: Tracker, model_id: str) -> tuple[str, str]:
    """Return a model's run id and the folder of its files; also for a deleted model, since versions may need its files.

    Raises NotFound.
    """
    model = get_model(tracker, model_id, deleted=True)
    return model.run_id, model.folder


def model_in(tracker: Tracker, run_id: str, folder: str) -> LoggedModel | None:
    """Return the model whose files are in a folder of a run, deleted or not; None if there is none. Raises NotFound."""
    models = tracker.logged_models.of(tracker.run(run_id)).models.values()
    return next((model for model in list(models) if model.folder == folder), None)


def find_model(tracker: Tracker, run: Run, name: str) -> LoggedModel | None:
    """Return the last model of a name that a run logged, or None."""
    models = tracker.logged_models.of(run).models.values()
    matches = [model for model in list(models) if model.name == name and not model.is_deleted]
    return max(matches, key=lambda model: model.number, default=None)


def list_models(tracker: Tracker, experiments: Iterable[str]) -> list[LoggedModel]:
    """Return the models of some experiments' runs, newest first, without deleted models and those of trashed runs."""
    models = [
        model
        for experiment in experiments
        for run in tracker.catalog.newest(experiment)
        for model in list(tracker.logged_models.of(run).models.values())
        if not model.is_deleted
    ]
    return sorted(models, key=lambda model: (model.created_at, model.run_id, model.number), reverse=True)


# -- writing


def add_params(tracker: Tracker, model_id: str, params: Mapping[str, str]) -> None:
    """Add params to a model. Raises InvalidInput, NotFound, RunTrashed."""
    check_keys("param", params)
    _change(tracker, model_id, {"event": "params", "params": dict(params)} if params else None)


def set_tags(tracker: Tracker, model_id: str, tags: Mapping[str, str | None]) -> None:
    """Set tags of a model; None removes one. Raises InvalidInput, NotFound, RunTrashed."""
    check_keys("tag", tags)
    _change(tracker, model_id, {"event": "tags", "tags": dict(tags)} if tags else None)


def finalize(tracker: Tracker, model_id: str, status: str) -> LoggedModel:
    """Record that a model's files are complete, or that their upload failed.

    Raises InvalidInput, NotFound, RunTrashed.
    """
    if status not in STATUSES:
        raise InvalidInput(f"status must be one of {', '.join(STATUSES)}")
    _change(tracker, model_id, {"event": "finalized", "status": status})
    return get_model(tracker, model_id)


def delete_model(tracker: Tracker, model_id: str) -> None:
    """Hide a model; its files stay artifacts of its run. Raises NotFound, RunTrashed."""
    _change(tracker, model_id, {"event": "deleted"})


def _change(tracker: Tracker, model_id: str, event: dict[str, Any] | None) -> None:
    with tracker.writable_run(get_model(tracker, model_id).run_id) as run:
        get_model(tracker, model_id)
        _append(tracker, run, [] if event is None else [{**event, "model_id": model_id}])


def check_model_ids(tracker: Tracker, model_ids: Iterable[str]) -> None:
    """Raise NotFound for the first unknown model id, RunTrashed for a model whose run is in the trash."""
    for model_id in dict.fromkeys(model_ids):
        model = get_model(tracker, model_id)
        tracker.refuse_trashed(tracker.run(model.run_id, (META,)))


def log_metrics(tracker: Tracker, metrics: Sequence[ModelMetric]) -> None:
    """Add metrics to models. They are also points of the runs that logged them. Raises NotFound, RunTrashed.

    There is one append per run, so a server that is killed in between may keep only the first run's metrics.
    """
    by_run: dict[str, list[dict[str, Any]]] = {}
    for metric in metrics:
        model = get_model(tracker, metric.model_id)
        by_run.setdefault(model.run_id, []).append(metric.to_event())
    for run_id, events in by_run.items():
        with tracker.writable_run(run_id) as run:
            _append(tracker, run, events)


def check_links(model_ids: Iterable[str]) -> list[str]:
    """Return the distinct ids among `model_ids`, whose models may be in another store. Raises InvalidInput."""
    return [check_name("model_id", model_id) for model_id in dict.fromkeys(model_ids)]


def link_inputs(tracker: Tracker, run_id: str, model_ids: Iterable[str]) -> None:
    """Record that a run used models, which may be in another store. Repeating this changes nothing.

    Raises InvalidInput, NotFound, RunTrashed.
    """
    requested = check_links(model_ids)
    with tracker.writable_run(run_id) as run:
        linked_ids = tracker.logged_models.of(run).inputs
        _append(tracker, run, [{"event": "input", "model_id": each} for each in requested if each not in linked_ids])


def link_outputs(tracker: Tracker, run_id: str, models: Iterable[tuple[str, int]]) -> None:
    """Record that a run produced models, each at a step. Repeating this changes nothing.

    Raises InvalidInput, NotFound, RunTrashed.
    """
    requested = {check_name("model_id", model_id): step for model_id, step in models}
    with tracker.writable_run(run_id) as run:
        linked_ids = tracker.logged_models.of(run).outputs
        new = {model_id: step for model_id, step in requested.items() if model_id not in linked_ids}
        events = [{"event": "output", "model_id": each, "step": step} for each, step in new.items()]
        _append(tracker, run, events)
