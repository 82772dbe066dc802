"""A real MLflow server for tests, what MLflow's own client reads from it, and somebody between it and an export."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from benchmarks.peer_services import MLflow

from support.forks import Fork
from support.mlflow_commands import mlflow_forks
from support.servers import PATIENCE_SECONDS, environment

#: What a request to MLflow's server that changes something has in its path.
WRITES = ("create", "log-batch", "log-inputs", "update", "set-", "delete", "mlflow-artifacts/artifacts/")


@cache
def mlflow_module(name: str) -> Any:
    """A module of MLflow, which warns of much on its way, and is told to report to nobody."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
    os.environ |= {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


class MLflowServer(MLflow):
    """MLflow's server without its jobs, which no test asks for: they are eight processes that import MLflow each.

    The command is a fork of a process that has imported MLflow; it starts the server itself as a new Python.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(Path(sys.executable), folder)

    def variables(self) -> dict[str, str]:
        return {**super().variables(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def launch(self) -> Fork:
        _, _, *words = self.command()
        env = environment(**self.variables())
        return Fork(mlflow_forks(), *words, env=env, cwd=self.folder, log=self.log_file, leads_session=True)


class Reader:
    """A reader of a server, by MLflow's own client."""

    def __init__(self, url: str, log_file: Path) -> None:
        self.url = url
        self._log_file = log_file
        self.client = mlflow_module("mlflow.tracking").MlflowClient(url)

    def writes(self) -> list[str]:
        """The requests that have changed something, as the server has logged them."""
        lines = self._log_file.read_text().splitlines()
        return [line for line in lines if '"POST ' in line or '"PUT ' in line or '"DELETE ' in line if _writes(line)]

    def runs(self, experiment: str) -> list[Any]:
        """The runs of an experiment, as they were started."""
        found = self.client.get_experiment_by_name(experiment)
        assert found is not None, experiment
        return list(self.client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))

    def run(self, experiment: str) -> Any:
        """The one run of an experiment."""
        (run,) = self.runs(experiment)
        return run

    def points(self, run: Any, key: str) -> list[tuple[int, float, int]]:
        """All points of a metric: step, value and time, in order."""
        history = self.client.get_metric_history(run.info.run_id, key)
        return sorted((point.step, point.value, point.timestamp) for point in history)

    def artifacts(self, run: Any, under: str | None = None) -> dict[str, bytes]:
        """All artifacts with their bytes."""
        found: dict[str, bytes] = {}
        for each in self.client.list_artifacts(run.info.run_id, under):
            if each.is_dir:
                found |= self.artifacts(run, each.path)
            else:
                found[each.path] = Path(self.client.download_artifacts(run.info.run_id, each.path)).read_bytes()
        return found


def _writes(line: str) -> bool:
    return any(word in line for word in WRITES) and "/search" not in line


class Between:
    """Passes each request on to a server, until one comes for which `stops` is true: that one is never answered.

    `reached` is set then; whether the server got it before is `passes_on`. With a `status` it passes nothing on, and
    answers with that, in plain text, as what asks for a password does. With `drops` it closes that connection at once.
    """

    def __init__(
        self,
        target: str,
        stops: Callable[[str, Any], bool],
        *,
        passes_on: bool,
        status: int | None = None,
        drops: bool = False,
    ) -> None:
        self.drops = drops
        self.target, self.stops, self.passes_on, self.status = urlsplit(target), stops, passes_on, status
        self.reached, self.ended = threading.Event(), threading.Event()
        self.url = ""


@contextlib.contextmanager
def between(target: str, stops: Callable[[str, Any], bool], **settings: Any) -> Iterator[Between]:
    """A `Between` that listens."""
    made = Between(target, stops, **settings)
    handler = type("Handler", (_Handler,), {"between": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as front:
        made.url = f"http://127.0.0.1:{front.server_address[1]}"
        thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.ended.set()
            front.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    between: Between
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.between.status is not None:
            self._answer(self.between.status, "text/plain", b"You are not authenticated.")
            return
        stops = self.between.stops(self.path, _parsed(body))
        if stops and not self.between.passes_on:
            self._hang()
            return
        target = HTTPConnection(str(self.between.target.hostname), self.between.target.port, timeout=PATIENCE_SECONDS)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        target.request(self.command, self.path, body, kept)
        answer = target.getresponse()
        content = answer.read()
        target.close()
        if stops:
            self._hang()
            return
        self._answer(answer.status, answer.headers.get("Content-Type", ""), content)

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = _pass_on

    def _hang(self) -> None:
        self.between.reached.set()
        if not self.between.drops:
            self.between.ended.wait(PATIENCE_SECONDS)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _parsed(body: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(body)
    return None


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A real MLflow server for all tests, each of which has experiments of its own, and MLflow's client to read it."""
    service = MLflowServer(tmp_path_factory.mktemp("mlflow") / "server")
    try:
        service.start()
        yield Reader(service.url, service.log_file)
    finally:
        service.stop()
