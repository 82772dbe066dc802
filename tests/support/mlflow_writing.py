"""A script that logs runs and models to the MLflow server of its first argument, as a project does over time.

It prints their ids as one JSON object. `python mlflow_writing.py URI more` logs more to the same experiment.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
warnings.simplefilter("ignore")
import mlflow  # noqa: E402
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, Metric  # noqa: E402

NAME = "from MLflow"


def write_file(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def log_model(client: Any, experiment: str, run_id: str | None, folder: Path, name: str) -> str:
    model = client.create_logged_model(
        experiment, name, run_id, tags={"made": "here"}, params={"depth": "3"}, model_type="tree"
    )
    write_file(folder / name, "MLmodel", b"flavors: {}")
    write_file(folder / name, "data/weights.bin", f"weights of {name}".encode())
    client.log_model_artifacts(model.model_id, str(folder / name))
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def write(client: Any, folder: Path) -> dict[str, Any]:
    experiment = client.create_experiment(NAME, tags={"team": "x", "mlflow.note.content": "What **they** did"})
    tags = {"a": "b", "mlflow.user": "maria"}
    run = client.create_run(experiment, start_time=1_700_000_000_000, run_name="parent", tags=tags).info.run_id
    for key, value in {"lr": "0.01", "epochs": "100", "odd": "007", "text": "True", "empty": ""}.items():
        client.log_param(run, key, value)
    points = [Metric("loss", 1 / (step + 1), 1_700_000_000_000 + step, step) for step in range(50)]
    client.log_batch(run, metrics=[*points, Metric("nan", float("nan"), 1_700_000_000_003, 3)])
    client.set_tag(run, "mlflow.note.content", "a note")
    dataset = Dataset("iris.csv", "d1gest", "local", '{"uri": "iris.csv"}', None, '{"num_rows": 150}')
    client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
    client.log_artifact(run, write_file(folder, "größe ☃.txt", b"snow"))
    client.log_artifact(run, write_file(folder, "empty", b""), "deep/er")
    write_file(folder / "model", "MLmodel", b"2.x")
    client.log_artifacts(run, str(folder / "model"), "model")
    model = log_model(client, experiment, run, folder, "iris")
    second = log_model(client, experiment, run, folder, "iris")
    client.log_metric(run, "acc", 0.9, 1_700_000_000_100, 7, model_id=model)
    client.set_terminated(run, "FINISHED", 1_700_000_100_000)
    child = client.create_run(experiment, start_time=1_700_000_050_000, tags={"mlflow.parentRunId": run}).info.run_id
    client.log_inputs(child, models=[LoggedModelInput(model)])
    client.set_terminated(child, "KILLED", 1_700_000_060_000)
    active_run = client.create_run(experiment, start_time=1_700_000_070_000, run_name="going on").info.run_id
    client.log_metric(active_run, "loss", 3.0, 1_700_000_070_001, 0)
    deleted_run = client.create_run(experiment, run_name="deleted").info.run_id
    client.set_terminated(deleted_run)
    client.delete_run(deleted_run)
    model_without_run = log_model(client, experiment, None, folder, "alone")
    client.create_experiment("without runs", tags={"k": "v"})
    client.create_registered_model("iris", tags={"owner": "maria"}, description="flowers")
    client.create_model_version("iris", f"models:/{model}", run, tags={"n": "1"}, description="first", model_id=model)
    client.create_model_version("iris", f"models:/{second}", run, model_id=second)
    client.create_model_version("iris", f"models:/{model_without_run}", model_id=model_without_run)
    source = f"{client.get_run(run).info.artifact_uri}/model"
    client.create_model_version("iris", source, run)
    client.delete_model_version("iris", "2")
    client.set_registered_model_alias("iris", "champion", "1")
    client.transition_model_version_stage("iris", "3", "Production")
    client.transition_model_version_stage("iris", "4", "Staging")
    client.create_registered_model("without versions")
    return {"experiment": experiment, "run": run, "child": child, "active": active_run, "deleted": deleted_run} | {
        "models": [model, second, model_without_run]
    }


def write_more(client: Any, folder: Path) -> dict[str, Any]:
    """Log to the same experiment and models again, after the first import."""
    experiment = client.get_experiment_by_name(NAME).experiment_id
    (active_run,) = client.search_runs([experiment], "attributes.run_name = 'going on'")
    run = active_run.info.run_id
    client.log_metric(run, "loss", 2.0, 1_700_000_070_002, 1)
    client.log_artifact(run, write_file(folder, "late.txt", b"late"))
    model = log_model(client, experiment, run, folder, "later")
    client.set_terminated(run, "FAILED", 1_700_000_090_000)
    client.create_model_version("iris", f"models:/{model}", run, model_id=model)
    client.transition_model_version_stage("iris", "5", "Production", archive_existing_versions=True)
    client.set_registered_model_alias("iris", "champion", "5")
    return {"active": run, "model": model}


def main() -> None:
    client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
    mlflow.set_tracking_uri(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        function = write_more if sys.argv[2:] == ["more"] else write
        json.dump(function(client, Path(folder)), sys.stdout)


if __name__ == "__main__":
    main()
