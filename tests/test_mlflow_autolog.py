"""Real MLflow clients, 3.x and 2.22, with their default settings: training, autologging, registering and loading."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.forks import Fork
from support.mlflow2 import find_python
from support.mlflow_commands import mlflow_forks
from support.mlflow_tracking import CLIENT_SETTINGS
from support.servers import Server, run_server

SCRIPTS = Path(__file__).resolve().parent / "support"
#: A process that imports MLflow and trains; ten times what it takes on an idle machine.
PATIENCE_SECONDS = 600

pytestmark = pytest.mark.timeout(2 * PATIENCE_SECONDS)

#: What takes long to import, of what the scripts need: in both versions, and where MLflow 3 stores models with it.
MODULES = ("mlflow.pyfunc", "mlflow.sklearn", "sklearn.linear_model", "sklearn.datasets")
MODULES_OF_3 = ("skops.io",) if importlib.util.find_spec("skops") else ()


def run_script(python: str, server: Server, scratch: Path, name: str, *arguments: str) -> dict[str, Any]:
    """Run a script with a Python that has MLflow and return its output."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTHON"))}
    env = {**variables, **CLIENT_SETTINGS, "MLFLOW_TRACKING_URI": server.url, "MPLBACKEND": "agg"}
    process = Fork(mlflow_forks(python), str(SCRIPTS / name), *arguments, env=env, cwd=scratch)
    result = process.complete(PATIENCE_SECONDS)
    assert result.returncode == 0, result.stderr[-4000:]
    output: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return output


@pytest.fixture(scope="module", params=["3.x", "2.22"])
def python(request: pytest.FixtureRequest) -> str:
    """A Python that has MLflow of this version."""
    python = sys.executable if request.param == "3.x" else find_python()
    mlflow_forks(python).preload(*MODULES, *(MODULES_OF_3 if request.param == "3.x" else ()))
    return python


@pytest.fixture(scope="module")
def server(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("autolog")
    with run_server(folder / "store", folder / "scratch", "--quiet") as running_server:
        yield running_server


@pytest.fixture(scope="module")
def training(python: str, server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_script(python, server, tmp_path_factory.mktemp("scratch"), "mlflow_training.py")


#: The defaults that each library logs: params, metrics with the number of their steps, and files.
EXPECTED: dict[str, tuple[list[str], dict[str, int], list[str]]] = {
    "sklearn": (["C", "max_iter"], {"training_accuracy_score": 1, "training_log_loss": 1}, ["estimator.html"]),
    "xgboost": (["num_class", "num_boost_round"], {"train-mlogloss": 5}, ["feature_importance_weight.json"]),
    "lightgbm": (["num_class", "num_boost_round"], {"train-multi_logloss": 5}, ["feature_importance_gain.json"]),
}


@pytest.mark.parametrize("library", EXPECTED)
def test_autologged_run_is_complete_in_mlflows_client_and_in_the_native_api(
    training: dict[str, Any], server: Server, library: str
) -> None:
    params, points, files = EXPECTED[library]
    by_client = training["runs"][library]
    is_3 = training["version"].startswith("3")
    assert by_client["status"] == "FINISHED"
    assert set(params) <= by_client["params"].keys()
    steps = {key: set(by_client["history"][key]) for key in points}
    assert steps == {key: set(range(count)) for key, count in points.items()}
    assert set(files) <= set(by_client["files"])
    assert "model/MLmodel" in by_client["model_files"] and by_client["predicts"] == 150
    assert by_client["datasets"]

    ours = requests.get(f"{server.url}/api/runs/{by_client['id']}", timeout=60).json()
    assert ours["status"] == "completed" and ours["experiment"] == "autologging"
    assert {key: str(value) for key, value in ours["params"].items()} == by_client["params"]
    assert ours["metrics"] == by_client["metrics"]
    counts = {key: series["count"] for key, series in ours["metric_summary"].items()}
    assert counts == {key: len(history) for key, history in by_client["history"].items()}
    names = {artifact["name"] for artifact in ours["artifacts"]}
    assert set(files) <= names
    assert ("models/model/MLmodel" if is_3 else "model/MLmodel") in names
    assert ours["datasets"]
    if is_3:
        (model,) = by_client["models"]
        assert (model["name"], model["status"]) == ("model", "READY")
        assert set(points) <= set(model["metrics"])
    else:
        assert json.loads(ours["tags"]["mlflow.log-model.history"])[0]["artifact_path"] == "model"


def test_model_logged_by_mlflow_is_promoted_with_curl_and_loaded_by_stage(
    python: str, server: Server, tmp_path: Path
) -> None:
    first_result = run_script(python, server, tmp_path, "mlflow_registering.py", "register")
    first, second = first_result["runs"]
    assert first_result["second"] in ("2", 2)
    assert first_result["predicts"] == dict.fromkeys(first_result["predicts"], True)
    assert {"MLmodel", "requirements.txt"} <= set(first_result["files"])
    assert [[str(each[0]), *each[1:]] for each in first_result["versions"]] == [
        ["1", first, "None", ["champion"], "", {}],
        ["2", second, "None", [], "the second", {"by": "a script"}],
    ]
    body = {"version": 2, "stage": "production"}
    answer = requests.post(f"{server.url}/api/w/models/iris/promote", json=body, timeout=60)
    assert answer.status_code == 200
    second_result = run_script(python, server, tmp_path, "mlflow_registering.py", "promote")
    assert str(second_result["before"]) == "2" and second_result["loaded"] == [True, True]
    assert [each[2:4] for each in second_result["versions"]] == [["Production", ["production"]], ["Archived", []]]
    ours = requests.get(f"{server.url}/api/models/iris", timeout=60).json()
    assert [(each["stage"], each["files"] > 3) for each in ours["versions"]] == [
        ("archived", True),
        ("production", True),
    ]
    download = requests.get(f"{server.url}/api/models/iris/production/download", timeout=60)
    assert download.status_code == 200 and download.content.startswith(b"PK")


def test_models_without_a_run_are_logged_evaluated_and_registered(tmp_path: Path) -> None:
    with run_server(tmp_path / "store", tmp_path / "scratch", "--quiet") as server:
        run = {"experiment": "alone", "id": "by-curl"}
        assert requests.post(f"{server.url}/api/w/runs", json=run, timeout=60).status_code == 200
        artifact = requests.post(
            f"{server.url}/api/w/runs/by-curl/artifacts?name=deep/one%20file.txt",
            data=b"hello",
            headers={"Content-Type": "application/octet-stream"},
            timeout=60,
        )
        assert artifact.status_code == 200
        version = {"name": "single", "run_id": "by-curl", "artifact": "deep/one file.txt"}
        assert requests.post(f"{server.url}/api/w/models", json=version, timeout=60).status_code == 200
        output = run_script(sys.executable, server, tmp_path, "mlflow_registering.py", "alone")
    assert output["predicts"] == [True, True]
    assert [str(output["version"][0]), output["version"][1] or None] == ["1", None]
    assert output["models"] == [["external", "READY", ""], ["alone", "READY", ""]]
    assert output["external"] == [150, "b"]
    assert output["metrics"] == [["eval", 0.5, 3, output["run"]]]
    assert output["inputs"] == [output["model"]]
    assert set(output["runs"]) == {output["run"], "by-curl"}
    assert output["single"] == {"one file.txt": "hello"}
