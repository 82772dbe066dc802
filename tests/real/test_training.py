"""A real training: digits told apart by a network of scikit-learn, tracked epoch by epoch as the how-to does it."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numpy as np
import requests
from servers import Running
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 20
PARAMS = {"hidden_layer_sizes": [32], "learning_rate_init": 0.01, "random_state": 7}


def test_a_trained_model_comes_back_by_its_stage_and_predicts_as_it_did(server: Running) -> None:
    digits = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(digits.data / 16, digits.target, test_size=0.3, random_state=7)
    session = requests.Session()

    def post(path: str, json: Any = None, data: bytes | None = None) -> Any:
        headers = None if data is None else {"Content-Type": "application/octet-stream"}
        answer = session.post(f"{server.url}/api/w/{path}", json=json, data=data, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    run_id = post("runs", json={"experiment": "digits", "name": "mlp", "created_by": "tests"})["id"]
    post(f"runs/{run_id}/params", json={**PARAMS, "epochs": EPOCHS})
    post(f"runs/{run_id}/datasets", json={"role": "train", "n_rows": len(train_x), "source": "sklearn digits"})
    model = MLPClassifier(**PARAMS)
    losses = []
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(train_x))
        model.partial_fit(train_x[order], train_y[order], classes=np.arange(10))
        losses.append(float(model.loss_))
        reached = float(accuracy_score(test_y, model.predict(test_x)))
        post(f"runs/{run_id}/metrics", json={"loss": losses[-1], "accuracy": reached, "step": epoch})
    pickled = pickle.dumps(model)
    post(f"runs/{run_id}/artifacts?name=model.pkl", data=pickled)
    post(f"runs/{run_id}/end", json={"status": "completed"})
    version = post("models", json={"name": "digits", "run_id": run_id, "artifact": "model.pkl"})["version"]
    post("models/digits/promote", json={"version": version, "stage": "production"})

    accuracy = float(accuracy_score(test_y, model.predict(test_x)))
    assert accuracy > 0.9, "the training itself went wrong"
    run = session.get(f"{server.url}/api/runs/{run_id}", timeout=60).json()
    assert run["metrics"]["accuracy"] == accuracy
    assert run["metric_summary"]["loss"]["min"] == min(losses)
    assert run["params"] == {**PARAMS, "epochs": EPOCHS}
    series = session.get(f"{server.url}/api/runs/{run_id}/metrics", timeout=60).json()
    assert [point["value"] for point in series["loss"]["points"]] == losses
    assert [point["step"] for point in series["accuracy"]["points"]] == list(range(EPOCHS))

    download = session.get(f"{server.url}/api/models/digits/production/download", timeout=60)
    download.raise_for_status()
    sha256 = hashlib.sha256(download.content).hexdigest()
    (held,) = session.get(f"{server.url}/api/models/digits", timeout=60).json()["versions"]
    assert sha256 == hashlib.sha256(pickled).hexdigest() == held["sha256"] == run["artifacts"][0]["sha256"]
    returned: MLPClassifier = pickle.loads(download.content)
    assert (returned.predict(test_x) == model.predict(test_x)).all()
    assert float(accuracy_score(test_y, returned.predict(test_x))) == run["metrics"]["accuracy"]
