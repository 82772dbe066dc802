"""A run in two stores, by their manifests: what of it one lacks (`GET /api/runs/:id/manifest`).

The rules are those by which an import adds to a run (`tracking.merging`): every part of a run only grows, and tags,
note and files of no meaning to us may change. What contradicts itself is something that the other lacks, too: it is
for its server to say so.
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
from ..tracking.transfer.merged_end import END_FIELDS, merged_end
from ..tracking.transfer.merged_mlflow import MLFLOW, merged_mlflow

#: A file that says no more than none does.
_NO_POINTS = (layout.METRICS, 0)


class File(NamedTuple):
    """A file of a run that is no artifact's."""

    size: int
    sha256: str


class Manifest:
    """The content of a run in one store."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """From what the API has answered."""
        self.id: str = answer["id"]
        self.digest: str = answer["digest"]
        #: When it was last written to, in s since 1970.
        self.written: int = answer["last_write_time"] // 1000
        self.damage: str | None = answer["damage"]
        self.meta: dict[str, Any] = answer["meta"]
        self.params: dict[str, Any] = answer["params"]
        self.uploads: list[dict[str, Any]] = answer["uploads"]
        self.events: list[dict[str, Any]] = answer.get("logged_models", [])
        self.artifacts = last_uploads(self.uploads)
        self.files = {each["path"]: File(each["size"], each["sha256"]) for each in answer["files"]}

    @property
    def points_bytes(self) -> int:
        """Bytes of points."""
        return self.files[layout.METRICS].size if layout.METRICS in self.files else 0


@dataclass(frozen=True)
class Lack:
    """The part of a run that a store lacks."""

    meta: bool
    params: bool
    #: What was said of logged models.
    events: bool
    #: Paths of files that are no artifact's.
    files: list[str]
    #: Names of artifacts whose bytes it hasn't.
    artifacts: list[str]
    #: Names of artifacts that were given other bytes in both stores.
    disputed: list[str]
    #: Names of artifacts that were deleted here alone.
    deletions: list[str]

    def __bool__(self) -> bool:
        names = self.files or self.artifacts or self.disputed or self.deletions
        return self.meta or self.params or self.events or bool(names)

    def bytes_of(self, run: Manifest) -> int:
        """Return the bytes of files and artifacts that this is."""
        files = sum(run.files[path].size for path in self.files)
        return files + sum(run.artifacts[name].size for name in self.artifacts)


def find_lacking(run: Manifest, there: Manifest | None) -> Lack:
    """Return what another store, in which the run is `there`, lacks of it.

    Of the points that are there only as many bytes are looked at as the run has here.
    """
    if there is None:
        return Lack(True, bool(run.params), bool(run.events), list(run.files), list(run.artifacts), [], [])
    were_here, were_there = _uploads(run), _uploads(there)
    artifacts: list[str] = []
    disputed: list[str] = []
    for name, artifact in run.artifacts.items():
        held = there.artifacts.get(name)
        if held is None and is_deleted(artifact, there.artifacts, were_there):
            continue
        if held is None or not (_same_bytes(artifact, held) or artifact in were_there):
            (artifacts if held is None or held in were_here else disputed).append(name)
    return Lack(
        not _has_meta(run.meta, there.meta),
        not _has_all(run.params, there.params),
        not set(map(event_key, run.events)) <= set(map(event_key, there.events)),
        [path for path, file in run.files.items() if there.files.get(path) != file and (path, file.size) != _NO_POINTS],
        artifacts,
        disputed,
        [name for name, held in there.artifacts.items() if is_deleted(held, run.artifacts, were_here)],
    )


def _uploads(run: Manifest) -> set[Line | None]:
    return set(map(line_from, run.uploads))


def _same_bytes(one: Artifact, other: Artifact) -> bool:
    return (one.sha256, one.size) == (other.sha256, other.size)


def _has_all(values: dict[str, Any], there: dict[str, Any]) -> bool:
    return all(key in there and same_json(value, there[key]) for key, value in values.items())


def _has_meta(meta: dict[str, Any], there: dict[str, Any]) -> bool:
    for key, value in meta.items():
        held = there.get(key)
        if key in END_FIELDS or key == "deleted_at":
            has = True
        elif key == MLFLOW:
            has = merged_mlflow(there, meta) == merged_mlflow(there, there)
        elif key in CHANGEABLE or key == "env":
            has = value is None or same_json(value, held)
        elif key == "tags":
            has = _has_all(value, held or {})
        elif key == "note":
            has = not value or value == held
        elif key == "datasets":
            has = merge_datasets(held or [], value) == (held or [])
        else:
            has = same_json(value, held)
        if not has:
            return False
    return merged_end(there, meta) == {field: there.get(field) for field in END_FIELDS}
