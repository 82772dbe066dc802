"""A real training: a network of scikit-learn learns to classify digits, and each epoch is logged as in the how-to.

As a script it logs to the run of CHACHAML_URL and CHACHAML_RUN_ID, as a step of a CI job does.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 20
PARAMS = {"hidden_layer_sizes": [32], "learning_rate_init": 0.01, "random_state": 7}


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training, to compare it with the tracked run."""

    losses: list[float]
    #: On the test images.
    accuracy: float
    predictions: list[int]
    model_pickle: bytes


def load_test_images() -> tuple[Any, Any]:
    """Return the images that are not used for training, and their digits."""
    _, images, _, digits = _split_digits()
    return images, digits


def train(url: str, run_id: str, epochs: int = EPOCHS, **changes: Any) -> TrainingResult:
    """Train, and log to a run of the server at `url`: params, a dataset, metrics of each epoch, the model.

    `changes`: params of the network that replace those of PARAMS.
    """
    params = {**PARAMS, **changes}
    session = requests.Session()

    def post(path: str, json: Any = None, data: bytes | None = None) -> None:
        headers = None if data is None else {"Content-Type": "application/octet-stream"}
        response = session.post(f"{url}/api/w/runs/{run_id}/{path}", json=json, data=data, headers=headers, timeout=60)
        response.raise_for_status()

    train_images, test_images, train_digits, test_digits = _split_digits()
    post("params", json={**params, "epochs": epochs})
    post("datasets", json={"role": "train", "n_rows": len(train_images), "source": "sklearn digits"})
    model = MLPClassifier(**params)
    losses = []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(train_images))
        model.partial_fit(train_images[order], train_digits[order], classes=np.arange(10))
        losses.append(float(model.loss_))
        predictions = model.predict(test_images)
        accuracy = float(accuracy_score(test_digits, predictions))
        post("metrics", json={"loss": losses[-1], "accuracy": accuracy, "step": epoch})
    model_pickle = pickle.dumps(model)
    post("artifacts?name=model.pkl", data=model_pickle)
    return TrainingResult(losses, accuracy, predictions.tolist(), model_pickle)


def _split_digits() -> Any:
    digits = load_digits()
    return train_test_split(digits.data / 16, digits.target, test_size=0.3, random_state=7)


if __name__ == "__main__":
    train(os.environ["CHACHAML_URL"], os.environ["CHACHAML_RUN_ID"])
