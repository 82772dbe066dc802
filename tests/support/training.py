"""A real training: digits told apart by a network of scikit-learn, tracked epoch by epoch, as the how-to does it.

As a script it logs to the run that CHACHAML_URL and CHACHAML_RUN_ID name, as a step of a job does.
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
    #: Of the images that the training did not see.
    accuracy: float
    predictions: list[int]
    pickled: bytes


def load_test_images() -> tuple[Any, Any]:
    """The images that the training does not see, and which digits they are."""
    _, images, _, digits = _parts()
    return images, digits


def train(url: str, run_id: str, epochs: int = EPOCHS, **changed: Any) -> TrainingResult:
    """Train, and log to a run of the server at `url`: params, a dataset, metrics of each epoch, the model.

    `changed`: params of the network that are to be others.
    """
    params = {**PARAMS, **changed}
    session = requests.Session()

    def post(path: str, json: Any = None, data: bytes | None = None) -> None:
        headers = None if data is None else {"Content-Type": "application/octet-stream"}
        answer = session.post(f"{url}/api/w/runs/{run_id}/{path}", json=json, data=data, headers=headers, timeout=60)
        answer.raise_for_status()

    seen, images, seen_digits, digits = _parts()
    post("params", json={**params, "epochs": epochs})
    post("datasets", json={"role": "train", "n_rows": len(seen), "source": "sklearn digits"})
    model = MLPClassifier(**params)
    losses = []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(seen))
        model.partial_fit(seen[order], seen_digits[order], classes=np.arange(10))
        losses.append(float(model.loss_))
        predictions = model.predict(images)
        accuracy = float(accuracy_score(digits, predictions))
        post("metrics", json={"loss": losses[-1], "accuracy": accuracy, "step": epoch})
    pickled = pickle.dumps(model)
    post("artifacts?name=model.pkl", data=pickled)
    return TrainingResult(losses, accuracy, predictions.tolist(), pickled)


def _parts() -> Any:
    digits = load_digits()
    return train_test_split(digits.data / 16, digits.target, test_size=0.3, random_state=7)


if __name__ == "__main__":
    train(os.environ["CHACHAML_URL"], os.environ["CHACHAML_RUN_ID"])
