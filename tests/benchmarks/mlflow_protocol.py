"""The requests of MLflow's protocol, which MLflow's server and this one understand, and its client as a program."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import wire

#: Points of one log_batch, which is MLflow's own limit.
BATCH = 1000
_SECONDS = 5
_CLIENT = """
import sys, time, json
import mlflow
client = mlflow.MlflowClient(sys.argv[1])
run = client.create_run("0").info.run_id
taken = []
began = time.perf_counter()
while time.perf_counter() - began < float(sys.argv[2]) and len(taken) < 2000:
    start = time.perf_counter()
    client.log_metric(run, "loss", 1 / (len(taken) + 1.5), step=len(taken))
    taken.append(time.perf_counter() - start)
print(json.dumps(taken[5:]))
"""


def post(what: str, value: Any) -> bytes:
    """A POST of MLflow's."""
    return wire.post(f"/api/2.0/mlflow/{what}", value)


def now_ms() -> int:
    """The time as MLflow's clients send it."""
    return time.time_ns() // 1_000_000


def new_run(connection: wire.Connection, experiment: str = "0") -> str:
    """Start a run; its id."""
    asked = {"experiment_id": experiment, "start_time": now_ms()}
    run: str = connection.ask_json(post("runs/create", asked))["run"]["info"]["run_id"]
    return run


def one(run: str, step: int) -> bytes:
    """One point of the metric "loss"."""
    point = {"key": "loss", "value": 1 / (step + 1.5), "timestamp": now_ms(), "step": step}
    return post("runs/log-metric", {"run_id": run, **point})


def many(run: str, points: Sequence[tuple[int, float]]) -> bytes:
    """Points of the metric "loss"."""
    at = now_ms()
    metrics = [{"key": "loss", "value": value, "timestamp": at, "step": step} for step, value in points]
    return post("runs/log-batch", {"run_id": run, "metrics": metrics})


def search(experiment: str, **more: Any) -> bytes:
    """A search for runs."""
    return post("runs/search", {"experiment_ids": [experiment], **more})


def load_runs(connection: wire.Connection, count: int, most_seconds: float) -> tuple[str, int]:
    """Make an experiment of small runs, as many as the time allows; its id and how many these are."""
    experiment: str = connection.ask_json(post("experiments/create", {"name": "many small runs"}))["experiment_id"]
    began, made = time.perf_counter(), 0
    while made < count and time.perf_counter() - began < most_seconds:
        run = new_run(connection, experiment)
        params = [{"key": f"p{number}", "value": str(number)} for number in range(5)]
        metrics = [{"key": "acc", "value": made % 1000 / 1000, "timestamp": now_ms(), "step": 0}]
        connection.ask(post("runs/log-batch", {"run_id": run, "params": params, "metrics": metrics}))
        made += 1
    return experiment, made


def client_times(python: Path, url: str) -> list[float]:
    """Return the duration of each log_metric of MLflow's own client, in seconds. Raises RuntimeError if it fails."""
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    command = [str(python), "-c", _CLIENT, url, str(_SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-300:])
    taken: list[float] = json.loads(done.stdout.splitlines()[-1])
    return taken
