"""Translation of MLflow's runs and logged models to our runs, by the tables of `mlflow_api.vocabulary`.

A run keeps its id. A run that `export --to mlflow` created has the tag `chachaml.run_id`: it is imported under that id,
without the tags in which the export keeps its records. A logged model gets one of our ids, and its event records the
old id; if no run logged it, a run is created to hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import strict_json
from ..errors import InvalidInput
from ..mlflow_api import vocabulary
from ..mlflow_api.vocabulary_datasets import SOURCE_TYPE, Dataset, dataset_from_mlflow
from ..store import disk_names
from ..tracking.index.logged_models import FLAG, STATUSES, ModelMetric, parse_model_id
from ..tracking.names import check_name, is_run_id
from ..tracking.series.summary import PRINTED
from .foreign_run import ForeignRun

#: The prefix of the tags in which an export keeps its records, and three of these tags.
ACCOUNT = "chachaml."
RUN_ID, ERROR, PARENT = "chachaml.run_id", "chachaml.error", "chachaml.parent_run_id"
#: The old id of a logged model, in its first event.
OLD_ID = "mlflow_model_id"
_PREFIX = "LOGGED_MODEL_"
#: The user that MLflow records if it doesn't know one.
_NOBODY = "unknown"


@dataclass
class Names:
    """Our ids by MLflow's: of runs, and of logged models with their runs and folders."""

    runs: dict[str, str] = field(default_factory=dict)
    models: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def run(self, old: str) -> str:
        """Return our id of a run, or MLflow's if the run isn't imported."""
        return self.runs.get(old, old)

    def model(self, old: str) -> str:
        """Return our id of a logged model, or MLflow's if the model isn't imported."""
        return self.models[old][1] if old in self.models else old


def describe_experiment(experiment: Any) -> dict[str, Any]:
    """Return an experiment's description, which is MLflow's tag of the note, and its tags, as the API takes them."""
    tags = dict(experiment.tags)
    note = tags.pop(vocabulary.NOTE, None)
    return {"tags": tags, **({} if note is None else {"description": note})}


def run_id_of(run: Any) -> str:
    """Return our id of one of MLflow's runs."""
    own = run.data.tags.get(RUN_ID)
    return own if own is not None and is_run_id(own) else str(run.info.run_id)


def holder_id_of(model: Any) -> str:
    """Return the id of the run that is created to hold a logged model."""
    return str(model.model_id).removeprefix("m-")


def read_run(run: Any, experiment: str, names: Names) -> ForeignRun:
    """Translate a run without its points, files and models."""
    tags = dict(run.data.tags)
    is_ours = RUN_ID in tags
    status, error, word = vocabulary.status_from_mlflow(run.info.status)
    if is_ours:
        error = tags.get(ERROR, error)
        if PARENT in tags:
            tags[vocabulary.PARENT] = tags[PARENT]
        tags = {key: value for key, value in tags.items() if not key.startswith(ACCOUNT)}
    elif vocabulary.PARENT in tags:
        tags[vocabulary.PARENT] = names.run(tags[vocabulary.PARENT])
    fields, others = vocabulary.tags_from_mlflow(tags)
    start_time = int(run.info.start_time or 0)
    end_time = None if status == "running" else int(run.info.end_time or start_time)
    meta: dict[str, Any] = {
        "experiment": experiment,
        "name": fields.get("name") or _valid_name(run.info.run_name),
        "status": status,
        "start_time": start_time,
        "end_time": end_time,
        "error": error,
        "tags": {},
        "note": fields.get("note"),
        "datasets": _datasets(run.inputs.dataset_inputs if run.inputs else ()),
        "parent_run_id": fields.get("parent_run_id"),
        "created_by": fields.get("created_by")
        or _valid_name(run.info.user_id if run.info.user_id != _NOBODY else None),
    }
    if word is not None:
        meta["mlflow"] = {"status": word}
    result = ForeignRun(run_id_of(run), meta)
    for key, text in others.items():
        if text is not None and result.accepts_name("tag", key):
            meta["tags"][key] = _parse_tag(text) if is_ours else text
    for key, text in run.data.params.items():
        result.add_param(key, _parse_structure(text) if is_ours else vocabulary.parse_value(text))
    return result


def _valid_name(text: str | None) -> str | None:
    try:
        return check_name("name", text) if text else None
    except InvalidInput:
        return None


def _parse_structure(text: str) -> Any:
    """Parse a JSON value that an export wrote as text: a number, an array, an object, true, false or null."""
    if text[:1] in ("[", "{") or text in ("true", "false", "null"):
        try:
            return strict_json.loads(text.encode())
        except strict_json.NotJson:
            return text
    return vocabulary.parse_value(text)


def _parse_tag(text: str) -> Any:
    """Parse the value of a tag: a boolean, a number or text."""
    return text == "true" if text in ("true", "false") else vocabulary.parse_value(text)


def _datasets(inputs: Iterable[Any]) -> list[dict[str, Any]]:
    datasets: dict[tuple[str, str], dict[str, Any]] = {}
    for each in inputs:
        dataset = each.dataset
        tags = {tag.key: tag.value for tag in each.tags or ()}
        mlflow_dataset = Dataset(
            dataset.name,
            dataset.digest,
            dataset.source_type,
            dataset.source,
            dataset.schema or None,
            dataset.profile or None,
            tags,
        )
        own_dataset = (
            _restore_dataset(mlflow_dataset)
            if dataset.source_type == SOURCE_TYPE
            else dataset_from_mlflow(mlflow_dataset)
        )
        datasets.setdefault((dataset.name, dataset.digest), own_dataset)
    return list(datasets.values())


def _restore_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return one of our datasets as it was before its export."""
    try:
        profile = strict_json.loads((dataset.profile or "{}").encode())
        source = strict_json.loads(dataset.source.encode())["uri"]
    except (strict_json.NotJson, TypeError, KeyError):
        return dataset_from_mlflow(dataset)
    fields = {
        "name": dataset.name if dataset.name not in (source, dataset.context, "dataset") else None,
        "role": dataset.context,
        "n_rows": profile.get("num_rows"),
        "n_cols": profile.get("num_cols"),
        "features": profile.get("features"),
        "hash": profile.get("hash"),
        "source": source or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


# -- logged models


def create_holder(model: Any, experiment: str) -> ForeignRun:
    """Return a run to hold a model that no run logged."""
    at = int(model.creation_timestamp)
    meta = {
        "experiment": experiment,
        "name": _valid_name(model.name),
        "status": "completed",
        "start_time": at,
        "end_time": at,
        "error": None,
        "tags": {},
        "mlflow": {"holds_model": True},
    }
    return ForeignRun(holder_id_of(model), meta)


def name_models(
    run: ForeignRun, models: Iterable[Any], known_events: Iterable[Mapping[str, Any]], names: Names
) -> None:
    """Assign ids and folders to the models of a run: those of an earlier import, else new ones.

    `known` has the events of the run in the store that it is imported to.
    """
    created = [event for event in known_events if event.get("event") == "created"]
    earlier = {event.get(OLD_ID): (event["model_id"], event["folder"]) for event in created}
    parts = (parse_model_id(event["model_id"]) for event in created)
    number = max((part[1] for part in parts if part is not None), default=0)
    taken_folders = {disk_names.fold(event["folder"]) for event in created}
    taken_folders |= {disk_names.fold("/".join(name.split("/")[:2])) for name in run.artifacts}
    for model in models:
        if model.model_id in earlier:
            names.models[model.model_id] = (run.id, *earlier[model.model_id])
            continue
        number += 1
        folder, nth = f"models/{model.name}", 1
        while disk_names.fold(folder) in taken_folders:
            nth += 1
            folder = f"models/{model.name}-{nth}"
        taken_folders.add(disk_names.fold(folder))
        names.models[model.model_id] = (run.id, f"m-{run.id}-{number}", folder)


def add_model(run: ForeignRun, model: Any, names: Names) -> None:
    """Add a model's events to its run, which already has the model's files."""
    _, model_id, folder = names.models[model.model_id]
    created_at, updated_at = int(model.creation_timestamp), int(model.last_updated_timestamp)
    created = {"event": "created", "model_id": model_id, "timestamp": created_at, OLD_ID: model.model_id}
    run.events.append({**created, "name": model.name, "model_type": model.model_type or None, "folder": folder})
    if model.params:
        run.events.append(
            {"event": "params", "model_id": model_id, "timestamp": created_at, "params": dict(model.params)}
        )
    if model.tags:
        run.events.append({"event": "tags", "model_id": model_id, "timestamp": updated_at, "tags": dict(model.tags)})
    for each in model.metrics or ():
        value = PRINTED.get(str(each.value).lower(), each.value)
        point = (value, int(each.step), int(each.timestamp))
        origin = (names.run(each.run_id or ""), each.dataset_name or None, each.dataset_digest or None)
        run.events.append(ModelMetric(model_id, each.key, *point, *origin).to_event())
    status = str(model.status).rpartition(".")[2].removeprefix(_PREFIX).lower()
    if status in STATUSES and status != "pending":
        run.events.append({"event": "finalized", "model_id": model_id, "timestamp": updated_at, "status": status})
    run.meta["mlflow"] = {**run.meta.get("mlflow", {}), FLAG: True}


def add_links(result: ForeignRun, run: Any, names: Names) -> None:
    """Add the logged models that a run used and produced."""
    at = result.meta["start_time"]
    for each in getattr(run.inputs, "model_inputs", None) or ():
        result.events.append({"event": "input", "model_id": names.model(each.model_id), "timestamp": at})
    for each in getattr(getattr(run, "outputs", None), "model_outputs", None) or ():
        step = int(each.step or 0)
        result.events.append({"event": "output", "model_id": names.model(each.model_id), "timestamp": at, "step": step})
    if result.events:
        result.meta["mlflow"] = {**result.meta.get("mlflow", {}), FLAG: True}
