"""A script that logs, registers and loads models with MLflow's client, and gives them aliases and stages.

`python mlflow_registering.py PART` uses the server of MLFLOW_TRACKING_URI and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
import mlflow  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

FEATURES, CLASSES = load_iris(return_X_y=True)
IS_3 = mlflow.__version__ >= "3"


@cache
def train_model() -> Any:
    return LogisticRegression(max_iter=200).fit(FEATURES, CLASSES)


def log(model: Any, name: str, **fields: Any) -> Any:
    """Log a model; 2.x names the folder of its files.

    Its requirements are passed: to infer them MLflow loads it in another process, which takes as long as all the rest.
    mlflow_training.py logs a model with the defaults.
    """
    fields |= {"name" if IS_3 else "artifact_path": name, "pip_requirements": ["scikit-learn"]}
    return mlflow.sklearn.log_model(model, **fields)


def predicts_correctly(uri: str) -> bool:
    """Check that the model at a URI predicts the same as the trained one."""
    return list(mlflow.pyfunc.load_model(uri).predict(FEATURES)) == list(train_model().predict(FEATURES))


def register() -> dict[str, Any]:
    """Log a model in two runs, register both, and give one an alias."""
    client = mlflow.MlflowClient()
    mlflow.set_experiment("registering")
    with mlflow.start_run() as first:
        info = log(train_model(), "iris", registered_model_name="iris")
    with mlflow.start_run() as second:
        log(train_model(), "iris")
    second_version = mlflow.register_model(f"runs:/{second.info.run_id}/iris", "iris")
    client.set_registered_model_alias("iris", "champion", "1")
    client.set_model_version_tag("iris", "2", "by", "a script")
    client.update_model_version("iris", "2", "the second")
    uris = ["models:/iris@champion", "models:/iris/1", "models:/iris/2", "models:/iris/latest", info.model_uri]
    uris += [f"runs:/{first.info.run_id}/iris", f"runs:/{second.info.run_id}/iris"]
    folder = mlflow.artifacts.download_artifacts(artifact_uri="models:/iris@champion")
    return {
        "runs": [first.info.run_id, second.info.run_id],
        "second": second_version.version,
        "predicts": {uri: predicts_correctly(uri) for uri in uris},
        "files": sorted(os.listdir(folder)),
        "versions": list_versions(),
    }


def list_versions() -> list[list[Any]]:
    client = mlflow.MlflowClient()
    versions = client.search_model_versions("name = 'iris'", order_by=["version_number ASC"])
    return [
        [each.version, each.run_id, each.current_stage, sorted(each.aliases), each.description or "", each.tags]
        for each in versions
    ]


def load_and_promote() -> dict[str, Any]:
    """Load the version in production by alias and by stage, then promote another one."""
    client = mlflow.MlflowClient()
    before = client.get_model_version_by_alias("iris", "production").version
    loaded = [predicts_correctly(uri) for uri in ("models:/iris@production", "models:/iris/Production")]
    client.transition_model_version_stage("iris", "1", "Production", archive_existing_versions=True)
    client.delete_registered_model_alias("iris", "champion")
    return {"before": before, "loaded": loaded, "versions": list_versions()}


def log_without_run() -> dict[str, Any]:
    """Log models without a run, evaluate one in another run, and download one of a single file registered with curl."""
    client = mlflow.MlflowClient()
    mlflow.set_experiment("alone")
    info = log(train_model(), "alone")
    external = mlflow.create_external_model(
        name="external", params={str(n): str(n) for n in range(150)}, tags={"a": "b"}
    )
    with mlflow.start_run() as run:
        mlflow.log_metric("eval", 0.5, step=3, model_id=info.model_id)
    version = mlflow.register_model(info.model_uri, "alone")
    single = mlflow.artifacts.download_artifacts(artifact_uri="models:/single/1")
    experiment = mlflow.get_experiment_by_name("alone").experiment_id
    models = mlflow.search_logged_models(experiment_ids=[experiment], output_format="list")
    evaluated_model = mlflow.get_logged_model(info.model_id)
    return {
        "predicts": [predicts_correctly(info.model_uri), predicts_correctly("models:/alone/1")],
        "version": [version.version, version.run_id],
        "models": [[each.name, str(each.status), each.source_run_id or ""] for each in models],
        "external": [len(external.params), external.tags["a"]],
        "metrics": [[each.key, each.value, each.step, each.run_id] for each in evaluated_model.metrics],
        "inputs": [each.model_id for each in client.get_run(run.info.run_id).inputs.model_inputs],
        "runs": [each.info.run_id for each in client.search_runs([experiment])],
        "run": run.info.run_id,
        "model": info.model_id,
        "single": {path.name: path.read_text() for path in Path(single).iterdir()},
    }


if __name__ == "__main__":
    parts = {"register": register, "promote": load_and_promote, "alone": log_without_run}
    json.dump(parts[sys.argv[1]](), sys.stdout)
