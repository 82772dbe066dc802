"""A source of MLflow's runs: a server, a database or a folder, read by MLflow's own client, known only here.

MLflow makes what isn't there, and migrates a database that is older than it: both are looked at before it is asked.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from .. import mlflow_settings
from ..mlflow_settings import AT_FIRST, one_line, variables
from ..tracking.series.points import StoredPoint

R = TypeVar("R")

_SQLITE = "sqlite:///"
#: Of what is asked for at once.
_PAGE = 1000


class NotInstalled(Exception):
    """MLflow isn't installed, or not all of it that is needed; the text says what to do."""


class NotThere(Exception):
    """The URI's server, database or folder isn't there or can't be read; the text says why."""


class NoAnswer(Exception):
    """Nobody answers at the URI, or not any more."""


class Failed(Exception):
    """A request to the source failed; the text says why."""


class MlflowSource:
    """A tracking URI's content: http://HOST:5000, sqlite:///FILE, or a folder `mlruns`."""

    def __init__(self, uri: str) -> None:
        """Look whether it is there. Raises NotInstalled, NotThere, NoAnswer."""
        self.uri = _checked(uri)
        mlflow_settings.silence()
        mlflow_settings.allow_folders()
        try:
            from mlflow import entities
            from mlflow.exceptions import MlflowException, RestException
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
            from mlflow.tracking import MlflowClient, set_tracking_uri
        except ImportError as fault:
            raise NotInstalled(
                f"MLflow's client is not installed ({fault}); pip install 'chachaml-lite[mlflow]'"
            ) from fault
        self._faults: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._answered: type[Exception] = RestException
        self._active = entities.ViewType.ACTIVE_ONLY
        self._repository = get_artifact_repository
        _refuse_older_database(self.uri)
        set_tracking_uri(self.uri)
        try:
            self._client = MlflowClient(self.uri, self.uri)
            absence = self._absence()
        except ImportError as fault:
            raise NotInstalled(
                f"to read {uri} all of MLflow is needed ({fault}), not its client alone; pip install mlflow"
            ) from fault
        except self._faults as fault:
            raise NotThere(f"{uri} can't be read: {one_line(fault)}") from fault
        if absence is not None:
            raise absence
        mlflow_settings.wait_out_hiccups()

    def experiments(self, name: str | None) -> list[Any]:
        """The experiments that are not deleted, or the one of a name. Raises NotThere, NoAnswer, Failed."""
        if name is None:
            return self._pages(lambda **page: self._client.search_experiments(view_type=self._active, **page))
        found = self._ask(lambda: self._client.get_experiment_by_name(name))
        if found is None or found.lifecycle_stage == "deleted":
            raise NotThere(f"MLflow has no experiment {name!r}, or it is deleted there")
        return [found]

    def runs(self, experiment_id: str) -> list[Any]:
        """The runs of an experiment that are not deleted, the first started first. Raises NoAnswer, Failed."""
        order = ["attributes.start_time ASC"]
        return self._pages(
            lambda **page: self._client.search_runs([experiment_id], run_view_type=self._active, order_by=order, **page)
        )

    def run(self, run_id: str) -> Any:
        """One run as it is now, with its models, which lists leave out. Raises NoAnswer, Failed."""
        return self._ask(lambda: self._client.get_run(run_id))

    def points(self, run_id: str, key: str) -> list[StoredPoint]:
        """All points of a metric. Raises NoAnswer, Failed."""
        history = self._ask(lambda: self._client.get_metric_history(run_id, key))
        return [(key, point.value, int(point.step), int(point.timestamp)) for point in history]

    def logged_models(self, experiment_id: str) -> list[Any]:
        """The logged models of an experiment, the first one first; MLflow 2.x has none. Raises NoAnswer, Failed."""
        if not hasattr(self._client, "search_logged_models"):
            return []
        try:
            found = self._pages(lambda **page: self._client.search_logged_models([experiment_id], **page))
        except Failed as fault:
            if "ENDPOINT_NOT_FOUND" in str(fault) or "404" in str(fault):  # a server of 2.x
                return []
            raise
        return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))

    def registered_models(self) -> list[Any]:
        """The registered models. Raises NoAnswer, Failed."""
        return self._pages(lambda **page: self._client.search_registered_models(**page), 100)

    def model_versions(self, name: str) -> list[Any]:
        """The versions of a registered model, the first one first. Raises NoAnswer, Failed."""
        escaped = name.replace("'", "\\'")
        found = self._pages(lambda **page: self._client.search_model_versions(f"name='{escaped}'", **page))
        versions = [self._ask(lambda each=each: self._client.get_model_version(name, each.version)) for each in found]  # type: ignore[misc]
        return sorted(versions, key=lambda version: int(version.version))

    @contextlib.contextmanager
    def files(self, uri: str) -> Iterator[dict[str, Path]]:
        """The files below an artifact URI by their names there, for as long as the block goes on. NoAnswer, Failed."""
        parts = urlsplit(uri)
        if parts.scheme in ("", "file"):
            yield _files_in(Path(unquote(parts.path) if parts.scheme else uri))
            return
        with tempfile.TemporaryDirectory(prefix="chachaml-") as scratch:
            repository = self._ask(lambda: self._repository(uri), Exception)
            if self._ask(lambda: repository.list_artifacts(), Exception):
                self._ask(lambda: repository.download_artifacts("", scratch), Exception)
            yield _files_in(Path(scratch))

    def _pages(self, request: Callable[..., Any], size: int = _PAGE) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._ask(lambda token=token: request(max_results=size, page_token=token))  # type: ignore[misc]
            found += page
            token = page.token or None
            if token is None:
                return found

    def _ask(self, request: Callable[[], R], *more_faults: type[Exception]) -> R:
        """Send a request and return its answer. Raises Failed; NoAnswer, when the server has gone."""
        try:
            return request()
        except (*self._faults, *more_faults) as fault:
            gone = None if isinstance(fault, self._answered) else self._absence()
            raise gone or Failed(one_line(fault)) from fault

    def _absence(self) -> Exception | None:
        """Return why the source can't be used; None when it answers."""
        with variables(AT_FIRST):
            try:
                self._client.search_experiments(max_results=1)
            except self._faults as fault:
                status = getattr(fault, "get_http_status_code", lambda: 500)()
                if status in (401, 403):
                    return NotThere(
                        f"MLflow's server at {self.uri} refuses us: {one_line(fault)}; MLFLOW_TRACKING_USERNAME and "
                        "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, say who you are"
                    )
                if not self.uri.startswith("http"):
                    return NotThere(f"{self.uri} can't be read: {one_line(fault)}")
                return NoAnswer(f"no MLflow server answers at {self.uri} ({one_line(fault)})")
        return None


def _files_in(folder: Path) -> dict[str, Path]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _checked(uri: str) -> str:
    """A tracking URI that names something which is there. Raises NotThere."""
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/")
    if uri.startswith(_SQLITE):
        if not Path(_database_of(uri)).is_file():
            raise NotThere(f"there is no file {_database_of(uri)}")
        return uri
    if "://" in uri and not uri.startswith("file://"):
        raise NotThere(f"{uri} is none of http://HOST:PORT, sqlite:///FILE and a folder mlruns")
    folder = Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)
    if folder.is_file():
        raise NotThere(f"{uri} is a file; a database is named as {_SQLITE}{uri}")
    if not folder.is_dir():
        raise NotThere(f"there is no folder {uri}")
    if not any(folder.glob("*/meta.yaml")):
        raise NotThere(f"{uri} is no folder of MLflow's: none in it has a meta.yaml; name the folder mlruns itself")
    return folder.resolve().as_uri()


def _database_of(uri: str) -> str:
    return uri.removeprefix(_SQLITE).partition("?")[0]


def _refuse_older_database(uri: str) -> None:
    """Raise NotThere for a database of another version of MLflow: its client would migrate it, or refuse it later."""
    if not uri.startswith(_SQLITE):
        return
    file = f"file:{quote(_database_of(uri))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(file, uri=True)) as database:
            row = database.execute("select version_num from alembic_version").fetchone()
    except sqlite3.Error as fault:
        raise NotThere(f"{_database_of(uri)} is no database of MLflow's ({fault})") from fault
    try:
        from mlflow.store.db.utils import _get_latest_schema_revision
    except ImportError as fault:
        raise NotInstalled(
            f"to read {uri} all of MLflow is needed ({fault}), not its client alone; pip install mlflow"
        ) from fault
    expected = _get_latest_schema_revision()
    if row is None or row[0] != expected:
        found = None if row is None else row[0]
        raise NotThere(
            f"{_database_of(uri)} is of another version of MLflow (its schema is {found}, and that of the MLflow which "
            f"is installed {expected}); install that one, or migrate a copy by `mlflow db upgrade`"
        )
