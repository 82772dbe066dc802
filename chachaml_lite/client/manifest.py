"""Comparison of a run in two stores by its manifests (`GET /api/runs/:id/manifest`): the parts that one store lacks.

The rules are those of an import (`tracking.transfer.merge`): every part of a run only grows, while tags, note and
unknown files may change. A part that contradicts the other store's counts as lacking, too: its server reports the
conflict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from ..store import layout
from ..tracking.datasets import merge_datasets
from ..tracking.index.artifact_lines import Artifact, Line, is_deleted, line_from
from ..tracking.params import same_json
from ..tracking.runs import CHANGEABLE
from ..tracking.transfer.manifest import event_key, last_uploads
from ..tracking.transfer.merge_end import END_FIELDS, merge_end
from ..tracking.transfer.merge_mlflow import MLFLOW, merge_mlflow

#: An empty file of points, which is equivalent to none.
_NO_POINTS = (layout.METRICS, 0)


class File(NamedTuple):
    """A file of a run that isn't an artifact."""

    size: int
    sha256: str


class Manifest:
    """The manifest of a run in one store."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """Parse the response of the API."""
        self.id: str = answer["id"]
        self.digest: str = answer["digest"]
        #: The time of the last write, in s since 1970.
        self.last_write_s: int = answer["last_write_time"] // 1000
        self.damage: str | None = answer["damage"]
        self.meta: dict[str, Any] = answer["meta"]
        self.params: dict[str, Any] = answer["params"]
        self.uploads: list[dict[str, Any]] = answer["uploads"]
        self.events: list[dict[str, Any]] = answer.get("logged_models", [])
        self.artifacts = last_uploads(self.uploads)
        self.files = {each["path"]: File(each["size"], each["sha256"]) for each in answer["files"]}

    @property
    def points_bytes(self) -> int:
        """The size of the points' file in bytes."""
        return self.files[layout.METRICS].size if layout.METRICS in self.files else 0


@dataclass(frozen=True)
class Lack:
    """The parts of a run that a store lacks."""

    meta: bool
    params: bool
    #: Events of logged models.
    events: bool
    #: Paths of files that aren't artifacts.
    files: list[str]
    #: Names of artifacts whose bytes are missing.
    artifacts: list[str]
    #: Names of artifacts that were overwritten in both stores.
    conflicts: list[str]
    #: Names of artifacts that were deleted only here.
    deletions: list[str]

    def __bool__(self) -> bool:
        names = self.files or self.artifacts or self.conflicts or self.deletions
        return self.meta or self.params or self.events or bool(names)

    def bytes_of(self, run: Manifest) -> int:
        """Return the size in bytes of the missing files and artifacts."""
        files = sum(run.files[path].size for path in self.files)
        return files + sum(run.artifacts[name].size for name in self.artifacts)


def find_lacking(run: Manifest, there: Manifest | None) -> Lack:
    """Return the parts of a run that another store lacks, where its manifest is `there`.

    Only as many bytes of its points are compared as the run has here.
    """
    if there is None:
        return Lack(True, bool(run.params), bool(run.events), list(run.files), list(run.artifacts), [], [])
    here_uploads, there_uploads = _uploads(run), _uploads(there)
    artifacts: list[str] = []
    conflicts: list[str] = []
    for name, artifact in run.artifacts.items():
        other = there.artifacts.get(name)
        if other is None and is_deleted(artifact, there.artifacts, there_uploads):
            continue
        if other is None or not (_same_bytes(artifact, other) or artifact in there_uploads):
            (artifacts if other is None or other in here_uploads else conflicts).append(name)
    return Lack(
        not _has_meta(run.meta, there.meta),
        not _has_all(run.params, there.params),
        not set(map(event_key, run.events)) <= set(map(event_key, there.events)),
        [path for path, file in run.files.items() if there.files.get(path) != file and (path, file.size) != _NO_POINTS],
        artifacts,
        conflicts,
        [name for name, other in there.artifacts.items() if is_deleted(other, run.artifacts, here_uploads)],
    )


def _uploads(run: Manifest) -> set[Line | None]:
    return set(map(line_from, run.uploads))


def _same_bytes(one: Artifact, other: Artifact) -> bool:
    return (one.sha256, one.size) == (other.sha256, other.size)


def _has_all(values: dict[str, Any], there: dict[str, Any]) -> bool:
    return all(key in there and same_json(value, there[key]) for key, value in values.items())


def _has_meta(meta: dict[str, Any], there: dict[str, Any]) -> bool:
    for key, value in meta.items():
        other = there.get(key)
        if key in END_FIELDS or key == "deleted_at":
            is_present = True
        elif key == MLFLOW:
            is_present = merge_mlflow(there, meta) == merge_mlflow(there, there)
        elif key in CHANGEABLE or key == "env":
            is_present = value is None or same_json(value, other)
        elif key == "tags":
            is_present = _has_all(value, other or {})
        elif key == "note":
            is_present = not value or value == other
        elif key == "datasets":
            is_present = merge_datasets(other or [], value) == (other or [])
        else:
            is_present = same_json(value, other)
        if not is_present:
            return False
    return merge_end(there, meta) == {field: there.get(field) for field in END_FIELDS}
