"""`chachaml-lite import --from mlflow`: stores written by MLflow's own client, in a database, a folder and a server."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import open_app
from flask.testing import FlaskClient
from support.commands import cli
from support.forks import Fork
from support.mlflow_commands import mlflow_cli, mlflow_forks
from support.mlflow_servers import MLflowServer
from support.readme import find_blocks
from support.servers import Server, environment, run_server
from support.snapshots import snapshot

WRITING = Path(__file__).resolve().parent / "support" / "mlflow_writing.py"
#: A process that imports MLflow is slow on a loaded machine.
pytestmark = pytest.mark.timeout(900)
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


def run_writing_script(uri: str, scratch: Path, *arguments: str) -> dict[str, Any]:
    """Log to a tracking URI with the script and return the ids that it prints."""
    result = Fork(mlflow_forks(), str(WRITING), uri, *arguments, env=environment(**QUIET), cwd=scratch).complete(600)
    assert result.returncode == 0, result.stderr[-3000:]
    ids: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return ids


class Source:
    """An MLflow store with the runs and models of the script: its URI as a user writes it, and their ids."""

    def __init__(self, uri: str, tracking_uri: str, scratch: Path) -> None:
        self.uri, self.tracking_uri, self.scratch = uri, tracking_uri, scratch
        self.ids = run_writing_script(tracking_uri, scratch)


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """MLflow's server. A test leaves nothing there that another one would import."""
    service = MLflowServer(tmp_path_factory.mktemp("mlflow") / "server")
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module", params=["sqlite", "folder", "server"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    scratch = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        uri = f"sqlite:///{scratch}/mlflow.db"
        yield Source(uri, uri, scratch)
    elif request.param == "folder":
        yield Source(str(scratch / "mlruns"), (scratch / "mlruns").as_uri(), scratch)
    else:
        url = request.getfixturevalue("mlflow_server").url
        yield Source(url, url, scratch)
        delete_experiments(url)


def delete_experiments(url: str) -> None:
    """Delete all experiments of MLflow's server but the default one, so that no import sees them."""
    api = f"{url}/api/2.0/mlflow/experiments"
    experiments = requests.get(f"{api}/search", params={"max_results": 100}, timeout=60).json()["experiments"]
    for number in {each["experiment_id"] for each in experiments} - {"0"}:
        assert requests.post(f"{api}/delete", json={"experiment_id": number}, timeout=60).status_code == 200


def import_from(source: Source | str, data: Path, *options: str, code: int = 0) -> Any:
    """Run the import and return its JSON output, or its error message if it printed none."""
    uri = source if isinstance(source, str) else source.uri
    command = ("import", "--from", "mlflow", "--tracking-uri", uri, "--data", str(data), "--json", *options)
    result = mlflow_cli(*command, code=code, env=QUIET)
    return json.loads(result.stdout) if result.stdout else result.stderr


def test_whole_store_is_imported_and_later_imports_add_only_new_data(source: Source, tmp_path: Path) -> None:
    data, ids = tmp_path / "store", source.ids
    first = import_from(source, data)
    holder = ids["models"][2].removeprefix("m-")
    runs = {ids["run"], ids["child"], ids["active"], holder}
    assert set(first["imported"]) == runs and first["ok"] and not first["failed"]
    assert first["models"]["imported"] == ["iris 1", "iris 3", "iris 4"]
    with open_app(data) as app:
        client = app.test_client()
        _assert_runs(client, ids)
        _assert_models(client, ids)
    before = snapshot(data / "runs")
    again = import_from(source, data)
    assert set(again["unchanged"]) == runs and not again["imported"] and not again["updated"]
    assert again["models"] == {"imported": [], "updated": [], "unchanged": ["iris 1", "iris 3", "iris 4"]}
    assert snapshot(data / "runs") == before
    more = run_writing_script(source.tracking_uri, source.scratch, "more")
    later = import_from(source, data)
    assert later["updated"] == [ids["active"]] and later["models"]["imported"] == ["iris 5"]
    with open_app(data) as app:
        _assert_continued(app.test_client(), more)
    assert json.loads(cli("verify", "--data", str(data), "--json").stdout)["problems"] == []
    last = import_from(source, data)
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
    assert client.get(f"/api/runs/{ids['active']}").get_json()["status"] == "running"
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
    search = client.post(f"{base}/logged-models/search", json={"experiment_ids": [model["info"]["experiment_id"]]})
    assert sorted(each["info"]["name"] for each in search.get_json()["models"]) == ["alone", "iris", "iris"]
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


def _assert_continued(client: FlaskClient, more: dict[str, Any]) -> None:
    run = client.get(f"/api/runs/{more['active']}").get_json()
    assert (run["status"], run["metrics"]) == ("failed", {"loss": 2.0})
    assert {"late.txt", "models/later/MLmodel"} <= {each["name"] for each in run["artifacts"]}
    versions = {each["version"]: each for each in client.get("/api/models/iris").get_json()["versions"]}
    assert {number: each["stage"] for number, each in versions.items()} == {
        1: "none", 3: "archived", 4: "staging", 5: "production",
    }  # fmt: skip
    assert versions[5]["aliases"] == ["champion", "production"] and versions[1]["aliases"] == []


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the runs and models of the script."""
    folder = tmp_path_factory.mktemp("database")
    run_writing_script(f"sqlite:///{folder}/mlflow.db", folder)
    return folder / "mlflow.db"


def test_experiment_option_imports_one_experiment_into_a_server(database: Path, tmp_path: Path) -> None:
    with run_server(tmp_path / "store", tmp_path / "scratch") as server:
        options = ("--tracking-uri", f"sqlite:///{database}", "--url", server.url)
        result = mlflow_cli("import", "--from", "mlflow", *options, "-e", "without runs", env=QUIET)
        assert result.stdout.splitlines()[1:] == ["0 imported, 0 updated, 0 unchanged"]
        names = [each["name"] for each in requests.get(f"{server.url}/api/experiments", timeout=60).json()]
        assert names == ["without runs"]
        assert requests.get(f"{server.url}/api/models", timeout=60).json() == []
        unknown = mlflow_cli("import", "--from", "mlflow", *options, "-e", "unknown", env=QUIET, code=2)
        assert "no experiment 'unknown'" in unknown.stderr


def test_command_of_the_manual_imports(database: Path, tmp_path: Path) -> None:
    (block,) = find_blocks("bash", "mlflow", "Bring old runs")
    install, command = block.splitlines()
    assert install == "pip install '.[mlflow]'"
    name, *arguments = shlex.split(command.replace("http://localhost:5000", f"sqlite:///{database}"))
    assert name == "chachaml-lite" and f"sqlite:///{database}" in arguments
    result = cli(*arguments, cwd=tmp_path, env={**QUIET, "CHACHAML_DATA": "store"})
    assert result.stdout.splitlines()[-1] == "4 imported, 0 updated, 0 unchanged"
    assert "imported  model iris 3" in result.stdout.splitlines()


def set_other_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update alembic_version set version_num = '0123456789ab'")
        connection.execute("drop table logged_models")  # so that MLflow's client would migrate it
        connection.commit()


def overwrite_with_text(path: Path) -> None:
    path.write_bytes(b"not one")


@pytest.mark.parametrize(
    ("change", "message"),
    [(set_other_version, "another version of MLflow"), (overwrite_with_text, "not an MLflow database")],
)
def test_database_of_another_version_is_refused_and_unchanged(
    database: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    path = Path(shutil.copy(database, tmp_path / "mlflow.db"))
    change(path)
    before = path.read_bytes()
    assert message in import_from(f"sqlite:///{path}", tmp_path / "store", code=2)
    assert path.read_bytes() == before and not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///FOLDER/none.db", "there is no file"),
        ("FOLDER/none", "there is no folder"),
        ("FOLDER", "not an MLflow folder"),
        ("FOLDER/file", "for a database write sqlite:///"),
        ("postgresql://localhost/mlflow", "is not http://HOST:PORT"),
        ("databricks://profile", "is not http://HOST:PORT"),
    ],
)
def test_missing_source_is_a_usage_error_and_creates_nothing(tmp_path: Path, uri: str, message: str) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "file").write_bytes(b"")
    before = snapshot(folder)
    assert message in import_from(uri.replace("FOLDER", str(folder)), tmp_path / "store", code=2)
    assert snapshot(folder) == before and not (tmp_path / "store").exists()


@pytest.mark.parametrize("options", [[], ["--tracking-uri", "mlruns", "x.zip"]])
def test_import_from_mlflow_requires_a_uri_and_refuses_a_file(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"")
    assert "--tracking-uri" in cli("import", "--from", "mlflow", *options, cwd=tmp_path, code=2).stderr


def test_unreachable_server_is_exit_code_3(tmp_path: Path) -> None:
    assert "no MLflow server answers" in import_from("http://127.0.0.1:1", tmp_path / "store", code=3)


def test_run_with_a_missing_file_fails_by_id_and_the_others_are_imported(database: Path, tmp_path: Path) -> None:
    """A run with a file that can't be read is not imported without it."""
    ids = json.loads(json.dumps(_ids_of(database)))
    path = Path(shutil.copy(database, tmp_path / "mlflow.db"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "update runs set artifact_uri = 'mlflow-artifacts:/nowhere' where run_uuid = ?", (ids["active"],)
        )
        connection.commit()
    result = import_from(f"sqlite:///{path}", tmp_path / "store", code=1)
    assert [each["id"] for each in result["failed"]] == [ids["active"]]
    assert ids["run"] in result["imported"] and ids["active"] not in result["imported"]


def _ids_of(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select name, run_uuid from runs").fetchall()
    by_name = dict(rows)
    return {"run": by_name["parent"], "active": by_name["going on"]}


def test_exported_run_is_imported_without_a_difference(
    tmp_path: Path, server: Server, mlflow_server: MLflowServer
) -> None:
    """To MLflow and back: the run is unchanged for the store that it came from, and complete in another one."""
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
    try:
        mlflow_cli("export", "--url", url, "--to", "mlflow", "--tracking-uri", mlflow_server.url, env=QUIET)
        options = ("import", "--from", "mlflow", "--tracking-uri", mlflow_server.url)
        back = json.loads(mlflow_cli(*options, "--url", url, "--json", env=QUIET).stdout)
        assert back["unchanged"] == ["ours.1"], back
        json.loads(mlflow_cli(*options, "--data", str(tmp_path / "other"), "--json", env=QUIET).stdout)
    finally:
        delete_experiments(mlflow_server.url)
    ours = requests.get(f"{url}/api/runs/ours.1", timeout=60).json()
    with open_app(tmp_path / "other") as app:
        theirs = app.test_client().get("/api/runs/ours.1").get_json()
    for each in (ours, theirs):
        each.pop("last_write_time")
    assert theirs == ours
