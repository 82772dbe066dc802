"""`chachaml-lite import --from mlflow`: stores that MLflow's own client wrote, in a database, a folder and a server."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import opened
from flask.testing import FlaskClient
from support.commands import cli
from support.mlflow_servers import MLflowServer
from support.readme import blocks
from support.servers import Running, environment, running
from support.snapshots import files_of

WRITING = Path(__file__).resolve().parent / "support" / "mlflow_writing.py"
#: A process that imports MLflow takes its time on a loaded machine.
pytestmark = pytest.mark.timeout(900)
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


def written(uri: str, scratch: Path, *arguments: str) -> dict[str, Any]:
    """Run the script that logs to a tracking URI, and return its output."""
    done = subprocess.run(
        [sys.executable, WRITING, uri, *arguments],
        cwd=scratch,
        env=environment(**QUIET),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ids: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return ids


class Source:
    """A store of MLflow's with what the script has logged: its URI as a user gives it, and the ids there."""

    def __init__(self, uri: str, tracking_uri: str, scratch: Path) -> None:
        self.uri, self.tracking_uri, self.scratch = uri, tracking_uri, scratch
        self.ids = written(tracking_uri, scratch)


@pytest.fixture(scope="module", params=["sqlite", "folder", "server"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    scratch = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        uri = f"sqlite:///{scratch}/mlflow.db"
        yield Source(uri, uri, scratch)
    elif request.param == "folder":
        yield Source(str(scratch / "mlruns"), (scratch / "mlruns").as_uri(), scratch)
    else:
        service = MLflowServer(scratch / "server")
        try:
            service.start()
            yield Source(service.url, service.url, scratch)
        finally:
            service.stop()


def imported(source: Source | str, data: Path, *options: str, code: int = 0) -> Any:
    """Return the command's JSON output."""
    uri = source if isinstance(source, str) else source.uri
    command = ("import", "--from", "mlflow", "--tracking-uri", uri, "--data", str(data), "--json", *options)
    done = cli(*command, code=code, env=QUIET)
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_whole_store_is_imported_found_again_and_gone_on_with(source: Source, tmp_path: Path) -> None:
    data, ids = tmp_path / "store", source.ids
    first = imported(source, data)
    holder = ids["models"][2].removeprefix("m-")
    runs = {ids["run"], ids["child"], ids["going"], holder}
    assert set(first["imported"]) == runs and first["ok"] and not first["failed"]
    assert first["models"]["imported"] == ["iris 1", "iris 3", "iris 4"]
    with opened(data) as app:
        client = app.test_client()
        _assert_runs(client, ids)
        _assert_models(client, ids)
    before = files_of(data / "runs")
    again = imported(source, data)
    assert set(again["unchanged"]) == runs and not again["imported"] and not again["updated"]
    assert again["models"] == {"imported": [], "updated": [], "unchanged": ["iris 1", "iris 3", "iris 4"]}
    assert files_of(data / "runs") == before
    more = written(source.tracking_uri, source.scratch, "more")
    later = imported(source, data)
    assert later["updated"] == [ids["going"]] and later["models"]["imported"] == ["iris 5"]
    with opened(data) as app:
        _assert_gone_on(app.test_client(), more)
    assert json.loads(cli("verify", "--data", str(data), "--json").stdout)["problems"] == []
    last = imported(source, data)
    assert not last["updated"] and last["models"]["unchanged"] == ["iris 1", "iris 3", "iris 4", "iris 5"]


def _assert_runs(client: FlaskClient, ids: dict[str, Any]) -> None:
    run = client.get(f"/api/runs/{ids['run']}").get_json()
    assert (run["experiment"], run["name"], run["status"], run["created_by"]) == (
        "from MLflow", "parent", "completed", "maria",
    )  # fmt: skip
    assert (run["start_time"], run["end_time"], run["note"]) == (1_700_000_000_000, 1_700_000_100_000, "a note")
    assert run["params"] == {"lr": 0.01, "epochs": 100, "odd": "007", "text": "True", "empty": ""}
    assert run["tags"] == {"a": "b"}
    assert run["metrics"] == {"loss": 1 / 50, "nan": "NaN", "acc": 0.9}
    (dataset,) = run["datasets"]
    assert (dataset["name"], dataset["role"], dataset["hash"], dataset["n_rows"]) == (
        "iris.csv",
        "train",
        "d1gest",
        150,
    )
    series = client.get(f"/api/runs/{ids['run']}/metrics?key=loss").get_json()["loss"]["points"]
    assert [(each["step"], each["timestamp"]) for each in series] == [(n, 1_700_000_000_000 + n) for n in range(50)]
    names = {each["name"] for each in run["artifacts"]}
    assert {
        "größe ☃.txt",
        "deep/er/empty",
        "model/MLmodel",
        "models/iris/MLmodel",
        "models/iris-2/data/weights.bin",
    } <= names
    assert client.get(f"/api/artifacts/{ids['run']}/größe ☃.txt/download").data == b"snow"
    child = client.get(f"/api/runs/{ids['child']}").get_json()
    assert (child["status"], child["error"], child["parent_run_id"]) == ("failed", "killed", ids["run"])
    assert client.get(f"/api/runs/{ids['going']}").get_json()["status"] == "running"
    assert client.get(f"/api/runs/{ids['deleted']}").status_code == 404
    experiments = {each["name"]: each for each in client.get("/api/experiments").get_json()}
    assert experiments["from MLflow"]["description"] == "What **they** did"
    assert experiments["from MLflow"]["tags"]["team"] == "x"
    assert experiments["without runs"]["tags"]["k"] == "v" and experiments["without runs"]["runs"] == 0


def _assert_models(client: FlaskClient, ids: dict[str, Any]) -> None:
    base = "/api/2.0/mlflow"
    model_id = f"m-{ids['run']}-1"
    model = client.get(f"{base}/logged-models/{model_id}").get_json()["model"]
    assert (model["info"]["name"], model["info"]["status"], model["info"]["model_type"]) == (
        "iris", "LOGGED_MODEL_READY", "tree",
    )  # fmt: skip
    assert model["data"]["params"] == [{"key": "depth", "value": "3"}]
    assert {"key": "made", "value": "here"} in model["info"]["tags"]
    (metric,) = model["data"]["metrics"]
    assert (metric["key"], metric["value"], metric["step"], metric["run_id"]) == ("acc", 0.9, 7, ids["run"])
    child = client.get(f"{base}/runs/get", query_string={"run_id": ids["child"]}).get_json()["run"]
    assert child["inputs"]["model_inputs"] == [{"model_id": model_id}]
    found = client.post(f"{base}/logged-models/search", json={"experiment_ids": [model["info"]["experiment_id"]]})
    assert sorted(each["info"]["name"] for each in found.get_json()["models"]) == ["alone", "iris", "iris"]
    iris = client.get("/api/models/iris").get_json()
    assert (iris["model"]["description"], iris["model"]["tags"], iris["model"]["production"]) == (
        "flowers", {"owner": "maria"}, 3,
    )  # fmt: skip
    holder = ids["models"][2].removeprefix("m-")
    by_number = {each["version"]: each for each in iris["versions"]}
    assert {number: (each["run_id"], each["artifact"], each["stage"]) for number, each in by_number.items()} == {
        1: (ids["run"], "models/iris/", "none"),
        3: (holder, "models/alone/", "production"),
        4: (ids["run"], "model/", "staging"),
    }
    assert (by_number[1]["description"], by_number[1]["tags"], by_number[1]["aliases"]) == (
        "first", {"n": "1"}, ["champion"],
    )  # fmt: skip
    assert client.get("/api/models/without versions").get_json()["versions"] == []


def _assert_gone_on(client: FlaskClient, more: dict[str, Any]) -> None:
    run = client.get(f"/api/runs/{more['going']}").get_json()
    assert (run["status"], run["metrics"]) == ("failed", {"loss": 2.0})
    assert {"late.txt", "models/later/MLmodel"} <= {each["name"] for each in run["artifacts"]}
    versions = {each["version"]: each for each in client.get("/api/models/iris").get_json()["versions"]}
    assert {number: each["stage"] for number, each in versions.items()} == {
        1: "none", 3: "archived", 4: "staging", 5: "production",
    }  # fmt: skip
    assert versions[5]["aliases"] == ["champion", "production"] and versions[1]["aliases"] == []


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with what the script has logged."""
    folder = tmp_path_factory.mktemp("database")
    written(f"sqlite:///{folder}/mlflow.db", folder)
    return folder / "mlflow.db"


def test_one_experiment_by_its_name_into_a_server(database: Path, tmp_path: Path) -> None:
    with running(tmp_path / "store", tmp_path / "scratch") as server:
        options = ("--tracking-uri", f"sqlite:///{database}", "--url", server.url)
        done = cli("import", "--from", "mlflow", *options, "-e", "without runs", env=QUIET)
        assert done.stdout.splitlines()[1:] == ["0 imported, 0 updated, 0 unchanged"]
        names = [each["name"] for each in requests.get(f"{server.url}/api/experiments", timeout=60).json()]
        assert names == ["without runs"]
        assert requests.get(f"{server.url}/api/models", timeout=60).json() == []
        unknown = cli("import", "--from", "mlflow", *options, "-e", "unknown", env=QUIET, code=2)
        assert "no experiment 'unknown'" in unknown.stderr


def test_command_of_the_manual_imports(database: Path, tmp_path: Path) -> None:
    (block,) = blocks("bash", "mlflow", "Bring old runs")
    install, command = block.splitlines()
    assert install == "pip install '.[mlflow]'"
    name, *arguments = shlex.split(command.replace("http://localhost:5000", f"sqlite:///{database}"))
    assert name == "chachaml-lite" and f"sqlite:///{database}" in arguments
    done = cli(*arguments, cwd=tmp_path, env={**QUIET, "CHACHAML_DATA": "store"})
    assert done.stdout.splitlines()[-1] == "4 imported, 0 updated, 0 unchanged"
    assert "imported  model iris 3" in done.stdout.splitlines()


def older(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update alembic_version set version_num = '0123456789ab'")
        connection.execute("drop table logged_models")  # so that MLflow's client would migrate it
        connection.commit()


def no_database(path: Path) -> None:
    path.write_bytes(b"not one")


@pytest.mark.parametrize(
    ("change", "told"), [(older, "another version of MLflow"), (no_database, "not an MLflow database")]
)
def test_database_of_another_version_is_told_and_left_as_it_is(
    database: Path, tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    path = Path(shutil.copy(database, tmp_path / "mlflow.db"))
    change(path)
    before = path.read_bytes()
    assert told in imported(f"sqlite:///{path}", tmp_path / "store", code=2)
    assert path.read_bytes() == before and not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("sqlite:///FOLDER/none.db", "there is no file"),
        ("FOLDER/none", "there is no folder"),
        ("FOLDER", "not an MLflow folder"),
        ("FOLDER/file", "for a database write sqlite:///"),
        ("postgresql://localhost/mlflow", "is not http://HOST:PORT"),
        ("databricks://profile", "is not http://HOST:PORT"),
    ],
)
def test_what_is_not_there_is_a_usage_error_and_nothing_is_made(tmp_path: Path, uri: str, told: str) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "file").write_bytes(b"")
    before = files_of(folder)
    assert told in imported(uri.replace("FOLDER", str(folder)), tmp_path / "store", code=2)
    assert files_of(folder) == before and not (tmp_path / "store").exists()


@pytest.mark.parametrize("options", [[], ["--tracking-uri", "mlruns", "x.zip"]])
def test_import_from_mlflow_takes_a_uri_and_no_file(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"")
    assert "--tracking-uri" in cli("import", "--from", "mlflow", *options, cwd=tmp_path, code=2).stderr


def test_server_that_does_not_answer_is_exit_3(tmp_path: Path) -> None:
    assert "no MLflow server answers" in imported("http://127.0.0.1:1", tmp_path / "store", code=3)


def test_run_whose_file_is_gone_fails_by_name_and_others_are_imported(database: Path, tmp_path: Path) -> None:
    """A file that can't be read is no reason to take the run without it."""
    ids = json.loads(json.dumps(_ids_of(database)))
    path = Path(shutil.copy(database, tmp_path / "mlflow.db"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "update runs set artifact_uri = 'mlflow-artifacts:/nowhere' where run_uuid = ?", (ids["going"],)
        )
        connection.commit()
    done = imported(f"sqlite:///{path}", tmp_path / "store", code=1)
    assert [each["id"] for each in done["failed"]] == [ids["going"]]
    assert ids["run"] in done["imported"] and ids["going"] not in done["imported"]


def _ids_of(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select name, run_uuid from runs").fetchall()
    by_name = dict(rows)
    return {"run": by_name["parent"], "going": by_name["going on"]}


def test_exported_run_comes_back_as_it_was(tmp_path: Path, server: Running) -> None:
    """To MLflow and back: into the store that it came from as unchanged, into another one with all that it had."""
    url = server.url
    body = {
        "experiment": "iris",
        "id": "ours.1",
        "name": "n",
        "tags": {"a": "b", "n": 1, "yes": True},
        "created_by": "me",
    }
    assert requests.post(f"{url}/api/w/runs", json=body, timeout=60).status_code == 200
    base = f"{url}/api/w/runs/ours.1"
    params = {"lr": 1e-05, "layers": [1, {"a": None}], "flag": True, "text": "x"}
    for path, value in (
        ("params", params),
        ("metrics", [{"loss": 1 / (n + 1), "step": n} for n in range(20)]),
        ("note", {"note": "a *note*"}),
        ("datasets", {"role": "train", "n_rows": 5, "source": "s3://x"}),
        ("end", {"status": "failed", "error": "exit code 3"}),
    ):
        assert requests.post(f"{base}/{path}", json=value, timeout=60).status_code == 200, path
    service = MLflowServer(tmp_path / "mlflow")
    try:
        service.start()
        cli("export", "--url", url, "--to", "mlflow", "--tracking-uri", service.url, env=QUIET)
        options = ("import", "--from", "mlflow", "--tracking-uri", service.url)
        back = json.loads(cli(*options, "--url", url, "--json", env=QUIET).stdout)
        assert back["unchanged"] == ["ours.1"], back
        json.loads(cli(*options, "--data", str(tmp_path / "other"), "--json", env=QUIET).stdout)
    finally:
        service.stop()
    ours = requests.get(f"{url}/api/runs/ours.1", timeout=60).json()
    with opened(tmp_path / "other") as app:
        theirs = app.test_client().get("/api/runs/ours.1").get_json()
    for each in (ours, theirs):
        each.pop("last_write_time")
    assert theirs == ours
