"""MLflow's runs and logged models as runs of ours (the tables are those of `mlflow_api.vocabulary`).

A run keeps its id. What `export --to mlflow` once brought there bears the tag `chachaml.run_id`: it comes back under
that id, without the account that the export kept in tags. A logged model gets an id of ours, and its event the old one;
one that no run has logged gets a run that holds it.
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

#: The tags of the account that an export keeps, and what two of them say of the run.
ACCOUNT = "chachaml."
RUN_ID, ERROR, PARENT = "chachaml.run_id", "chachaml.error", "chachaml.parent_run_id"
#: The old id of a logged model, in its first event.
OLD_ID = "mlflow_model_id"
_PREFIX = "LOGGED_MODEL_"
#: The user of a run of whom MLflow knows nothing.
_NOBODY = "unknown"


@dataclass
class Names:
    """The ids that stand for MLflow's: those of runs, and of logged models with the folders of their files."""

    runs: dict[str, str] = field(default_factory=dict)
    models: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def run(self, old: str) -> str:
        """The id of a run here; that of one that isn't imported stays."""
        return self.runs.get(old, old)

    def model(self, old: str) -> str:
        """The id of a logged model here; that of one that isn't imported stays."""
        return self.models[old][1] if old in self.models else old


def describe_experiment(experiment: Any) -> dict[str, Any]:
    """Return an experiment's description and tags as the API takes them: the note's tag is the description."""
    tags = dict(experiment.tags)
    note = tags.pop(vocabulary.NOTE, None)
    return {"tags": tags, **({} if note is None else {"description": note})}


def run_id_of(run: Any) -> str:
    """The id that a run of MLflow's gets here."""
    own = run.data.tags.get(RUN_ID)
    return own if own is not None and is_run_id(own) else str(run.info.run_id)


def holder_id_of(model: Any) -> str:
    """The id of the run that is made to hold a logged model."""
    return str(model.model_id).removeprefix("m-")


def read_run(run: Any, experiment: str, names: Names) -> ForeignRun:
    """A run without its points, its files and its models."""
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
        "name": fields.get("name") or _name(run.info.run_name),
        "status": status,
        "start_time": start_time,
        "end_time": end_time,
        "error": error,
        "tags": {},
        "note": fields.get("note"),
        "datasets": _datasets(run.inputs.dataset_inputs if run.inputs else ()),
        "parent_run_id": fields.get("parent_run_id"),
        "created_by": fields.get("created_by") or _name(run.info.user_id if run.info.user_id != _NOBODY else None),
    }
    if word is not None:
        meta["mlflow"] = {"status": word}
    made = ForeignRun(run_id_of(run), meta)
    for key, text in others.items():
        if text is not None and made.is_name("tag", key):
            meta["tags"][key] = _value(text) if is_ours else text
    for key, text in run.data.params.items():
        made.add_param(key, _structure(text) if is_ours else vocabulary.parse_value(text))
    return made


def _name(text: str | None) -> str | None:
    try:
        return check_name("name", text) if text else None
    except InvalidInput:
        return None


def _structure(text: str) -> Any:
    """The JSON value that an export has written as text: a number, an array, an object, true, false or null."""
    if text[:1] in ("[", "{") or text in ("true", "false", "null"):
        try:
            return strict_json.loads(text.encode())
        except strict_json.NotJson:
            return text
    return vocabulary.parse_value(text)


def _value(text: str) -> Any:
    """The value of a tag: a boolean, a number or the text."""
    return text == "true" if text in ("true", "false") else vocabulary.parse_value(text)


def _datasets(inputs: Iterable[Any]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in inputs:
        dataset = each.dataset
        tags = {tag.key: tag.value for tag in each.tags or ()}
        described = Dataset(
            dataset.name,
            dataset.digest,
            dataset.source_type,
            dataset.source,
            dataset.schema or None,
            dataset.profile or None,
            tags,
        )
        taken = _exported(described) if dataset.source_type == SOURCE_TYPE else dataset_from_mlflow(described)
        found.setdefault((dataset.name, dataset.digest), taken)
    return list(found.values())


def _exported(dataset: Dataset) -> dict[str, Any]:
    """A data set of ours as it was before its export."""
    try:
        profile = strict_json.loads((dataset.profile or "{}").encode())
        source = strict_json.loads(dataset.source.encode())["uri"]
    except (strict_json.NotJson, TypeError, KeyError):
        return dataset_from_mlflow(dataset)
    described = {
        "name": dataset.name if dataset.name not in (source, dataset.context, "dataset") else None,
        "role": dataset.context,
        "n_rows": profile.get("num_rows"),
        "n_cols": profile.get("num_cols"),
        "features": profile.get("features"),
        "hash": profile.get("hash"),
        "source": source or None,
    }
    return {key: value for key, value in described.items() if value is not None}


# -- logged models


def holder_of(model: Any, experiment: str) -> ForeignRun:
    """The run that holds a model which no run has logged."""
    at = int(model.creation_timestamp)
    meta = {
        "experiment": experiment,
        "name": _name(model.name),
        "status": "completed",
        "start_time": at,
        "end_time": at,
        "error": None,
        "tags": {},
        "mlflow": {"holds_model": True},
    }
    return ForeignRun(holder_id_of(model), meta)


def name_models(run: ForeignRun, models: Iterable[Any], known: Iterable[Mapping[str, Any]], names: Names) -> None:
    """Give the models of a run their ids and folders: those that an earlier import gave, else the next ones.

    `known`: the events of the run where it is imported to.
    """
    created = [event for event in known if event.get("event") == "created"]
    given = {event.get(OLD_ID): (event["model_id"], event["folder"]) for event in created}
    parts = (parse_model_id(event["model_id"]) for event in created)
    number = max((part[1] for part in parts if part is not None), default=0)
    taken = {disk_names.fold(event["folder"]) for event in created}
    taken |= {disk_names.fold("/".join(name.split("/")[:2])) for name in run.artifacts}
    for model in models:
        if model.model_id in given:
            names.models[model.model_id] = (run.id, *given[model.model_id])
            continue
        number += 1
        folder, nth = f"models/{model.name}", 1
        while disk_names.fold(folder) in taken:
            nth += 1
            folder = f"models/{model.name}-{nth}"
        taken.add(disk_names.fold(folder))
        names.models[model.model_id] = (run.id, f"m-{run.id}-{number}", folder)


def add_model(run: ForeignRun, model: Any, names: Names) -> None:
    """Add what is known of a model to its run, which has its files already."""
    _, model_id, folder = names.models[model.model_id]
    made, updated = int(model.creation_timestamp), int(model.last_updated_timestamp)
    created = {"event": "created", "model_id": model_id, "timestamp": made, OLD_ID: model.model_id}
    run.events.append({**created, "name": model.name, "model_type": model.model_type or None, "folder": folder})
    if model.params:
        run.events.append({"event": "params", "model_id": model_id, "timestamp": made, "params": dict(model.params)})
    if model.tags:
        run.events.append({"event": "tags", "model_id": model_id, "timestamp": updated, "tags": dict(model.tags)})
    for each in model.metrics or ():
        value = PRINTED.get(str(each.value).lower(), each.value)
        point = (value, int(each.step), int(each.timestamp))
        of = (names.run(each.run_id or ""), each.dataset_name or None, each.dataset_digest or None)
        run.events.append(ModelMetric(model_id, each.key, *point, *of).to_event())
    status = str(model.status).rpartition(".")[2].removeprefix(_PREFIX).lower()
    if status in STATUSES and status != "pending":
        run.events.append({"event": "finalized", "model_id": model_id, "timestamp": updated, "status": status})
    run.meta["mlflow"] = {**run.meta.get("mlflow", {}), FLAG: True}


def add_links(made: ForeignRun, run: Any, names: Names) -> None:
    """Add which logged models a run has used, and which it has made."""
    at = made.meta["start_time"]
    for each in getattr(run.inputs, "model_inputs", None) or ():
        made.events.append({"event": "input", "model_id": names.model(each.model_id), "timestamp": at})
    for each in getattr(getattr(run, "outputs", None), "model_outputs", None) or ():
        step = int(each.step or 0)
        made.events.append({"event": "output", "model_id": names.model(each.model_id), "timestamp": at, "step": step})
    if made.events:
        made.meta["mlflow"] = {**made.meta.get("mlflow", {}), FLAG: True}
