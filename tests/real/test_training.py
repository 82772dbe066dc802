"""A real model: trained, tracked, downloaded by its stage, and unchanged."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import requests
from support.servers import Server


def test_model_downloaded_by_its_stage_predicts_as_after_the_training(server: Server) -> None:
    # scikit-learn takes a second to import, in each process that only collects this test, too
    from sklearn.metrics import accuracy_score
    from support.training import EPOCHS, PARAMS, load_test_images, train

    session = requests.Session()

    def post(path: str, **body: Any) -> Any:
        response = session.post(f"{server.url}/api/w/{path}", json=body, timeout=60)
        response.raise_for_status()
        return response.json()

    run_id = post("runs", experiment="digits", name="mlp", created_by="tests")["id"]
    training = train(server.url, run_id)
    post(f"runs/{run_id}/end", status="completed")
    version = post("models", name="digits", run_id=run_id, artifact="model.pkl")["version"]
    post("models/digits/promote", version=version, stage="production")

    assert training.accuracy > 0.9, "the training itself has failed"
    run = session.get(f"{server.url}/api/runs/{run_id}", timeout=60).json()
    assert run["metrics"]["accuracy"] == training.accuracy
    assert run["metric_summary"]["loss"]["min"] == min(training.losses)
    assert run["params"] == {**PARAMS, "epochs": EPOCHS}
    series = session.get(f"{server.url}/api/runs/{run_id}/metrics", timeout=60).json()
    assert [point["value"] for point in series["loss"]["points"]] == training.losses
    assert [point["step"] for point in series["accuracy"]["points"]] == list(range(EPOCHS))

    download = session.get(f"{server.url}/api/models/digits/production/download", timeout=60)
    download.raise_for_status()
    sha256 = hashlib.sha256(download.content).hexdigest()
    (model_version,) = session.get(f"{server.url}/api/models/digits", timeout=60).json()["versions"]
    assert (
        sha256
        == hashlib.sha256(training.model_pickle).hexdigest()
        == model_version["sha256"]
        == run["artifacts"][0]["sha256"]
    )
    model = pickle.loads(download.content)
    images, digits = load_test_images()
    assert model.predict(images).tolist() == training.predictions
    assert float(accuracy_score(digits, model.predict(images))) == run["metrics"]["accuracy"]
