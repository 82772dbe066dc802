"""A run in MLflow's words: what each of its parts is called there, what MLflow would refuse, and what is done about it.

Nothing is dropped silently. A name that MLflow refuses gets another one, made of the name alone, so that it is the same
in every run; a value that is too long is cut. Each such change is told, and the run as it was goes along as an
artifact.
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

#: The tags that an export keeps its account in.
RUN_ID, POINTS, ARTIFACTS = "chachaml.run_id", "chachaml.points", "chachaml.artifacts."
#: When an export made the run, in ns since 1970: of two made at once the earlier stays.
MADE = "chachaml.made"
CHANGED, POINTS_CHANGED = "chachaml.changed", "chachaml.points_changed"
ERROR, PARENT = "chachaml.error", "chachaml.parent_run_id"
_RESERVED = ("chachaml.", "mlflow.")
#: What the run is called, as an artifact, where something of it had to be changed.
ORIGINAL = "chachaml-run.json"

#: MLflow's limits, in characters (mlflow.utils.validation); of a tag's value older servers take 5,000.
MAX_KEY, MAX_PARAM_VALUE, MAX_TAG_VALUE = 250, 6000, 5000
MAX_DATASET_NAME, MAX_DATASET_SOURCE, MAX_DATASET_PROFILE = 500, 65_535, 1_000_000
_REFUSED = re.compile(r"[^/\w.\- :]")
#: MLflow's client writes these into a URL as they are, where they mean something else.
_REFUSED_IN_ARTIFACTS = re.compile(r"[%#?]|(?:(?<=/)|^) +")
_DIGEST = 8


@dataclass
class Mapped:
    """A run as MLflow is to have it."""

    name: str
    status: str
    start_time: int
    end_time: int | None
    params: dict[str, str] = field(default_factory=dict)
    #: All but those of the account.
    tags: dict[str, str] = field(default_factory=dict)
    #: What each metric is called, and each artifact.
    metrics: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    datasets: list[Dataset] = field(default_factory=list)
    #: What isn't as it was, a line each.
    changes: list[str] = field(default_factory=list)


def mapped(run: Mapping[str, Any]) -> Mapped:
    """A run, as GET /api/runs/:id answers it, in MLflow's words."""
    status = status_to_mlflow(run["status"], run["error"])
    made = Mapped(run["name"] or run["id"], status, run["start_time"], run["end_time"])
    changes = made.changes
    for key, value in run["params"].items():
        made.params[_key("param", key, changes)] = _cut("param", key, text_of(value), MAX_PARAM_VALUE, changes)
    for key, value in run["tags"].items():
        made.tags[_key("tag", key, changes)] = _cut("tag", key, text_of(value), MAX_TAG_VALUE, changes)
    for tag, name in ((NOTE, "note"), (USER, "created_by"), (ERROR, "error"), (PARENT, "parent_run_id")):
        if run[name] is not None:
            made.tags[tag] = _cut("the", name, run[name], MAX_TAG_VALUE, changes)
    for key in run["metric_summary"]:
        made.metrics[key] = _key("metric", key, changes)
    for artifact in run["artifacts"]:
        name = artifact["name"]
        made.artifacts[name] = artifact_name(name)
        _tell("artifact", name, made.artifacts[name], changes)
    made.datasets = [_dataset(each, changes) for each in run["datasets"]]
    return made


def key_of(name: str) -> str:
    """Return MLflow's name for a param, metric or tag: the name itself where MLflow accepts it.

    Otherwise what may not be in it is replaced by _, and eight digits of its sha256 keep it apart from its like.
    """
    norm = posixpath.normpath(name)
    is_fine = norm == name and not norm.startswith(("..", "/")) and norm != "." and not _REFUSED.search(name)
    if is_fine and len(name) <= MAX_KEY:
        return name
    plain = _REFUSED.sub("_", name)
    plain = re.sub(r"^\.", "_", posixpath.normpath(plain).lstrip("/"))  # MLflow takes a name for a path, too
    return f"{plain[: MAX_KEY - _DIGEST - 1]}.{_digest(name)}"


def artifact_name(name: str) -> str:
    """Return MLflow's name for an artifact, likewise; its extension stays, for MLflow shows it by that."""
    if not _REFUSED_IN_ARTIFACTS.search(name):
        return name
    folders, slash, last = _REFUSED_IN_ARTIFACTS.sub("_", name).rpartition("/")
    stem, ending = posixpath.splitext(last)
    room = 255 - len(f".{_digest(name)}{ending}".encode())  # of a file's name
    kept = stem.encode()[: max(room, 0)].decode(errors="ignore")
    return f"{folders}{slash}{kept}.{_digest(name)}{ending if room > 0 else ''}"


def _key(kind: str, name: str, changes: list[str]) -> str:
    key = key_of(name)
    if kind == "tag" and name.startswith(_RESERVED):  # it would mean something to MLflow, or to the account
        key = key_of(f"_{name[: MAX_KEY - _DIGEST - 2]}.{_digest(name)}")
    _tell(kind, name, key, changes)
    return key


def _tell(kind: str, name: str, other: str, changes: list[str]) -> None:
    if other != name:
        changes.append(f"{kind} {quote_name(name)} is called {quote_name(other)}")


def _cut(kind: str, name: str, value: str, most: int, changes: list[str]) -> str:
    of_what = f"{kind} {quote_name(name) if kind != 'the' else name}"
    if "\0" in value:  # which Postgres doesn't hold
        changes.append(f"{of_what} holds NUL characters, each replaced by \N{REPLACEMENT CHARACTER}")
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(value) <= most:
        return value
    changes.append(f"{of_what} is cut: {len(value)} characters, and MLflow takes {most}")
    return value[: most - 1] + "…"


def _dataset(described: Mapping[str, Any], changes: list[str]) -> Dataset:
    """One data set; what MLflow has no word for stands in its profile, unless a client of MLflow described it."""
    made = dataset_to_mlflow(described)
    if described.get("source_type") is not None:
        return made
    source = described.get("source") or ""
    name = described.get("name") or source or described.get("role") or "dataset"
    counts = {"num_rows": described.get("n_rows"), "num_cols": described.get("n_cols")}
    rest = {"features": described.get("features"), "hash": described.get("hash")}
    profile = {key: value for key, value in {**counts, **rest}.items() if value is not None}
    if len(strict_json.dumps(profile)) > MAX_DATASET_PROFILE:
        changes.append(f"data set {quote_name(name)} is without its features, which are too long for MLflow")
        profile.pop("features", None)
        if len(strict_json.dumps(profile)) > MAX_DATASET_PROFILE:
            profile.pop("hash", None)
    uri = strict_json.dumps({"uri": source})
    if len(uri) > MAX_DATASET_SOURCE or len(name) > MAX_DATASET_NAME:
        changes.append(f"data set {quote_name(name)} has a name or source that is too long for MLflow, and cut")
        uri = uri if len(uri) <= MAX_DATASET_SOURCE else strict_json.dumps({"uri": source[:10_000]})
    digest = hashlib.sha256(strict_json.dumps(sorted(described.items())).encode()).hexdigest()
    text = strict_json.dumps(profile)
    return replace(made, name=name[:MAX_DATASET_NAME], digest=digest[:_DIGEST], source=uri, profile=text)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
