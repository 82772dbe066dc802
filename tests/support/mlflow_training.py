"""A script: what people train with MLflow's defaults, against the server of MLFLOW_TRACKING_URI, seen by its client.

It prints one JSON object. It is run by MLflow 3.x and by 2.22, each in an environment of its own.
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


def with_sklearn() -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=200)
    model.fit(FEATURES, CLASSES)


def with_xgboost() -> None:
    import xgboost

    data = xgboost.DMatrix(FEATURES, label=CLASSES)
    params = {"objective": "multi:softprob", "num_class": 3}
    xgboost.train(params, data, num_boost_round=ROUNDS, evals=[(data, "train")], verbose_eval=False)


def with_lightgbm() -> None:
    import lightgbm

    data = lightgbm.Dataset(FEATURES, label=CLASSES)
    params = {"objective": "multiclass", "num_class": 3, "verbosity": -1}
    lightgbm.train(params, data, num_boost_round=ROUNDS, valid_sets=[data], valid_names=["train"])


def seen(run_id: str) -> dict[str, Any]:
    """Read a run afterwards with MLflow's client."""
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
        "models": logged_models(run),
    }


def logged_models(run: Any) -> list[dict[str, Any]]:
    """The logged models of a run; 2.x knows of none."""
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
    found = {}
    for train in (with_sklearn, with_xgboost, with_lightgbm):
        with mlflow.start_run() as run:
            train()
        # One model per version is enough of a process that loads it to find its requirements, for as long as all else
        # takes. Without any time for it MLflow falls back to the library itself.
        os.environ["MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT"] = "0"
        found[train.__name__.removeprefix("with_")] = seen(run.info.run_id)
    json.dump({"version": mlflow.__version__, "runs": found}, sys.stdout)


if __name__ == "__main__":
    main()
