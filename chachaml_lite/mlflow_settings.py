"""Settings of MLflow's own client, by its variables: no output, no telemetry, and no retries for minutes."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

#: MLflow's variables (its documentation, "Environment variables"), unless the user has set them.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
#: By default it retries for minutes. At first an unreachable server is reported at once; later a hiccup is waited out.
AT_FIRST = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}
_LATER = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_MOST_TEXT = 500


def silence() -> None:
    """Suppress MLflow's output. Must be called before MLflow is imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def wait_out_hiccups() -> None:
    """Let MLflow retry a little from now on."""
    for name, value in _LATER.items():
        os.environ.setdefault(name, value)


def allow_folders() -> None:
    """Let clients from 3.13 on read a folder of files, which they refuse by default."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")


@contextmanager
def variables(values: Mapping[str, str], *, always: bool = False) -> Iterator[None]:
    """Set variables within a with block, which MLflow reads with each request; those of the user only if `always`."""
    changes = {
        name: value for name, value in values.items() if always or os.environ.get(name) in (None, _LATER.get(name))
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def one_line(fault: Exception) -> str:
    """Return the text of an error as one line; MLflow's own text for a failed connection is a page long."""
    text = " ".join(str(fault).split()) or type(fault).__name__
    for reason in ("Connection refused", "Name or service not known", "timed out", "Max retries exceeded"):
        if reason in text and "API request to" in text:
            return reason
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"
