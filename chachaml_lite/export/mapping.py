"""Translation of a run to MLflow: the name of each of its parts there, and replacements for what MLflow would reject.

Nothing is dropped silently. A name that MLflow rejects is replaced by one that depends on the name alone, and is thus
the same in every run; a value that is too long is truncated. Each change is reported, and the original run is added as
an artifact.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .. import strict_json
from ..mlflow_api.vocabulary import NOTE, USER, status_to_mlflow, text_of
from ..mlflow_api.vocabulary_datasets import Dataset, dataset_to_mlflow
from ..tracking.names import quote_name

#: The tags in which an export keeps its records.
RUN_ID, POINTS, ARTIFACTS = "chachaml.run_id", "chachaml.points", "chachaml.artifacts."
#: The time at which an export created the run, in ns since 1970: of two created at once, the earlier one is kept.
CREATED_AT = "chachaml.made"
CHANGED, POINTS_CHANGED = "chachaml.changed", "chachaml.points_changed"
ERROR, PARENT = "chachaml.error", "chachaml.parent_run_id"
_RESERVED = ("chachaml.", "mlflow.")
#: The artifact with the original run, if something had to be changed.
ORIGINAL = "chachaml-run.json"

#: MLflow's limits, in characters (mlflow.utils.validation); older servers accept 5,000 in a tag's value.
MAX_KEY, MAX_PARAM_VALUE, MAX_TAG_VALUE = 250, 6000, 5000
MAX_DATASET_NAME, MAX_DATASET_SOURCE, MAX_DATASET_PROFILE = 500, 65_535, 1_000_000
_REFUSED = re.compile(r"[^/\w.\- :]")
#: MLflow's client doesn't escape these in URLs, where they have another meaning.
_REFUSED_IN_ARTIFACTS = re.compile(r"[%#?]|(?:(?<=/)|^) +")
_DIGEST = 8


@dataclass
class MlflowRun:
    """A run in MLflow's terms, ready to be exported."""

    name: str
    status: str
    start_time: int
    end_time: int | None
    params: dict[str, str] = field(default_factory=dict)
    #: Tags except those of the export's records.
    tags: dict[str, str] = field(default_factory=dict)
    #: MLflow's name of each metric, and of each artifact.
    metrics: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    datasets: list[Dataset] = field(default_factory=list)
    #: Descriptions of all changes, one line each.
    changes: list[str] = field(default_factory=list)


def map_run(run: Mapping[str, Any]) -> MlflowRun:
    """Translate a run as GET /api/runs/:id returns it."""
    status = status_to_mlflow(run["status"], run["error"])
    result = MlflowRun(run["name"] or run["id"], status, run["start_time"], run["end_time"])
    changes = result.changes
    for key, value in run["params"].items():
        result.params[_map_key("param", key, changes)] = _truncate(
            "param", key, text_of(value), MAX_PARAM_VALUE, changes
        )
    for key, value in run["tags"].items():
        result.tags[_map_key("tag", key, changes)] = _truncate("tag", key, text_of(value), MAX_TAG_VALUE, changes)
    for tag, name in ((NOTE, "note"), (USER, "created_by"), (ERROR, "error"), (PARENT, "parent_run_id")):
        if run[name] is not None:
            result.tags[tag] = _truncate("the", name, run[name], MAX_TAG_VALUE, changes)
    for key in run["metric_summary"]:
        result.metrics[key] = _map_key("metric", key, changes)
    for artifact in run["artifacts"]:
        name = artifact["name"]
        result.artifacts[name] = map_artifact_name(name)
        _record_rename("artifact", name, result.artifacts[name], changes)
    result.datasets = [_map_dataset(each, changes) for each in run["datasets"]]
    return result


def map_key(name: str) -> str:
    """Return MLflow's name for a param, metric or tag: the name itself if MLflow accepts it.

    Otherwise invalid characters are replaced by _, and eight digits of its SHA-256 keep similar names apart.
    """
    norm = posixpath.normpath(name)
    is_fine = norm == name and not norm.startswith(("..", "/")) and norm != "." and not _REFUSED.search(name)
    if is_fine and len(name) <= MAX_KEY:
        return name
    plain = _REFUSED.sub("_", name)
    plain = re.sub(r"^\.", "_", posixpath.normpath(plain).lstrip("/"))  # MLflow also uses names as paths
    return f"{plain[: MAX_KEY - _DIGEST - 1]}.{_digest(name)}"


def map_artifact_name(name: str) -> str:
    """Return MLflow's name for an artifact, likewise. The extension is kept: MLflow's preview depends on it."""
    if not _REFUSED_IN_ARTIFACTS.search(name):
        return name
    folders, slash, last = _REFUSED_IN_ARTIFACTS.sub("_", name).rpartition("/")
    stem, ending = posixpath.splitext(last)
    room = 255 - len(f".{_digest(name)}{ending}".encode())  # bytes of a file's name
    short_stem = stem.encode()[: max(room, 0)].decode(errors="ignore")
    return f"{folders}{slash}{short_stem}.{_digest(name)}{ending if room > 0 else ''}"


def _map_key(kind: str, name: str, changes: list[str]) -> str:
    key = map_key(name)
    if kind == "tag" and name.startswith(_RESERVED):  # reserved by MLflow, or by the export's records
        key = map_key(f"_{name[: MAX_KEY - _DIGEST - 2]}.{_digest(name)}")
    _record_rename(kind, name, key, changes)
    return key


def _record_rename(kind: str, name: str, other: str, changes: list[str]) -> None:
    if other != name:
        changes.append(f"{kind} {quote_name(name)} is renamed to {quote_name(other)}")


def _truncate(kind: str, name: str, value: str, limit: int, changes: list[str]) -> str:
    subject = f"{kind} {quote_name(name) if kind != 'the' else name}"
    if "\0" in value:  # PostgreSQL can't store it
        changes.append(f"{subject} has NUL characters, each replaced by \N{REPLACEMENT CHARACTER}")
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(value) <= limit:
        return value
    changes.append(f"{subject} is truncated: it has {len(value)} characters, and MLflow takes {limit}")
    return value[: limit - 1] + "…"


def _map_dataset(dataset: Mapping[str, Any], changes: list[str]) -> Dataset:
    """Translate a dataset. Unless an MLflow client described it, its profile holds the fields that MLflow lacks."""
    result = dataset_to_mlflow(dataset)
    if dataset.get("source_type") is not None:
        return result
    source = dataset.get("source") or ""
    name = dataset.get("name") or source or dataset.get("role") or "dataset"
    counts = {"num_rows": dataset.get("n_rows"), "num_cols": dataset.get("n_cols")}
    rest = {"features": dataset.get("features"), "hash": dataset.get("hash")}
    profile = {key: value for key, value in {**counts, **rest}.items() if value is not None}
    if len(strict_json.dumps(profile)) > MAX_DATASET_PROFILE:
        changes.append(f"dataset {quote_name(name)} loses its features, which are too long for MLflow")
        profile.pop("features", None)
        if len(strict_json.dumps(profile)) > MAX_DATASET_PROFILE:
            profile.pop("hash", None)
    uri = strict_json.dumps({"uri": source})
    if len(uri) > MAX_DATASET_SOURCE or len(name) > MAX_DATASET_NAME:
        changes.append(f"dataset {quote_name(name)} has a name or source that is too long for MLflow and is truncated")
        uri = uri if len(uri) <= MAX_DATASET_SOURCE else strict_json.dumps({"uri": source[:10_000]})
    digest = hashlib.sha256(strict_json.dumps(sorted(dataset.items())).encode()).hexdigest()
    text = strict_json.dumps(profile)
    return replace(result, name=name[:MAX_DATASET_NAME], digest=digest[:_DIGEST], source=uri, profile=text)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
