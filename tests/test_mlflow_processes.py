"""MLflow's clients 3.x and 2.22 as processes: concurrent writes, tokens, large files, a killed server."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from benchmarks.gauges import peak_bytes, reset_peak, resident_bytes
from support.mlflow2 import find_python
from support.mlflow_tracking import CLIENT_SETTINGS, Tracking
from support.servers import PATIENCE_SECONDS, Server, environment, free_port, start_server
from support.tools import unavailable

Serve = Callable[..., Server]
pytestmark = pytest.mark.timeout(600)
LOGGING = Path(__file__).resolve().parent / "support" / "mlflow_logging.py"


@pytest.fixture
def tracking(server: Server) -> Tracking:
    """A server for this test alone, with MLflow's client for it."""
    return Tracking(server.url, server.data)


# -- programs


@pytest.mark.parametrize("series", ["3", "2.22"])
def test_client_of_each_series_logs_and_reads(server: Server, tmp_path: Path, series: str) -> None:
    python = sys.executable if series == "3" else find_python()
    folder = tmp_path / "files"
    folder.mkdir()
    process = subprocess.run(
        [python, str(LOGGING), server.url, str(folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert process.returncode == 0, (process.stdout, process.stderr[-3000:])
    output = json.loads(process.stdout.splitlines()[-1])
    assert output["version"].startswith(series)
    assert output["status"] == "FINISHED"
    assert output["params"] == {"lr": "0.01", "epochs": "100", "on": "True", "net": "resnet"}
    assert (output["metrics"], output["odd"]) == ({"loss": 0.05, "acc": 0.8}, True)
    assert output["history"] == [*([step, 1 / (step + 1)] for step in range(5)), [9, 0.05]]
    assert (output["found"], output["children"]) == ([output["run_id"]], ["child"])
    assert output["artifacts"] == ["config.json", "files", "note.txt"]
    assert output["files"] == {"empty.txt": "", "größe.txt": "text", "sub/deep.json": "{}"}
    assert output["text"] == "new"
    assert {output["tags"][f"mlflow.{key}"] for key in ("runName", "note.content")} == {"parent", "A *note*"}
    assert output["codes"] == {
        "param": "INVALID_PARAMETER_VALUE",
        "run": "RESOURCE_DOES_NOT_EXIST",
        "tag": "RESOURCE_DOES_NOT_EXIST",
        "filter": "INVALID_PARAMETER_VALUE",
        "experiment": "RESOURCE_ALREADY_EXISTS",
    }
    run = requests.get(f"{server.url}/api/runs/{output['run_id']}", timeout=PATIENCE_SECONDS).json()
    assert (run["name"], run["note"], run["status"]) == ("parent", "A *note*", "completed")
    assert run["params"] == {"lr": 0.01, "epochs": 100, "on": "True", "net": "resnet"}
    assert run["metric_summary"]["loss"]["count"] == 6
    assert {each["name"] for each in run["artifacts"]} > {"files/größe.txt", "config.json"}
    assert [child["name"] for child in run["children"]] == ["child"]
    statuses = {line.split(" ")[-3] for line in server.log.splitlines() if " ms" in line}
    assert statuses == {"200", "400", "404"}, "a client retries a 5xx for minutes"


def _log_from_process(number: int, url: str, run_id: str, experiment: str) -> None:
    tracking = Tracking(url, None)
    client, entities = tracking.client, tracking.mlflow.entities
    for step in range(20):
        client.log_metric(run_id, "shared", number + step / 100, step=step)
    points = [entities.Metric(f"own.{number}", float(step), step, step) for step in range(500)]
    client.log_batch(run_id, metrics=points, params=[entities.Param(f"p{number}", str(number))])
    client.set_tag(run_id, f"t{number}", "x")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{number}.txt")
        path.write_text(str(number))
        client.log_artifact(run_id, str(path), "of")
    client.get_run(run_id)
    mlflow_experiment = client.get_experiment_by_name(experiment)
    assert mlflow_experiment is not None


def test_eight_processes_log_to_one_run(tracking: Tracking) -> None:
    client = tracking.client
    experiment = client.create_experiment("shared")
    run_id = client.create_run(experiment).info.run_id
    context = multiprocessing.get_context("fork")  # MLflow is imported once, not eight times
    workers = [
        context.Process(target=_log_from_process, args=(number, tracking.url, run_id, "shared")) for number in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(5 * PATIENCE_SECONDS)
    assert [worker.exitcode for worker in workers] == [0] * 8
    run = client.get_run(run_id)
    assert run.data.params == {f"p{number}": str(number) for number in range(8)}
    assert {key for key in run.data.tags if key.startswith("t")} == {f"t{number}" for number in range(8)}
    assert len(client.get_metric_history(run_id, "shared")) == 160
    for number in range(8):
        history = client.get_metric_history(run_id, f"own.{number}")
        assert [point.value for point in history] == [float(step) for step in range(500)]
    assert len(client.list_artifacts(run_id, "of")) == 8


def test_server_killed_during_a_run_keeps_acknowledged_writes(data: Path, tmp_path: Path) -> None:
    server = start_server(data, tmp_path / "first", port=free_port())
    try:
        tracking = Tracking(server.url, data)
        client = tracking.client
        run_id = client.create_run("0").info.run_id
        client.log_param(run_id, "lr", "0.1")
        for step in range(50):
            client.log_metric(run_id, "loss", float(step), step=step)
        server.kill()
        with pytest.raises(tracking.mlflow.exceptions.MlflowException):
            client.log_metric(run_id, "loss", 50.0, step=50)
        server = start_server(data, tmp_path / "second", port=server.port)
        run = client.get_run(run_id)
        assert (run.info.status, run.data.params) == ("RUNNING", {"lr": "0.1"})
        client.log_metric(run_id, "loss", 50.0, step=50)
        client.set_terminated(run_id)
        assert [point.value for point in client.get_metric_history(run_id, "loss")] == [float(n) for n in range(51)]
    finally:
        server.stop()


def test_token_of_mlflow_tracking_token_is_accepted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(CHACHAML_TOKEN="s3cret")
    tracking = Tracking(server.url, server.data)
    with pytest.raises(tracking.mlflow.exceptions.MlflowException, match="MLFLOW_TRACKING_TOKEN") as error:
        tracking.client.create_experiment("x")
    assert error.value.error_code == "UNAUTHENTICATED"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret")
    run_id = tracking.create_run()
    assert tracking.client.get_run(run_id).info.status == "RUNNING"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "wrong")
    assert tracking.error_code(tracking.client.get_run, run_id) == "UNAUTHENTICATED"


def test_server_with_url_prefix_accepts_uploads(serve: Serve, tmp_path: Path) -> None:
    tracking = Tracking(serve("--url-prefix", "/tracker").url, None)
    run_id = tracking.create_run()
    (tmp_path / "a.txt").write_text("text")
    tracking.client.log_artifact(run_id, str(tmp_path / "a.txt"))
    assert [each.path for each in tracking.client.list_artifacts(run_id)] == ["a.txt"]


def test_no_mlflow_option_disables_the_protocol(serve: Serve) -> None:
    server = serve("--no-mlflow")
    response = requests.post(f"{server.url}/api/2.0/mlflow/runs/create", json={}, timeout=PATIENCE_SECONDS)
    assert (response.status_code, response.json()["error"]) == (404, "not found")
    response = requests.put(
        f"{server.url}/api/2.0/mlflow-artifacts/artifacts/0/x/artifacts/y", data=b"x", timeout=PATIENCE_SECONDS
    )
    assert (response.status_code, response.json()["error"]) == (404, "not found")


# -- files


def test_artifact_of_a_gigabyte_is_stored_and_sent_in_bounded_memory(
    tracking: Tracking, server: Server, tmp_path: Path
) -> None:
    size = 1 << 30
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(size)  # a sparse file: it takes no space and is read as zeros
    run_id = tracking.create_run()
    before = resident_bytes(server.process.pid)
    reset_peak(server.process.pid)
    tracking.client.log_artifact(run_id, str(path), "files")
    uri = tracking.client.get_run(run_id).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    url = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{uri}/files/large.bin"
    n_bytes = 0
    with requests.get(url, stream=True, timeout=PATIENCE_SECONDS) as response:
        for piece in response.iter_content(1 << 20):
            n_bytes += len(piece)
    assert n_bytes == size
    assert peak_bytes(server.process.pid) - before < 64e6
    (artifact,) = tracking.client.list_artifacts(run_id, "files")
    assert artifact.file_size == size
    requests.delete(f"{server.url}/api/w/runs/{run_id}", timeout=PATIENCE_SECONDS)


def test_chunked_and_empty_uploads_are_stored(server: Server) -> None:
    response = requests.post(f"{server.url}/api/2.0/mlflow/runs/create", json={}, timeout=PATIENCE_SECONDS)
    run_id = response.json()["run"]["info"]["run_id"]
    base = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts"
    bodies: dict[str, Any] = {"chunks": iter([b"one", b"two"]), "none": iter([]), "length": b"", "some": b"x" * 100_000}
    for name, body in bodies.items():
        response = requests.put(f"{base}/{name}", data=body, timeout=PATIENCE_SECONDS)
        assert (response.status_code, response.json()) == (200, {}), name
    contents = {name: requests.get(f"{base}/{name}", timeout=PATIENCE_SECONDS).content for name in bodies}
    assert contents == {"chunks": b"onetwo", "none": b"", "length": b"", "some": b"x" * 100_000}


def test_refused_upload_is_answered_in_mlflows_format(serve: Serve) -> None:
    server = serve("--max-upload", "200000", CHACHAML_TOKEN="s3cret")
    bearer = {"Authorization": "Bearer s3cret"}
    response = requests.post(f"{server.url}/api/2.0/mlflow/runs/create", headers=bearer, timeout=PATIENCE_SECONDS)
    run_id = response.json()["run"]["info"]["run_id"]
    url = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/a"
    for headers, size, status, code in (
        ({}, 100_000, 401, "UNAUTHENTICATED"),
        ({**bearer, "Host": "evil.example"}, 100_000, 403, "PERMISSION_DENIED"),
        (bearer, 300_000, 413, "INVALID_PARAMETER_VALUE"),
    ):
        response = requests.put(url, data=b"x" * size, headers=headers, timeout=PATIENCE_SECONDS)
        assert (response.status_code, response.json()["error_code"]) == (status, code)
    assert requests.put(url, data=b"x" * 200_000, headers=bearer, timeout=PATIENCE_SECONDS).status_code == 200
    assert [path.name for path in (server.data / "runs" / run_id / "blobs").iterdir()] == ["a"]


# -- users of MLflow's client


def test_run_logged_with_curl_is_found_by_mlflow(
    tracking: Tracking, tool: Callable[[str], str], tmp_path: Path
) -> None:
    curl, api = tool("curl"), f"{tracking.url}/api/w/runs"

    def post(url: str, *options: str) -> str:
        command = [curl, "-sf", "-X", "POST", url, "-H", "Content-Type: application/json", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    run_id = post(f"{api}?format=id", "-d", '{"experiment": "by curl", "name": "first"}')
    post(f"{api}/{run_id}/params", "-d", '{"lr": 0.01, "epochs": 10}')
    post(f"{api}/{run_id}/metrics", "-d", '{"loss": 0.25, "step": 1}')
    (tmp_path / "model.pkl").write_bytes(b"\x80model")
    upload = ["-H", "Content-Type: application/octet-stream", "--data-binary", f"@{tmp_path}/model.pkl"]
    subprocess.run([curl, "-sf", f"{api}/{run_id}/artifacts?name=out/model.pkl", *upload], check=True)
    post(f"{api}/{run_id}/end")
    mlflow = tracking.mlflow
    mlflow.set_tracking_uri(tracking.url)
    runs = mlflow.search_runs(experiment_names=["by curl"], filter_string="params.lr = '0.01'")
    (row,) = runs.to_dict("records")
    assert (row["run_id"], row["status"], row["metrics.loss"], row["params.epochs"]) == (run_id, "FINISHED", 0.25, "10")
    assert (row["tags.mlflow.runName"], row["end_time"] is not None) == ("first", True)
    local = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="out/model.pkl")
    assert Path(local).read_bytes() == b"\x80model"
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"runs:/{run_id}/out"))
    assert (folder / "model.pkl").read_bytes() == b"\x80model"


def test_calls_of_lightnings_logger_work(tracking: Tracking, tmp_path: Path) -> None:
    """The same calls in the same order as in Lightning's MLFlowLogger."""
    client, entities = tracking.client, tracking.mlflow.entities
    from mlflow.tracking.context.registry import resolve_tags

    assert client.get_experiment_by_name("lightning_logs") is None
    experiment = client.create_experiment(name="lightning_logs", artifact_location=None)
    run = client.create_run(experiment_id=experiment, tags=resolve_tags({"mlflow.runName": "lit"}))
    run_id = run.info.run_id
    hyperparameters = {"lr": "0.001", "hidden/0": "128", "optimizer": "Adam", "long": "x" * 250}
    client.log_batch(
        run_id=run_id, params=[entities.Param(key=key, value=value) for key, value in hyperparameters.items()]
    )
    for step in range(0, 100, 50):
        metrics = {"train_loss": 1 / (step + 1), "epoch": step // 50}
        points = [
            entities.Metric(key=key, value=value, timestamp=1000 + step, step=step) for key, value in metrics.items()
        ]
        client.log_batch(run_id=run_id, metrics=points)
    checkpoint = tmp_path / "epoch=1-step=100.ckpt"
    checkpoint.write_bytes(b"weights")
    client.log_artifact(run_id, str(checkpoint), "model/checkpoints/epoch=1-step=100")
    (tmp_path / "scratch").mkdir()
    for name in ("aliases.txt", "metadata.yaml"):
        (tmp_path / "scratch" / name).write_text("['latest']")
    client.log_artifacts(run_id, str(tmp_path / "scratch"), "model/checkpoints/epoch=1-step=100")
    client.set_terminated(run_id, status="FINISHED")
    data = client.get_run(run_id).data
    assert data.params == hyperparameters
    assert data.metrics == {"train_loss": 1 / 51, "epoch": 1.0}
    names = {
        each.path.rpartition("/")[2] for each in client.list_artifacts(run_id, "model/checkpoints/epoch=1-step=100")
    }
    assert names == {"epoch=1-step=100.ckpt", "aliases.txt", "metadata.yaml"}
    assert client.get_experiment_by_name("lightning_logs").experiment_id == experiment


def test_optunas_callback_works(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("optuna_integration") is None:
        unavailable("optuna-integration is not installed")
    import optuna

    for name, value in CLIENT_SETTINGS.items():
        monkeypatch.setitem(os.environ, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but still in use
        from optuna.integration import MLflowCallback

        callback = MLflowCallback(tracking_uri=tracking.url, metric_name="score", create_experiment=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="tuned", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=4, callbacks=[callback])
    experiment = tracking.client.get_experiment_by_name("tuned")
    runs = tracking.client.search_runs([experiment.experiment_id], order_by=["metrics.score DESC"])
    assert len(runs) == 4
    assert runs[0].data.metrics["score"] == study.best_value
    assert float(runs[0].data.params["x"]) == study.best_params["x"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert runs[0].data.tags["direction"] == "MAXIMIZE"
