"""MLflow's artifacts: files of runs and of logged models, addressed by the paths at the end of their URIs.

A path is EXPERIMENT/RUN/artifacts/NAME, EXPERIMENT/models/MODEL_ID/artifacts/NAME, or (read-only)
EXPERIMENT/versions/MODEL/N/artifacts/NAME. The first segment is ignored: a run's id is unique in the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response

from ..errors import InvalidInput, NotFound
from ..tracking import artifact_deletion, artifacts, logged_models
from ..tracking import model_versions as versions
from ..tracking.index.model_history import Version
from ..tracking.index.run_entry import Run
from ..tracking.names import quote_name
from ..web import request_body
from ..web.artifact_bytes import send_artifact
from ..web.context import tracker
from . import requests, responses, vocabulary

api = Blueprint("mlflow_artifacts", __name__)

_PATHS = "/api/2.0/mlflow-artifacts/artifacts"
_SHAPES = "EXPERIMENT/RUN/artifacts/NAME, or EXPERIMENT/models/MODEL_ID/artifacts/NAME"


@dataclass(frozen=True)
class Place:
    """A location in a run's artifacts: `name` within `folder`; "" stands for the folder itself, and for the root."""

    run_id: str
    folder: str
    name: str
    #: The only file that is visible there; None: all of them.
    only: str | None = None

    @property
    def path(self) -> str:
        """The path of the artifact or folder within the run."""
        return "/".join(part for part in (self.folder, self.name) if part)


def parse_path(path: str) -> Place:
    """Parse a path. Raises InvalidInput, NotFound (for an unknown logged model or version)."""
    parts = path.split("/")
    if len(parts) >= 5 and parts[1] == "versions" and parts[4] == "artifacts":
        return _place_in_version(versions.get_version(tracker(), parts[2], parts[3]), "/".join(parts[5:]))
    if len(parts) >= 4 and parts[1] == "models" and parts[3] == "artifacts":
        model = logged_models.get_model(tracker(), parts[2], deleted=True)
        return Place(model.run_id, model.folder, "/".join(parts[4:]))
    if len(parts) >= 3 and parts[2] == "artifacts":
        return Place(parts[1], "", "/".join(parts[3:]))
    raise InvalidInput(f"the path {quote_name(path)} does not name an artifact; use {_SHAPES}")


def _place_in_version(version: Version, name: str) -> Place:
    folder, _, file = version.artifact.rpartition("/")
    only = None if version.is_folder else file
    if name and only not in (None, name):
        raise NotFound("artifact", f"the version has no file {quote_name(name)}: it is {quote_name(file)} alone")
    return Place(version.run_id, folder, name, only)


@api.put(f"{_PATHS}/<path:path>")
def store_artifact(path: str) -> Response:
    """Store the body, of any type, as an artifact. An existing artifact of that name is replaced."""
    place = parse_path(path)
    if not place.name or path.split("/")[1] == "versions":
        raise InvalidInput(f"the path {quote_name(path)} does not name a file to upload; use {_SHAPES}")
    stream, size = request_body.open_upload()
    artifacts.store_artifact(tracker(), place.run_id, place.path, stream, size, overwrite=True, even_ended=True)
    return responses.answer()


@api.get(f"{_PATHS}/<path:path>")
def download_artifact(path: str) -> Response:
    """Return the bytes of an artifact."""
    place = parse_path(path)
    return send_artifact(place.run_id, place.path)


@api.delete(f"{_PATHS}/<path:path>")
def delete_artifacts(path: str) -> Response:
    """Delete a file, or everything in a folder. A run's root cannot be deleted."""
    place = parse_path(path.rstrip("/"))
    if not place.path or path.split("/")[1] == "versions":
        raise InvalidInput(f"the path {quote_name(path)} cannot be deleted; use {_SHAPES}")
    is_file = place.path in tracker().run(place.run_id).artifacts
    artifact_deletion.delete_artifacts(tracker(), place.run_id, place.path if is_file else f"{place.path}/")
    return responses.answer()


@api.get(_PATHS)
def list_artifacts() -> Response:
    """List the files and folders in a folder by the last segment of their names; empty for anything but a folder."""
    place = parse_path(requests.parse_fields().text("path").strip("/"))
    run = tracker().run(place.run_id)
    return responses.answer(files=list_folder(run, place, prefix=""))


@api.get("/api/2.0/mlflow/artifacts/list")
def list_artifacts_of_run() -> Response:
    """List the files and folders in a folder of a run by their paths from the run's root."""
    fields = requests.parse_fields()
    run = tracker().run(fields.text("run_id"))
    path = (fields.maybe_text("path") or "").rstrip("/")
    return responses.answer(
        root_uri=vocabulary.artifact_uri(run.meta["experiment"], run.id),
        files=list_folder(run, Place(run.id, "", path), prefix=f"{path}/" if path else ""),
    )


def list_folder(run: Run, place: Place, prefix: str) -> list[dict[str, Any]]:
    """List the files and folders in a folder, sorted, each name prefixed by `prefix`, without those of logged models.

    MLflow's server omits these as well: for runs:/RUN/NAME its client requests the files of both the run and the
    model, and would list each of them twice.
    """
    model_folders = logged_models.folders_of(tracker(), run) if not place.folder else []
    start = f"{place.path}/" if place.path else ""
    sizes: dict[str, int | None] = {}
    for name, artifact in run.artifacts.items():
        if name.startswith(start) and not _is_within(name, model_folders):
            first, slash, _ = name[len(start) :].partition("/")
            if place.only not in (None, first + slash):
                continue
            sizes[first] = None if slash else artifact.size
    return [
        responses.without_none(path=prefix + name, is_dir=sizes[name] is None, file_size=sizes[name])
        for name in sorted(sizes)
    ]


def _is_within(name: str, folders: Iterable[str]) -> bool:
    return any(name.startswith(f"{folder}/") for folder in folders)
