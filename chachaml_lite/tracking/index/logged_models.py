"""The models that runs have logged: the events in each run's logged_models.jsonl, and the models that result from them.

An event is one JSON object per line; each has `event`, `model_id` and `timestamp` (ms since 1970):

| event | further fields |
|---|---|
| created | name, model_type, folder, params, tags |
| params | params |
| tags | tags; null removes one |
| metric | key, value, step, run_id (of the run that logged it), dataset_name, dataset_digest |
| finalized | status |
| deleted | |
| input, output | concerns the run itself, which used or produced the model; an output has a step |

Two copies of a run are merged by the union of their events, so the result must not depend on the lines' order: events
are ordered by their timestamps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...errors import InvalidInput
from ...store import layout
from ...store.reading import NO_FILE, Damaged, Stamp, StampCache
from ...store.store import Store
from ..names import check_artifact_name, is_run_id
from ..series.summary import PRINTED, Number, number_to_json
from .file_readings import Reading
from .run_entry import Run

#: The status of a model: files are being uploaded, files are complete, upload failed.
STATUSES = ("pending", "ready", "upload_failed")
#: The flag in meta.json's object `mlflow` of runs with events, which spares a search from checking other runs' files.
FLAG = "models"

_MODEL_ID = re.compile(r"m-(?P<run_id>.+)-(?P<number>[1-9][0-9]{0,8})\Z")
#: The number of runs whose events are cached.
_MOST_KEPT = 2000


class ModelMetric(NamedTuple):
    """A metric of a model, logged by a run."""

    model_id: str
    key: str
    value: Number
    step: int
    timestamp: int
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None

    def to_event(self) -> dict[str, Any]:
        """Return the record for logged_models.jsonl, without fields that are None."""
        fields = {key: value for key, value in self._asdict().items() if value is not None}
        return {"event": "metric", **fields, "value": number_to_json(self.value)}


@dataclass
class LoggedModel:
    """A model that a run logged: the run's artifacts below `folder`, and their metadata. Times in ms since 1970."""

    id: str
    run_id: str
    number: int
    name: str
    model_type: str | None
    folder: str
    created_at: int
    updated_at: int
    status: str = "pending"
    is_deleted: bool = False
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    #: By all fields except the value, so that a repeated request adds none.
    metrics: dict[tuple[Any, ...], ModelMetric] = field(default_factory=dict)


@dataclass
class RunModels:
    """The result of a run's events. It is updated in place, under the run's lock, as events are appended."""

    models: dict[str, LoggedModel] = field(default_factory=dict)
    #: Ids of the models that the run used, which may be in another store; ids of those it produced, with the step.
    inputs: dict[str, None] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    #: The time of the last event, not counting metrics, whose times are set by clients.
    last_timestamp: int = 0

    def add(self, run_id: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Add valid events, none of which is older than those already added."""
        for event in events:
            kind, model_id, at = event["event"], event["model_id"], event["timestamp"]
            if kind == "created":
                self._create(run_id, event)
            elif kind == "input":
                self.inputs.setdefault(model_id)
            elif kind == "output":
                self.outputs.setdefault(model_id, event["step"])
            elif (model := self.models.get(model_id)) is not None:
                _change(model, event)
                model.updated_at = max(model.updated_at, at) if kind != "metric" else model.updated_at
            if kind != "metric":
                self.last_timestamp = max(self.last_timestamp, at)

    def _create(self, run_id: str, event: Mapping[str, Any]) -> None:
        model_id, at = event["model_id"], event["timestamp"]
        parts = parse_model_id(model_id)
        if parts is not None and model_id not in self.models:
            self.models[model_id] = LoggedModel(
                model_id,
                run_id,
                parts[1],
                event["name"],
                event.get("model_type"),
                event["folder"],
                at,
                at,
                params=dict(event.get("params") or {}),
                tags=dict(event.get("tags") or {}),
            )


def _change(model: LoggedModel, event: Mapping[str, Any]) -> None:
    kind = event["event"]
    if kind == "params":
        model.params |= event["params"]
    elif kind == "tags":
        for key, value in event["tags"].items():
            if value is None:
                model.tags.pop(key, None)
            else:
                model.tags[key] = value
    elif kind == "finalized":
        model.status = event["status"]
    elif kind == "deleted":
        model.is_deleted = True
    elif kind == "metric":
        metric = metric_of(event)
        model.metrics[metric._replace(value=0)] = metric


def metric_of(event: Mapping[str, Any]) -> ModelMetric:
    """Return the metric in a valid event."""
    value = event["value"]
    number = PRINTED[value.lower()] if isinstance(value, str) else value
    fields = {name: event.get(name) for name in ModelMetric._fields}
    return ModelMetric(**{**fields, "value": number})  # type: ignore[arg-type]


def parse_model_id(model_id: object) -> tuple[str, int] | None:
    """Return the id of the run that logged a model, and the model's number there; None if the id is not one of ours."""
    match = _MODEL_ID.match(model_id) if isinstance(model_id, str) else None
    return (match["run_id"], int(match["number"])) if match and is_run_id(match["run_id"]) else None


def is_good_event(run_id: str, event: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is a valid event for a run's logged_models.jsonl."""
    kind, model_id = event.get("event"), event.get("model_id")
    if type(event.get("timestamp")) is not int or not isinstance(model_id, str) or not model_id:
        return False
    if kind == "input":
        return True
    if kind == "output":
        return type(event.get("step")) is int
    parts = parse_model_id(model_id)
    return parts is not None and parts[0] == run_id and _is_good_change(kind, event)


def _is_good_change(kind: object, event: Mapping[str, Any]) -> bool:
    if kind == "created":
        return (
            isinstance(event.get("name"), str)
            and isinstance(event.get("model_type"), (str, type(None)))
            and _is_folder(event.get("folder"))
            and _are_texts(event.get("params", {}))
            and _are_texts(event.get("tags", {}))
        )
    if kind == "params":
        return _are_texts(event.get("params"))
    if kind == "tags":
        return _are_texts(event.get("tags"), removable=True)
    if kind == "metric":
        value = event.get("value")
        return (
            all(isinstance(event.get(name), str) for name in ("key", "run_id"))
            and all(isinstance(event.get(name), (str, type(None))) for name in ("dataset_name", "dataset_digest"))
            and type(event.get("step")) is int
            and (type(value) in (int, float) or (isinstance(value, str) and value.lower() in PRINTED))
        )
    return kind == "deleted" or (kind == "finalized" and event.get("status") in STATUSES)


def _are_texts(values: object, *, removable: bool = False) -> bool:
    kinds = (str, type(None)) if removable else (str,)
    return isinstance(values, dict) and all(isinstance(value, kinds) for value in values.values())


def _is_folder(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(check_artifact_name(name))
    except InvalidInput:
        return False


def in_order(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return events in the order in which to apply them: creations first, then by timestamp."""
    return sorted(events, key=lambda event: (event["event"] != "created", event["timestamp"]))


def has_models(meta: Mapping[str, Any]) -> bool:
    """Return whether a run with this meta.json may have events."""
    of_mlflow = meta.get("mlflow")
    return isinstance(of_mlflow, dict) and of_mlflow.get(FLAG) is True


_NONE = Reading(NO_FILE, RunModels())


class LoggedModels:
    """The logged models of a store's runs, cached for the last runs requested while their files are unchanged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: StampCache[str, Stamp, Reading[RunModels]] = StampCache(_MOST_KEPT)

    def stamp(self, run_id: str) -> Stamp:
        """Return the stamp of a run's events, which changes whenever they do."""
        return self._store.runs.stamps(run_id, (layout.LOGGED_MODELS,))[0]

    def of(self, run: Run) -> RunModels:
        """Return the result of a run's events. The file is checked only if the run's meta.json has the flag."""
        return self._look(run.id).value if has_models(run.meta) else _NONE.value

    def damage(self, run: Run) -> str | None:
        """Return the damage of a run's events, or None."""
        return self._look(run.id).damage

    def append(self, run: Run, events: list[dict[str, Any]]) -> None:
        """Add events to a run, all or none. The caller holds the run's lock. Raises OSError."""
        before = self._look(run.id)
        stamp = self._store.runs.append_records(run.id, layout.LOGGED_MODELS, events)
        value = before.value if before is not _NONE else RunModels()
        value.add(run.id, events)
        self._cache.put(run.id, stamp, Reading(stamp, value, before.damage))

    def _look(self, run_id: str) -> Reading[RunModels]:
        stamp = self.stamp(run_id)
        if stamp == NO_FILE:
            return _NONE
        reading = self._cache.get(run_id, stamp)
        if reading is None:
            reading = self._read(run_id, stamp)
            self._cache.put(run_id, reading.stamp, reading)
        return reading

    def _read(self, run_id: str, stamp: Stamp) -> Reading[RunModels]:
        try:
            records, damaged, stamp = self._store.runs.read_records(run_id, layout.LOGGED_MODELS)
        except Damaged as fault:
            return Reading(stamp, RunModels(), str(fault))
        except OSError as fault:
            return Reading(stamp, RunModels(), f"{layout.LOGGED_MODELS} can't be read: {fault.strerror}")
        good = [record for record in records if is_good_event(run_id, record)]
        damaged += len(records) - len(good)
        value = RunModels()
        value.add(run_id, in_order(good))
        damage = f"{layout.LOGGED_MODELS} has {damaged} damaged line{'' if damaged == 1 else 's'}" if damaged else None
        return Reading(stamp, value, damage)
