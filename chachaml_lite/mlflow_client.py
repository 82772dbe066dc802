"""MLflow's own client for one tracking URI: imported when it is needed, its errors told apart.

Its output and its telemetry are switched off by its own environment variables: the only hosts contacted are the
tracking server and the artifact storage that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from . import mlflow_settings
from .mlflow_settings import AT_FIRST, one_line, variables

R = TypeVar("R")


class NotInstalled(Exception):
    """MLflow isn't installed, or only a part of it; the text says what to do."""


class Errors(NamedTuple):
    """The exceptions by which a caller tells apart why MLflow can't do something. Each takes a text that says why."""

    #: A request failed, and others may not.
    rejected: type[Exception]
    #: The server refuses access, or a database or folder can't be read.
    refused: type[Exception]
    #: No server answers, perhaps since a moment ago.
    unreachable: type[Exception]


class MlflowClient:
    """The client. `connect` comes before everything else."""

    def __init__(self, uri: str, errors: Errors) -> None:
        """Import MLflow. Raises NotInstalled."""
        mlflow_settings.silence()
        try:
            from mlflow import entities
            from mlflow.exceptions import MlflowException, RestException
            from mlflow.tracking import MlflowClient as Requests
            from mlflow.tracking import set_tracking_uri
        except ImportError as fault:
            raise NotInstalled(
                f"MLflow's client is not installed ({fault}); pip install 'chachaml-lite[mlflow]'"
            ) from fault
        self.uri = uri
        #: MLflow's module of this name.
        self.entities: Any = entities
        #: MLflow's class of this name, with a method for each request.
        self.requests: Any = None
        #: What its requests raise.
        self.failures: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._response_error: type[Exception] = RestException
        self._requests_class: Any = Requests
        self._set_tracking_uri = set_tracking_uri
        self._errors = errors

    def connect(self) -> None:
        """Find out whether the URI can be used. Raises `errors`, `failures`; ImportError where a part is missing."""
        self._set_tracking_uri(self.uri)  # older clients look up the artifact storage there
        self.requests = self._requests_class(self.uri, self.uri)
        fault = self._find_fault()
        if fault is not None:
            raise fault
        mlflow_settings.wait_out_hiccups()

    def ask(self, request: Callable[[], R], *more_failures: type[Exception]) -> R:
        """Send a request and return its response. Raises `errors`.

        `more_failures` are further exceptions that it may raise: each kind of artifact storage has its own.
        """
        try:
            return request()
        except (*self.failures, *more_failures) as fault:
            absence = None if isinstance(fault, self._response_error) else self._find_fault()
            raise absence or self._errors.rejected(one_line(fault)) from fault

    def _find_fault(self) -> Exception | None:
        """Return the reason why the URI can't be used, or None if it responds."""
        with variables(AT_FIRST):
            try:
                self.requests.search_experiments(max_results=1)
            except self.failures as fault:
                status = getattr(fault, "get_http_status_code", lambda: 500)()
                if status in (401, 403):
                    return self._errors.refused(
                        f"MLflow's server at {self.uri} refuses access: {one_line(fault)}; set "
                        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
                    )
                if not self.uri.startswith("http"):
                    return self._errors.refused(f"{self.uri} can't be read: {one_line(fault)}")
                return self._errors.unreachable(f"no MLflow server answers at {self.uri} ({one_line(fault)})")
        return None
