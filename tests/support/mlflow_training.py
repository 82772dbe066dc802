"""A script that trains models with MLflow's autologging, and prints what MLflow's client reads of their runs.

It uses the server of MLFLOW_TRACKING_URI and prints one JSON object. The tests run it with MLflow 3.x and with 2.22,
each in an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")
import mlflow  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402

ROUNDS = 5
FEATURES, CLASSES = load_iris(return_X_y=True)


def train_sklearn() -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=200)
    model.fit(FEATURES, CLASSES)


def train_xgboost() -> None:
    import xgboost

    data = xgboost.DMatrix(FEATURES, label=CLASSES)
    params = {"objective": "multi:softprob", "num_class": 3}
    xgboost.train(params, data, num_boost_round=ROUNDS, evals=[(data, "train")], verbose_eval=False)


def train_lightgbm() -> None:
    import lightgbm

    data = lightgbm.Dataset(FEATURES, label=CLASSES)
    params = {"objective": "multiclass", "num_class": 3, "verbosity": -1}
    lightgbm.train(params, data, num_boost_round=ROUNDS, valid_sets=[data], valid_names=["train"])


def read_run(run_id: str) -> dict[str, Any]:
    """Read a finished run with MLflow's client."""
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    uri = f"runs:/{run_id}/model"
    return {
        "id": run_id,
        "status": run.info.status,
        "params": run.data.params,
        "metrics": run.data.metrics,
        "history": {key: [point.step for point in client.get_metric_history(run_id, key)] for key in run.data.metrics},
        "files": sorted(file.path for file in client.list_artifacts(run_id)),
        "model_files": sorted(file.path for file in mlflow.artifacts.list_artifacts(uri)),
        "predicts": len(mlflow.pyfunc.load_model(uri).predict(FEATURES)),
        "datasets": [(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs],
        "models": list_logged_models(run),
    }


def list_logged_models(run: Any) -> list[dict[str, Any]]:
    """Return the logged models of a run; 2.x has none."""
    if not hasattr(mlflow, "search_logged_models"):
        return []
    models = mlflow.search_logged_models(
        experiment_ids=[run.info.experiment_id],
        filter_string=f"source_run_id = '{run.info.run_id}'",
        output_format="list",
    )
    return [
        {
            "id": model.model_id,
            "name": model.name,
            "status": str(model.status),
            "metrics": sorted({metric.key for metric in model.metrics or []}),
        }
        for model in models
    ]


def main() -> None:
    mlflow.set_experiment("autologging")
    mlflow.autolog(silent=True)
    runs = {}
    for train in (train_sklearn, train_xgboost, train_lightgbm):
        with mlflow.start_run() as run:
            train()
        # To infer a model's requirements, MLflow loads it in another process, which takes as long as all the rest: one
        # model per version of MLflow is enough for that. With a timeout of 0 MLflow assumes the library itself.
        os.environ["MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT"] = "0"
        runs[train.__name__.removeprefix("train_")] = read_run(run.info.run_id)
    json.dump({"version": mlflow.__version__, "runs": runs}, sys.stdout)


if __name__ == "__main__":
    main()
