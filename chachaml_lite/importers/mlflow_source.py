"""A source of MLflow's runs: a server, a database or a folder, read by MLflow's own client.

MLflow creates a missing folder or database, and migrates an older database: both are checked before it is called.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from .. import mlflow_settings
from ..mlflow_client import Errors, MlflowClient
from ..mlflow_client import NotInstalled as NotInstalled
from ..mlflow_settings import one_line
from ..tracking.series.points import StoredPoint

_SQLITE = "sqlite:///"
#: Items of one request.
_PAGE = 1000


class SourceMissing(Exception):
    """The URI's server, database or folder doesn't exist or can't be read; the text says why."""


class SourceUnreachable(Exception):
    """The URI's server is unreachable, perhaps since a moment ago."""


class Failed(Exception):
    """A request to the source failed; the text says why."""


class MlflowSource:
    """The content of a tracking URI: http://HOST:5000, sqlite:///FILE, or an `mlruns` folder."""

    def __init__(self, uri: str) -> None:
        """Open the source. Raises NotInstalled, SourceMissing, SourceUnreachable."""
        self.uri = _check_uri(uri)
        mlflow_settings.allow_folders()
        client = MlflowClient(self.uri, Errors(rejected=Failed, refused=SourceMissing, unreachable=SourceUnreachable))
        _refuse_older_database(self.uri)
        try:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            client.connect()
        except ImportError as fault:
            raise NotInstalled(
                f"to read {uri} all of MLflow is needed ({fault}), not its client alone; pip install mlflow"
            ) from fault
        except client.failures as fault:
            raise SourceMissing(f"{uri} can't be read: {one_line(fault)}") from fault
        self._active_only = client.entities.ViewType.ACTIVE_ONLY
        self._client = client.requests
        self._ask = client.ask
        self._repository = get_artifact_repository

    def experiments(self, name: str | None) -> list[Any]:
        """Return all experiments but deleted ones, or one by name. Raises SourceMissing, SourceUnreachable, Failed."""
        if name is None:
            return self._request_all(
                lambda **page: self._client.search_experiments(view_type=self._active_only, **page)
            )
        experiment = self._ask(lambda: self._client.get_experiment_by_name(name))
        if experiment is None or experiment.lifecycle_stage == "deleted":
            raise SourceMissing(f"MLflow has no experiment {name!r}, or it is deleted there")
        return [experiment]

    def runs(self, experiment_id: str) -> list[Any]:
        """Return the runs of an experiment that aren't deleted, oldest first. Raises SourceUnreachable, Failed."""
        order = ["attributes.start_time ASC"]
        return self._request_all(
            lambda **page: self._client.search_runs(
                [experiment_id], run_view_type=self._active_only, order_by=order, **page
            )
        )

    def run(self, run_id: str) -> Any:
        """Return the current state of a run, with its models, which lists omit. Raises SourceUnreachable, Failed."""
        return self._ask(lambda: self._client.get_run(run_id))

    def points(self, run_id: str, key: str) -> list[StoredPoint]:
        """Return all points of a metric. Raises SourceUnreachable, Failed."""
        history = self._ask(lambda: self._client.get_metric_history(run_id, key))
        return [(key, point.value, int(point.step), int(point.timestamp)) for point in history]

    def logged_models(self, experiment_id: str) -> list[Any]:
        """Return an experiment's logged models, oldest first; MLflow 2 has none. Raises SourceUnreachable, Failed."""
        if not hasattr(self._client, "search_logged_models"):
            return []
        try:
            models = self._request_all(lambda **page: self._client.search_logged_models([experiment_id], **page))
        except Failed as fault:
            if "ENDPOINT_NOT_FOUND" in str(fault) or "404" in str(fault):  # a server of 2.x
                return []
            raise
        return sorted(models, key=lambda model: (model.creation_timestamp, model.model_id))

    def registered_models(self) -> list[Any]:
        """Return the registered models. Raises SourceUnreachable, Failed."""
        return self._request_all(lambda **page: self._client.search_registered_models(**page), 100)

    def model_versions(self, name: str) -> list[Any]:
        """Return the versions of a registered model by number. Raises SourceUnreachable, Failed."""
        escaped = name.replace("'", "\\'")
        summaries = self._request_all(lambda **page: self._client.search_model_versions(f"name='{escaped}'", **page))
        numbers = [each.version for each in summaries]
        versions = [self._ask(lambda each=each: self._client.get_model_version(name, each)) for each in numbers]  # type: ignore[misc]
        return sorted(versions, key=lambda version: int(version.version))

    @contextlib.contextmanager
    def files(self, uri: str) -> Iterator[dict[str, Path]]:
        """Provide the files below an artifact URI by name, in a with block. Raises SourceUnreachable, Failed."""
        parts = urlsplit(uri)
        if parts.scheme in ("", "file"):
            yield _files_in(Path(unquote(parts.path) if parts.scheme else uri))
            return
        with tempfile.TemporaryDirectory(prefix="chachaml-") as scratch:
            repository = self._ask(lambda: self._repository(uri), Exception)
            if self._ask(lambda: repository.list_artifacts(), Exception):
                self._ask(lambda: repository.download_artifacts("", scratch), Exception)
            yield _files_in(Path(scratch))

    def _request_all(self, request: Callable[..., Any], size: int = _PAGE) -> list[Any]:
        items: list[Any] = []
        token: str | None = None
        while True:
            page = self._ask(lambda token=token: request(max_results=size, page_token=token))  # type: ignore[misc]
            items += page
            token = page.token or None
            if token is None:
                return items


def _files_in(folder: Path) -> dict[str, Path]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _check_uri(uri: str) -> str:
    """Return a tracking URI whose file or folder exists. Raises SourceMissing."""
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/")
    if uri.startswith(_SQLITE):
        if not Path(_database_path(uri)).is_file():
            raise SourceMissing(f"there is no file {_database_path(uri)}")
        return uri
    if "://" in uri and not uri.startswith("file://"):
        raise SourceMissing(f"{uri} is not http://HOST:PORT, sqlite:///FILE or an mlruns folder")
    folder = Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)
    if folder.is_file():
        raise SourceMissing(f"{uri} is a file; for a database write {_SQLITE}{uri}")
    if not folder.is_dir():
        raise SourceMissing(f"there is no folder {uri}")
    if not any(folder.glob("*/meta.yaml")):
        raise SourceMissing(
            f"{uri} is not an MLflow folder: no folder in it has a meta.yaml; use the mlruns folder itself"
        )
    return folder.resolve().as_uri()


def _database_path(uri: str) -> str:
    return uri.removeprefix(_SQLITE).partition("?")[0]


def _refuse_older_database(uri: str) -> None:
    """Raise SourceMissing for a database of another MLflow version: the client would migrate it, or fail later."""
    if not uri.startswith(_SQLITE):
        return
    file = f"file:{quote(_database_path(uri))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(file, uri=True)) as database:
            row = database.execute("select version_num from alembic_version").fetchone()
    except sqlite3.Error as fault:
        raise SourceMissing(f"{_database_path(uri)} is not an MLflow database ({fault})") from fault
    try:
        from mlflow.store.db.utils import _get_latest_schema_revision
    except ImportError as fault:
        raise NotInstalled(
            f"to read {uri} all of MLflow is needed ({fault}), not its client alone; pip install mlflow"
        ) from fault
    expected = _get_latest_schema_revision()
    if row is None or row[0] != expected:
        revision = None if row is None else row[0]
        raise SourceMissing(
            f"{_database_path(uri)} is from another version of MLflow (its schema is {revision}, but the installed "
            f"MLflow has {expected}); install that version, or migrate a copy with `mlflow db upgrade`"
        )
