"""This service, MLflow's server and trackio's: how to start each, and its requests for the same workloads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from support.servers import environment, free_port

from . import mlflow_protocol, wire
from .gauges import resident_bytes

_START_SECONDS = 240
_PARAMS = {f"param_{number:02}": str(number) for number in range(20)}
_METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "lr")
_POINTS = 100

Points = Sequence[tuple[int, float]]


class Process(Protocol):
    """A running process, as `subprocess.Popen` is one."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self) -> object: ...


class Service(ABC):
    """A server in its own process, with its data in `folder`, and the requests of its protocol."""

    name: str
    #: The most points of one request.
    batch: int
    #: Whether it supports MLflow's clients.
    speaks_mlflow = False

    def __init__(self, python: Path, folder: Path) -> None:
        """`python`: the interpreter that the service is installed for."""
        self.python = python.absolute()
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: Process | None = None

    @property
    def log_file(self) -> Path:
        """The file of the server's output."""
        return self.folder / "server.log"

    def start(self) -> float:
        """Start the server and return the seconds until it responds. RuntimeError, with its output, if it doesn't."""
        began = time.perf_counter()
        self._process = self.launch()
        while time.perf_counter() - began < _START_SECONDS and self._process.poll() is None:
            with contextlib.suppress(OSError, wire.ApiError), wire.Connection(self.url) as connection:
                connection.ask(self.build_probe())
                return time.perf_counter() - began
            time.sleep(0.05)
        raise RuntimeError(self.log_file.read_text(errors="replace")[-500:])

    def launch(self) -> Process:
        """Start the server's process, as the first of a group."""
        with self.log_file.open("wb") as log:
            return subprocess.Popen(
                self.command(),
                cwd=self.folder,  # MLflow creates an unneeded database in the working directory
                stdout=log,
                stderr=log,
                env=environment(**self.variables()),
                start_new_session=True,
            )

    def stop(self) -> None:
        """Kill the server and its workers, which are one process group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def memory(self) -> float:
        """Return the memory of the server and its workers, in bytes."""
        assert self._process is not None
        return sum(resident_bytes(pid) for pid in _get_process_tree(self._process.pid))

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that starts it."""

    def variables(self) -> dict[str, str]:
        """Return its environment variables."""
        return {}

    @abstractmethod
    def build_probe(self) -> bytes:
        """Build a request that succeeds once the server is ready."""

    @abstractmethod
    def new_run(self, connection: wire.Connection) -> str:
        """Start a run and return its id."""

    @abstractmethod
    def build_point(self, run: str, step: int) -> bytes:
        """Build a request that logs one point of the metric "loss"."""

    @abstractmethod
    def build_batch(self, run: str, points: Points) -> bytes:
        """Build a request that logs at most `batch` points of the metric "loss"."""

    @abstractmethod
    def log_whole_run(self, connection: wire.Connection, number: int) -> None:
        """Log and end a run of 20 params and 5 metrics with 100 points each. The accuracy depends on the number."""

    @abstractmethod
    def build_newest(self) -> bytes:
        """Build a request for the newest 100 runs."""

    @abstractmethod
    def build_ordered(self) -> bytes | None:
        """Build a request for the 100 runs with the greatest accuracy above 0.5, or None if unsupported."""

    @abstractmethod
    def build_chart_request(self, run: str) -> bytes:
        """Build a request for 1,000 points of the series "loss"."""

    @abstractmethod
    def build_upload_head(self, run: str, size: int) -> bytes | None:
        """Build the head of an upload, or None if the server accepts no upload as one body."""


def _get_process_tree(pid: int) -> list[int]:
    pids = [pid]
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pids += _get_process_tree(int(child))
    return pids


def _build_metrics(number: int, step: int) -> dict[str, float]:
    share = (step + 1) / _POINTS
    return dict.fromkeys(_METRICS, 1 / (step + 1.5)) | {"accuracy": number % 1000 / 1000 * share}


class ChachamlLite(Service):
    """This service."""

    name = "chachaml-lite"
    batch = 10_000
    speaks_mlflow = True

    def command(self) -> list[str]:
        data = str(self.folder / "store")
        return [str(self.python), "-m", "chachaml_lite", "serve", "--port", str(self.port), "--data", data]

    def build_probe(self) -> bytes:
        return wire.get("/api/health")

    def new_run(self, connection: wire.Connection) -> str:
        run: str = connection.ask_json(wire.post("/api/w/runs", {"experiment": "bench"}))["id"]
        return run

    def build_point(self, run: str, step: int) -> bytes:
        return wire.post(f"/api/w/runs/{run}/metrics", {"loss": 1 / (step + 1.5), "step": step})

    def build_batch(self, run: str, points: Points) -> bytes:
        return wire.post(f"/api/w/runs/{run}/metrics", [{"loss": value, "step": step} for step, value in points])

    def log_whole_run(self, connection: wire.Connection, number: int) -> None:
        base = f"/api/w/runs/{self.new_run(connection)}"
        connection.ask(wire.post(f"{base}/params", _PARAMS))
        points = [{**_build_metrics(number, step), "step": step} for step in range(_POINTS)]
        connection.ask(wire.post(f"{base}/metrics", points))
        connection.ask(wire.post(f"{base}/end", {"status": "completed"}))

    def build_newest(self) -> bytes:
        return wire.get("/api/runs?limit=100")

    def build_ordered(self) -> bytes | None:
        return wire.get(f"/api/runs?order_by={quote('metrics.accuracy desc')}&limit=100")

    def build_chart_request(self, run: str) -> bytes:
        return wire.get(f"/api/runs/{run}/metrics?key=loss&max_points=1000")

    def build_upload_head(self, run: str, size: int) -> bytes | None:
        return wire.build_upload_head(f"/api/w/runs/{run}/artifacts?name=a", size)


class MLflow(Service):
    """MLflow's tracking server on SQLite, with one worker: its default of four stalls 40 ms a request (Nagle)."""

    name = "MLflow"
    batch = mlflow_protocol.BATCH
    speaks_mlflow = True
    _experiment = "0"

    def command(self) -> list[str]:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        files = ["--artifacts-destination", str(self.folder / "artifacts")]
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        return [str(self.python), "-m", "mlflow", "server", *store, *files, *address]

    def variables(self) -> dict[str, str]:
        return {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

    def build_probe(self) -> bytes:
        return wire.get("/health")

    def new_run(self, connection: wire.Connection) -> str:
        return mlflow_protocol.new_run(connection, self._experiment)

    def build_point(self, run: str, step: int) -> bytes:
        return mlflow_protocol.build_point(run, step)

    def build_batch(self, run: str, points: Points) -> bytes:
        return mlflow_protocol.build_batch(run, points)

    def log_whole_run(self, connection: wire.Connection, number: int) -> None:
        run, at = self.new_run(connection), mlflow_protocol.now_ms()
        metrics = [
            {"key": key, "value": value, "timestamp": at, "step": step}
            for step in range(_POINTS)
            for key, value in _build_metrics(number, step).items()
        ]
        params = [{"key": key, "value": value} for key, value in _PARAMS.items()]
        connection.ask(mlflow_protocol.post("runs/log-batch", {"run_id": run, "metrics": metrics, "params": params}))
        body = {"run_id": run, "status": "FINISHED", "end_time": mlflow_protocol.now_ms()}
        connection.ask(mlflow_protocol.post("runs/update", body))

    def build_newest(self) -> bytes:
        return self._search(order_by=["attributes.start_time DESC"])

    def build_ordered(self) -> bytes | None:
        return self._search(order_by=["metrics.accuracy DESC"], filter="metrics.accuracy > 0.5")

    def _search(self, **more: Any) -> bytes:
        return mlflow_protocol.search(self._experiment, max_results=100, **more)

    def build_chart_request(self, run: str) -> bytes:
        fields = f"run_ids={run}&metric_key=loss&max_results=1000"
        return wire.get(f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{fields}")

    def build_upload_head(self, run: str, size: int) -> bytes | None:
        return wire.build_upload_head(f"/api/2.0/mlflow-artifacts/artifacts/{run}/a", size, "PUT")


class Trackio(Service):
    """trackio's dashboard server, which receives the batches of its client."""

    name = "trackio"
    batch = 10_000
    _token = "benchmark"
    _project = "bench"
    _runs = 0

    def command(self) -> list[str]:
        show = f"import trackio; trackio.show(open_browser=False, block_thread=True, server_port={self.port})"
        return [str(self.python), "-c", show]

    def variables(self) -> dict[str, str]:
        return {"TRACKIO_DIR": str(self.folder / "store"), "TRACKIO_WRITE_TOKEN": self._token, "HF_HUB_OFFLINE": "1"}

    def build_probe(self) -> bytes:
        return wire.get("/version")

    def _post(self, path: str, **fields: Any) -> bytes:
        return wire.post(f"/api/{path}", {"kwargs": fields}, {"X-Trackio-Write-Token": self._token})

    def new_run(self, connection: wire.Connection) -> str:
        self._runs += 1
        return f"run-{self._runs}"

    def _entry(self, run: str, step: int, metrics: dict[str, float], **more: Any) -> dict[str, Any]:
        return {"project": self._project, "run": run, "run_id": run, "metrics": metrics, "step": step, **more}

    def build_point(self, run: str, step: int) -> bytes:
        return self._post("bulk_log", logs=[self._entry(run, step, {"loss": 1 / (step + 1.5)})], hf_token=None)

    def build_batch(self, run: str, points: Points) -> bytes:
        logs = [self._entry(run, step, {"loss": value}) for step, value in points]
        return self._post("bulk_log", logs=logs, hf_token=None)

    def log_whole_run(self, connection: wire.Connection, number: int) -> None:
        run = self.new_run(connection)
        logs = [self._entry(run, step, _build_metrics(number, step), config=_PARAMS) for step in range(_POINTS)]
        connection.ask(self._post("bulk_log", logs=logs, hf_token=None))

    def build_newest(self) -> bytes:
        return self._post("get_runs_for_project", project=self._project)

    def build_ordered(self) -> bytes | None:
        return None

    def build_chart_request(self, run: str) -> bytes:
        fields = {"project": self._project, "run": run, "run_id": run, "metric_name": "loss", "max_points": 1000}
        return self._post("get_metric_values", **fields)

    def build_upload_head(self, run: str, size: int) -> bytes | None:
        return None
