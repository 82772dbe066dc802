"""Requests of MLflow's protocol, for MLflow's server and this one, and its client as a process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import wire

#: The points of one log_batch: MLflow's own limit.
BATCH = 1000
_SECONDS = 5
_CLIENT = """
import sys, time, json
import mlflow
client = mlflow.MlflowClient(sys.argv[1])
run = client.create_run("0").info.run_id
durations = []
began = time.perf_counter()
while time.perf_counter() - began < float(sys.argv[2]) and len(durations) < 2000:
    start = time.perf_counter()
    client.log_metric(run, "loss", 1 / (len(durations) + 1.5), step=len(durations))
    durations.append(time.perf_counter() - start)
print(json.dumps(durations[5:]))
"""


def post(path: str, value: Any) -> bytes:
    """Build a POST of MLflow's protocol."""
    return wire.post(f"/api/2.0/mlflow/{path}", value)


def now_ms() -> int:
    """Return the time in ms, as MLflow's clients send it."""
    return time.time_ns() // 1_000_000


def new_run(connection: wire.Connection, experiment: str = "0") -> str:
    """Start a run and return its id."""
    body = {"experiment_id": experiment, "start_time": now_ms()}
    run: str = connection.ask_json(post("runs/create", body))["run"]["info"]["run_id"]
    return run


def build_point(run: str, step: int) -> bytes:
    """Build a request that logs one point of the metric "loss"."""
    point = {"key": "loss", "value": 1 / (step + 1.5), "timestamp": now_ms(), "step": step}
    return post("runs/log-metric", {"run_id": run, **point})


def build_batch(run: str, points: Sequence[tuple[int, float]]) -> bytes:
    """Build a request that logs points of the metric "loss"."""
    at = now_ms()
    metrics = [{"key": "loss", "value": value, "timestamp": at, "step": step} for step, value in points]
    return post("runs/log-batch", {"run_id": run, "metrics": metrics})


def search(experiment: str, **more: Any) -> bytes:
    """Build a search for runs."""
    return post("runs/search", {"experiment_ids": [experiment], **more})


def load_runs(connection: wire.Connection, count: int, most_seconds: float) -> tuple[str, int]:
    """Log small runs into a new experiment, as many as the time allows. Return its id and their number."""
    experiment: str = connection.ask_json(post("experiments/create", {"name": "many small runs"}))["experiment_id"]
    began, count_so_far = time.perf_counter(), 0
    while count_so_far < count and time.perf_counter() - began < most_seconds:
        run = new_run(connection, experiment)
        params = [{"key": f"p{number}", "value": str(number)} for number in range(5)]
        metrics = [{"key": "acc", "value": count_so_far % 1000 / 1000, "timestamp": now_ms(), "step": 0}]
        connection.ask(post("runs/log-batch", {"run_id": run, "params": params, "metrics": metrics}))
        count_so_far += 1
    return experiment, count_so_far


def measure_client_times(python: Path, url: str) -> list[float]:
    """Return the duration of each log_metric of MLflow's own client, in seconds. Raises RuntimeError if it fails."""
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    command = [str(python), "-c", _CLIENT, url, str(_SECONDS)]
    process = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, check=False)
    if process.returncode != 0:
        raise RuntimeError(process.stderr[-300:])
    durations: list[float] = json.loads(process.stdout.splitlines()[-1])
    return durations
