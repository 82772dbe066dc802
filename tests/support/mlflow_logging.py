"""A typical program that uses MLflow 3.x or 2.22: it logs, reads and searches runs, and prints the results.

Run it by a Python with MLflow: `python mlflow_logging.py URL FOLDER`. It imports no other module of the tests.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
os.environ |= {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "GIT_PYTHON_REFRESH": "quiet"}

import mlflow  # type: ignore[import-not-found,unused-ignore]


def main(url: str, folder: Path) -> dict[str, Any]:
    """Log two nested runs, and return what MLflow's client reads of them."""
    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient()
    mlflow.set_experiment(f"logged by {mlflow.__version__}")
    (folder / "sub").mkdir()
    for name, content in (("empty.txt", b""), ("größe.txt", b"text"), ("sub/deep.json", b"{}")):
        (folder / name).write_bytes(content)
    with mlflow.start_run(run_name="parent", description="A *note*", tags={"team": "a"}) as parent:
        mlflow.log_params({"lr": 0.01, "epochs": 100, "on": True, "net": "resnet"})
        for step in range(5):
            mlflow.log_metrics({"loss": 1 / (step + 1), "acc": step / 5}, step=step)
        mlflow.log_metric("odd", math.nan)
        mlflow.log_artifacts(str(folder), "files")
        mlflow.log_dict({"a": 1}, "config.json")
        mlflow.log_text("old", "note.txt")
        mlflow.log_text("new", "note.txt")
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_metric("loss", 0.1)
    run_id = parent.info.run_id
    with mlflow.start_run(run_id=run_id):
        mlflow.log_metric("loss", 0.05, step=9)
    run = client.get_run(run_id)
    codes = {}
    calls: dict[str, Callable[[], Any]] = {
        "param": lambda: client.log_param(run_id, "lr", "0.1"),
        "run": lambda: client.get_run("no-such-run"),
        "tag": lambda: client.delete_tag(run_id, "none"),
        "filter": lambda: client.search_runs([run.info.experiment_id], "a OR b"),
        "experiment": lambda: client.create_experiment(f"logged by {mlflow.__version__}"),
    }
    for name, call in calls.items():
        try:
            call()
        except mlflow.exceptions.MlflowException as error:
            codes[name] = error.error_code
    matches = mlflow.search_runs(filter_string="metrics.loss < 0.2 and params.net ILIKE 'RES%'", output_format="list")
    local = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="files"))
    return {
        "version": mlflow.__version__,
        "run_id": run_id,
        "status": run.info.status,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {key: value for key, value in run.data.metrics.items() if key != "odd"},
        "odd": math.isnan(run.data.metrics["odd"]),
        "history": [[point.step, point.value] for point in client.get_metric_history(run_id, "loss")],
        "found": [each.info.run_id for each in matches],
        "children": [each.info.run_name for each in client.search_runs(
            [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")],
        "artifacts": sorted(each.path for each in client.list_artifacts(run_id)),
        "files": {str(path.relative_to(local)): path.read_text() for path in local.rglob("*") if path.is_file()},
        "text": mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt"),
        "codes": codes,
    }  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]))) + "\n")
