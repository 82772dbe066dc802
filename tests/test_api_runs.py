"""A run logged over HTTP, and read back: the main job."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask.testing import FlaskClient

LogRun = Callable[..., str]


def test_a_logged_run_is_read_back_whole(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(
        name="first",
        tags={"author": "maria"},
        params={"lr": 0.01, "epochs": 100},
        metrics=[{"loss": 1.0, "step": 0}, {"loss": 0.5, "accuracy": 0.9, "step": 1}],
        artifacts={"model.pkl": b"bytes"},
        end="completed",
    )
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert re.fullmatch(r"\d{8}-\d{6}-\d{3}-[0-9a-z]{6}", run_id)
    assert (run["experiment"], run["name"], run["status"]) == ("iris", "first", "completed")
    assert run["params"] == {"lr": 0.01, "epochs": 100}
    assert run["metrics"] == {"loss": 0.5, "accuracy": 0.9}
    assert run["metric_summary"]["loss"] == {
        "count": 2,
        "first": 1.0,
        "last": 0.5,
        "min": 0.5,
        "max": 1.0,
        "last_step": 1,
        "nonfinite": 0,
    }
    assert [(artifact["name"], artifact["size"]) for artifact in run["artifacts"]] == [("model.pkl", 5)]
    assert client.get(f"/api/artifacts/{run_id}/model.pkl/download").data == b"bytes"
    assert run["tags"] == {"author": "maria"}
    assert run["duration_ms"] == run["end_time"] - run["start_time"]
