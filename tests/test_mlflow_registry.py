"""MLflow's registry by its routes: models, versions and their sources, stages, aliases, searches, refused calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.calls import upload
from support.snapshots import snapshot
from test_mlflow_errors import assert_refused
from test_mlflow_models import BASE, call, create_model, create_run, to_pairs


def put_file(client: FlaskClient, path: str, content: bytes) -> None:
    response = client.put(f"/api/2.0/mlflow-artifacts/artifacts/{path}", data=content)
    assert response.status_code == 200, response.text


def get_file(client: FlaskClient, path: str) -> Any:
    return client.get(f"/api/2.0/mlflow-artifacts/artifacts/{path}")


def log_model(client: FlaskClient, **fields: Any) -> str:
    """Log a model with two files and return its id."""
    info = create_model(client, **fields)["info"]
    root = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    put_file(client, f"{root}/MLmodel", b"flavors: {}")
    put_file(client, f"{root}/data/model.pkl", b"weights")
    return str(info["model_id"])


def register(client: FlaskClient, source: str, name: str = "iris", **fields: Any) -> dict[str, Any]:
    """Create a version, and the registered model if it doesn't exist yet."""
    if client.get(f"{BASE}/registered-models/get", query_string={"name": name}).status_code == 404:
        call(client, "POST", "registered-models/create", name=name)
    version: dict[str, Any] = call(client, "POST", "model-versions/create", name=name, source=source, **fields)[
        "model_version"
    ]
    return version


def fetch_download_uri(client: FlaskClient, name: str, version: str) -> str:
    query = {"name": name, "version": version}
    response = client.get(f"{BASE}/model-versions/get-download-uri", query_string=query)
    assert response.status_code == 200, response.text
    uri: str = response.get_json()["artifact_uri"]
    return uri


def fetch(client: FlaskClient, path: str, **query: Any) -> Any:
    response = client.get(f"{BASE}/{path}", query_string=query)
    assert response.status_code == 200, response.text
    return response.get_json()


def test_version_of_a_logged_model(client: FlaskClient) -> None:
    run_id = create_run(client)
    model_id = log_model(client, source_run_id=run_id)
    call(client, "POST", "registered-models/create", name="iris", description="d", tags=to_pairs({"a": "b"}))
    version = register(
        client,
        f"models:/{model_id}",
        model_id=model_id,
        tags=to_pairs({"t": "x"}),
        description="first",
        run_link="http://x",
    )
    at = version["creation_timestamp"]
    assert version == {
        "name": "iris",
        "version": "1",
        "creation_timestamp": at,
        "last_updated_timestamp": version["last_updated_timestamp"],
        "current_stage": "None",
        "description": "first",
        "source": f"models:/{model_id}",
        "run_id": run_id,
        "model_id": model_id,
        "run_link": "http://x",
        "status": "READY",
        "tags": to_pairs({"t": "x"}),
        "aliases": [],
    }
    assert fetch(client, "model-versions/get", name="iris", version="1")["model_version"] == version
    model = fetch(client, "registered-models/get", name="iris")["registered_model"]
    assert (model["description"], model["tags"], model["latest_versions"]) == ("d", to_pairs({"a": "b"}), [version])
    uri = fetch_download_uri(client, "iris", "1")
    assert uri == f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    native = client.get("/api/models/iris").get_json()["versions"][0]
    assert (native["run_id"], native["artifact"], native["files"]) == (run_id, "models/iris/", 2)


def test_version_source_accepts_every_uri_of_an_artifact_here(client: FlaskClient) -> None:
    run_id = create_run(client)
    put_file(client, f"0/{run_id}/artifacts/model/MLmodel", b"2.x")
    put_file(client, f"0/{run_id}/artifacts/model/sub/w", b"w")
    put_file(client, f"0/{run_id}/artifacts/lonely file.pkl", b"one")
    model_id = log_model(client, name="named", source_run_id=run_id)
    run = (run_id, None)
    cases: list[tuple[str, str, tuple[str, str | None]]] = [
        (f"runs:/{run_id}/model", "model/", run),
        (f"runs:/{run_id}/model/sub", "model/sub/", run),
        (f"runs:/{run_id}/lonely file.pkl", "lonely file.pkl", run),
        (f"runs:/{run_id}/named", "models/named/", (run_id, model_id)),
        (f"mlflow-artifacts:/0/{run_id}/artifacts/model", "model/", run),
        (f"mlflow-artifacts:/0/{run_id}/artifacts/lonely%20file.pkl", "lonely file.pkl", run),
        (f"mlflow-artifacts://localhost/0/{run_id}/artifacts/model", "model/", run),
        (f"mlflow-artifacts://localhost/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/model", "model/", run),
        (f"http://localhost/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/model", "model/", run),
        (f"mlflow-artifacts:/0/models/{model_id}/artifacts", "models/named/", (run_id, model_id)),
        (f"mlflow-artifacts:/0/models/{model_id}/artifacts/data", "models/named/data/", (run_id, model_id)),
        (f"models:/{model_id}", "models/named/", (run_id, model_id)),
        ("models:/iris/1", "model/", run),
        ("models:/iris/latest", "model/", run),
        ("mlflow-artifacts:/0/versions/iris/1/artifacts", "model/", run),
    ]
    for number, (source, artifact, (of_run, of_model)) in enumerate(cases, 1):
        version = register(client, source)
        assert (version["version"], version["source"]) == (str(number), source)
        assert (version["run_id"], version.get("model_id")) == (of_run, of_model), source
        native = client.get("/api/models/iris").get_json()["versions"][0]
        assert (native["version"], native["artifact"]) == (number, artifact), source
    call(client, "POST", "registered-models/alias", name="iris", alias="best", version="3")
    assert register(client, "models:/iris@best")["version"] == str(len(cases) + 1)


def test_model_without_a_run_is_registered_without_one(client: FlaskClient) -> None:
    model_id = log_model(client, name="alone")
    version = register(client, f"models:/{model_id}")
    assert "run_id" not in version and version["model_id"] == model_id


def test_download_uri_leads_to_the_files(client: FlaskClient) -> None:
    run_id = create_run(client)
    put_file(client, f"0/{run_id}/artifacts/model/MLmodel", b"2.x")
    put_file(client, f"0/{run_id}/artifacts/deep/one.pkl", b"one")
    put_file(client, f"0/{run_id}/artifacts/deep/two.pkl", b"two")
    register(client, f"runs:/{run_id}/model")
    assert fetch_download_uri(client, "iris", "1") == f"mlflow-artifacts:/0/{run_id}/artifacts/model"
    register(client, f"runs:/{run_id}/deep/one.pkl", "my model")
    root = fetch_download_uri(client, "my model", "1").removeprefix("mlflow-artifacts:/")
    assert root == "0/versions/my model/1/artifacts"
    files = client.get("/api/2.0/mlflow-artifacts/artifacts", query_string={"path": root}).get_json()
    assert files == {"files": [{"path": "one.pkl", "is_dir": False, "file_size": 3}]}
    assert get_file(client, f"{root}/one.pkl").data == b"one"
    assert_refused(get_file(client, f"{root}/two.pkl"), 404, "RESOURCE_DOES_NOT_EXIST")
    files_of_version = client.get(
        "/api/2.0/mlflow-artifacts/artifacts", query_string={"path": "0/versions/iris/1/artifacts"}
    )
    assert [each["path"] for each in files_of_version.get_json()["files"]] == ["MLmodel"]
    assert get_file(client, "0/versions/iris/1/artifacts/MLmodel").data == b"2.x"
    response = client.put(f"/api/2.0/mlflow-artifacts/artifacts/{root}/one.pkl", data=b"x")
    assert_refused(response, 400, "INVALID_PARAMETER_VALUE")


def test_files_of_a_registered_model_cannot_be_replaced_or_added(client: FlaskClient, data: Path) -> None:
    model_id = log_model(client, source_run_id=create_run(client))
    register(client, f"models:/{model_id}")
    before = snapshot(data)
    for name in ("MLmodel", "new"):
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/models/{model_id}/artifacts/{name}"
        assert_refused(client.put(path, data=b"x"), 409, "RESOURCE_CONFLICT")
    assert snapshot(data) == before


def test_stage_ignores_case_and_production_has_one_version(client: FlaskClient) -> None:
    model_id = log_model(client, source_run_id=create_run(client))
    for _ in range(4):
        register(client, f"models:/{model_id}")

    def move(version: int, stage: str, **fields: Any) -> None:
        fields |= {"name": "iris", "version": str(version), "stage": stage}
        call(client, "POST", "model-versions/transition-stage", **fields)

    def list_stages() -> list[str]:
        versions = fetch(client, "model-versions/search", order_by="version_number")["model_versions"]
        return [each["current_stage"] for each in versions]

    move(1, "PRODUCTION")
    move(2, "production", archive_existing_versions=False)
    assert list_stages() == ["Archived", "Production", "None", "None"]
    move(3, "Staging")
    move(4, "staging")
    assert list_stages() == ["Archived", "Production", "Staging", "Staging"]
    latest = call(
        client, "POST", "registered-models/get-latest-versions", name="iris", stages=["Staging", "production"]
    )
    assert [each["version"] for each in latest["model_versions"]] == ["4", "2"]
    latest_by_get = fetch(client, "registered-models/get-latest-versions", name="iris", stages="Staging")
    assert [each["version"] for each in latest_by_get["model_versions"]] == ["4"]
    assert len(fetch(client, "registered-models/get-latest-versions", name="iris")["model_versions"]) == 3
    move(3, "Staging", archive_existing_versions=True)
    assert list_stages() == ["Archived", "Production", "Staging", "Archived"]


def test_alias_production_is_the_stage_production(client: FlaskClient) -> None:
    model_id = log_model(client, source_run_id=create_run(client))
    for _ in range(2):
        register(client, f"models:/{model_id}")

    def fetch_by_alias(alias: str) -> Any:
        return fetch(client, "registered-models/alias", name="iris", alias=alias)["model_version"]

    call(client, "POST", "registered-models/alias", name="iris", alias="champion", version="1")
    assert fetch_by_alias("champion")["aliases"] == ["champion"] and fetch_by_alias("latest")["version"] == "2"
    response = client.post("/api/w/models/iris/promote", json={"version": 1, "stage": "production"})
    assert response.status_code == 200
    assert fetch_by_alias("production")["version"] == "1"
    call(client, "POST", "registered-models/alias", name="iris", alias="production", version="2")
    assert client.get("/api/models").get_json()[0]["production"] == 2
    model = fetch(client, "registered-models/get", name="iris")["registered_model"]
    assert model["aliases"] == [{"alias": "champion", "version": "1"}, {"alias": "production", "version": "2"}]
    for _ in range(2):
        call(client, "DELETE", "registered-models/alias", name="iris", alias="champion")
    response = client.get(f"{BASE}/registered-models/alias", query_string={"name": "iris", "alias": "champion"})
    assert_refused(response, 400, "INVALID_PARAMETER_VALUE")


def test_model_and_version_are_renamed_described_tagged_and_deleted(client: FlaskClient) -> None:
    model_id = log_model(client, source_run_id=create_run(client))
    register(client, f"models:/{model_id}")
    register(client, f"models:/{model_id}")
    model = call(client, "POST", "registered-models/rename", name="iris", new_name="new")["registered_model"]
    assert model["name"] == "new" and model["latest_versions"][0]["name"] == "new"
    assert (
        call(client, "PATCH", "registered-models/update", name="new", description="d")["registered_model"][
            "description"
        ]
        == "d"
    )
    assert (
        "description"
        not in call(client, "PATCH", "registered-models/update", name="new", description="")["registered_model"]
    )
    key = {"name": "new", "version": 1}
    assert call(client, "PATCH", "model-versions/update", **key, description="v")["model_version"]["description"] == "v"
    for what, fields in (("registered-models", {"name": "new"}), ("model-versions", key)):
        call(client, "POST", f"{what}/set-tag", **fields, key="k", value="")
        call(client, "POST", f"{what}/set-tag", **fields, key="l", value="ü")
        for _ in range(2):
            call(client, "DELETE", f"{what}/delete-tag", **fields, key="k")
        (thing,) = fetch(client, f"{what}/get", **fields).values()
        assert thing["tags"] == to_pairs({"l": "ü"})
    call(client, "DELETE", "model-versions/delete", name="new", version="2")
    assert register(client, f"models:/{model_id}", "new")["version"] == "3"
    call(client, "DELETE", "registered-models/delete", name="new")
    assert client.get("/api/models").get_json() == []


@pytest.fixture
def versioned_model(client: FlaskClient) -> str:
    """The id of a logged model, registered as versions of "a" (1 and 2), "B" and "c d"."""
    model_id = log_model(client, source_run_id=create_run(client))
    for name in ("a", "a", "B", "c d"):
        register(client, f"models:/{model_id}", name, tags=to_pairs({"of": name}))
    call(client, "POST", "registered-models/set-tag", name="a", key="team", value="x y")
    return model_id


PROMPTS = "tag.`mlflow.prompt.is_prompt` != 'true'"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["B", "a", "c d"]),
        ({"filter": PROMPTS}, ["B", "a", "c d"]),
        ({"filter": "tag.`mlflow.prompt.is_prompt` = 'true'"}, []),
        ({"filter": f"name = 'a' AND {PROMPTS}"}, ["a"]),
        ({"filter": "name LIKE '%d'"}, ["c d"]),
        ({"filter": "name ILIKE 'b'"}, ["B"]),
        ({"filter": "tags.team = 'x y'"}, ["a"]),
        ({"filter": "tags.`team` != 'x y'"}, []),
        ({"order_by": ["name DESC"]}, ["c d", "a", "B"]),
        ({"order_by": ["creation_timestamp", "name"]}, ["a", "B", "c d"]),
        ({"order_by": "last_updated_timestamp desc", "max_results": 1}, ["a"]),
    ],
)
def test_search_registered_models(
    client: FlaskClient, versioned_model: str, query: dict[str, Any], names: list[str]
) -> None:
    response = fetch(client, "registered-models/search", **query)
    assert [each["name"] for each in response["registered_models"]] == names
    assert ("next_page_token" in response) == ("max_results" in query)


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("", ["c d 1", "B 1", "a 2", "a 1"]),
        ("name = 'a'", ["a 2", "a 1"]),
        ("name='a' and version_number > 1", ["a 2"]),
        ("run_id = 'RUN' AND name != 'a'", ["c d 1", "B 1"]),
        ("run_id IN ('RUN', 'x') AND version_number = 1", ["c d 1", "B 1", "a 1"]),
        ("run_id = 'x'", []),
        ("source_path = 'models:/MODEL' AND tags.of = 'B'", ["B 1"]),
        (f"name = 'B' AND {PROMPTS}", ["B 1"]),
        ("name LIKE 'c%'", ["c d 1"]),
    ],
)
def test_search_model_versions(client: FlaskClient, versioned_model: str, text: str, versions: list[str]) -> None:
    text = text.replace("RUN", versioned_model[2:-2]).replace("MODEL", versioned_model)
    response = fetch(client, "model-versions/search", filter=text, order_by=["creation_timestamp DESC", "name DESC"])
    by_name = [f"{each['name']} {each['version']}" for each in response["model_versions"]]
    assert sorted(by_name) == sorted(versions)
    by_order = fetch(client, "model-versions/search", filter=text, order_by=["name ASC", "version_number DESC"])
    names = [(each["name"], -int(each["version"])) for each in by_order["model_versions"]]
    assert names == sorted(names)


def test_search_model_versions_page_by_page(client: FlaskClient, versioned_model: str) -> None:
    names: list[str] = []
    query: dict[str, Any] = {"max_results": 3, "order_by": "name"}
    while True:
        response = fetch(client, "model-versions/search", **query)
        names += [each["name"] for each in response["model_versions"]]
        if "next_page_token" not in response:
            break
        query["page_token"] = response["next_page_token"]
    assert names == ["B", "a", "a", "c d"]


BAD = 400, "INVALID_PARAMETER_VALUE"
NONE = 404, "RESOURCE_DOES_NOT_EXIST"
EXISTS = 400, "RESOURCE_ALREADY_EXISTS"
CONFLICT = 409, "RESOURCE_CONFLICT"


@pytest.mark.parametrize(
    ("method", "path", "fields", "expected"),
    [
        ("POST", "registered-models/create", {}, BAD),
        ("POST", "registered-models/create", {"name": "a/b"}, BAD),
        ("POST", "registered-models/create", {"name": "a"}, EXISTS),
        ("POST", "registered-models/create", {"name": "p", "tags": to_pairs({"mlflow.prompt.is_prompt": "true"})}, BAD),
        ("POST", "registered-models/set-tag", {"name": "a", "key": "mlflow.prompt.is_prompt", "value": "True"}, BAD),
        ("POST", "registered-models/set-tag", {"name": "a"}, BAD),
        ("POST", "registered-models/set-tag", {"name": "x", "key": "k", "value": "v"}, NONE),
        ("DELETE", "registered-models/delete-tag", {"name": "x", "key": "k"}, NONE),
        ("POST", "registered-models/rename", {"name": "a"}, BAD),
        ("POST", "registered-models/rename", {"name": "a", "new_name": "B"}, EXISTS),
        ("POST", "registered-models/rename", {"name": "x", "new_name": "y"}, NONE),
        ("PATCH", "registered-models/update", {"name": "x", "description": "d"}, NONE),
        ("PATCH", "registered-models/update", {"name": "a", "description": 5}, BAD),
        ("DELETE", "registered-models/delete", {"name": "x"}, NONE),
        ("GET", "registered-models/get", {"name": "x"}, NONE),
        ("GET", "registered-models/get", {}, BAD),
        ("GET", "registered-models/search", {"max_results": "1001"}, BAD),
        ("GET", "registered-models/search", {"filter": "name ="}, BAD),
        ("GET", "registered-models/search", {"filter": "run_id = 'a'"}, BAD),
        ("GET", "registered-models/search", {"order_by": "size"}, BAD),
        ("GET", "registered-models/search", {"page_token": "x"}, BAD),
        ("POST", "registered-models/get-latest-versions", {"name": "x"}, NONE),
        ("POST", "registered-models/get-latest-versions", {"name": "a", "stages": ["x"]}, BAD),
        ("POST", "registered-models/alias", {"name": "a", "alias": "v1", "version": "1"}, BAD),
        ("POST", "registered-models/alias", {"name": "a", "alias": "7", "version": "1"}, BAD),
        ("POST", "registered-models/alias", {"name": "a", "alias": "latest", "version": "1"}, BAD),
        ("POST", "registered-models/alias", {"name": "a", "alias": "best one", "version": "1"}, BAD),
        ("POST", "registered-models/alias", {"name": "a", "alias": "best", "version": "9"}, NONE),
        ("POST", "registered-models/alias", {"name": "a", "alias": "best", "version": "x"}, BAD),
        ("GET", "registered-models/alias", {"name": "a", "alias": "none"}, BAD),
        ("GET", "registered-models/alias", {"name": "x", "alias": "none"}, NONE),
        ("POST", "model-versions/create", {"name": "a"}, BAD),
        ("POST", "model-versions/create", {"name": "x", "source": "models:/MODEL"}, NONE),
        ("POST", "model-versions/create", {"name": "a", "source": "models:/m-none-1"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "models:/x/1"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "models:/a/9"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "models:/"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "models://registry/MODEL"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "runs:/none/model"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "runs:/RUN"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "runs:/RUN/none"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "runs:/RUN/../etc"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "/etc/passwd"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "file:///etc"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "s3://bucket/model"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "dbfs:/model"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "http://localhost/RUN/artifacts/x"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "http://elsewhere/0/RUN/artifacts/x"}, BAD),
        (
            "POST",
            "model-versions/create",
            {"name": "a", "source": "mlflow-artifacts://elsewhere/0/models/MODEL/artifacts"},
            BAD,
        ),
        ("POST", "model-versions/create", {"name": "a", "source": "mlflow-artifacts:/0/RUN/model"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "models:/MODEL", "run_id": "other"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "models:/MODEL", "model_id": "m-other-1"}, BAD),
        ("POST", "model-versions/create", {"name": "a", "source": "models:/MODEL", "tags": ["x"]}, BAD),
        ("GET", "model-versions/get", {"name": "a", "version": "9"}, NONE),
        ("GET", "model-versions/get", {"name": "a", "version": "latest"}, BAD),
        ("GET", "model-versions/get", {"name": "a", "version": "-1"}, BAD),
        ("GET", "model-versions/get-download-uri", {"name": "x", "version": "1"}, NONE),
        ("GET", "model-versions/search", {"max_results": "200001"}, BAD),
        ("GET", "model-versions/search", {"filter": "size = 'a'"}, BAD),
        ("PATCH", "model-versions/update", {"name": "a", "version": "9", "description": "d"}, NONE),
        ("POST", "model-versions/transition-stage", {"name": "a", "version": "1", "stage": "Prod"}, BAD),
        ("POST", "model-versions/transition-stage", {"name": "a", "version": "9", "stage": "Production"}, NONE),
        ("POST", "model-versions/set-tag", {"name": "a", "version": "9", "key": "k", "value": "v"}, NONE),
        ("DELETE", "model-versions/delete-tag", {"name": "a", "version": "1"}, BAD),
        ("DELETE", "model-versions/delete", {"name": "a", "version": "9"}, NONE),
        ("DELETE", "model-versions/delete", {"name": "B", "version": "1"}, CONFLICT),
        ("DELETE", "registered-models/delete", {"name": "B"}, CONFLICT),
        ("POST", "model-versions/get", {"name": "a", "version": "1"}, (405, "BAD_REQUEST")),
        ("POST", "registered-models/none", {"name": "a"}, (404, "ENDPOINT_NOT_FOUND")),
    ],
)
def test_invalid_call_is_refused_and_changes_nothing(
    client: FlaskClient,
    data: Path,
    versioned_model: str,
    method: str,
    path: str,
    fields: Any,
    expected: tuple[int, str],
) -> None:
    call(client, "POST", "registered-models/alias", name="B", alias="production", version="1")
    before = snapshot(data)
    values = {
        key: value.replace("MODEL", versioned_model).replace("RUN", versioned_model[2:-2])
        if isinstance(value, str)
        else value
        for key, value in fields.items()
    }
    options: dict[str, Any] = {"query_string": values} if method == "GET" else {"json": values}
    assert_refused(client.open(f"{BASE}/{path}", method=method, **options), *expected)
    assert snapshot(data) == before


def test_version_source_accepts_the_public_url(make_app: Callable[..., Flask]) -> None:
    client = make_app(public_url="https://tracker.example.org").test_client()
    model_id = log_model(client, source_run_id=create_run(client))
    source = f"mlflow-artifacts://tracker.example.org/0/models/{model_id}/artifacts"
    assert register(client, source)["source"] == source


def test_version_registered_with_curl_is_complete_in_mlflow(client: FlaskClient) -> None:
    run_id = create_run(client)
    assert upload(client, run_id, "model.pkl", b"bytes") == 200
    body = {"name": "iris", "run_id": run_id, "artifact": "model.pkl", "stage": "production", "description": "by curl"}
    assert client.post("/api/w/models", json=body).status_code == 200
    version = fetch(client, "model-versions/get", name="iris", version="1")["model_version"]
    assert (version["source"], version["current_stage"]) == (f"runs:/{run_id}/model.pkl", "Production")
    assert (version["aliases"], version["description"], version["status"]) == (["production"], "by curl", "READY")


def test_read_only_server_refuses_writes_and_accepts_posts_that_only_read(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    model_id = log_model(client, source_run_id=create_run(client))
    register(client, f"models:/{model_id}")
    client = make_app(read_only=True).test_client()
    models = call(client, "POST", "logged-models/search", experiment_ids=["0"])["models"]
    assert [each["info"]["model_id"] for each in models] == [model_id]
    latest = call(client, "POST", "registered-models/get-latest-versions", name="iris")["model_versions"]
    assert [each["version"] for each in latest] == ["1"]
    assert get_file(client, f"0/models/{model_id}/artifacts/MLmodel").data == b"flavors: {}"
    for method, path in (
        ("POST", "logged-models"),
        ("PATCH", f"logged-models/{model_id}"),
        ("DELETE", f"logged-models/{model_id}"),
        ("POST", "registered-models/create"),
        ("POST", "registered-models/alias"),
        ("DELETE", "registered-models/delete"),
        ("PATCH", "model-versions/update"),
    ):
        assert_refused(client.open(f"{BASE}/{path}", method=method, json={}), 403, "PERMISSION_DENIED")


def test_second_model_in_mlflow_2x_folder_is_refused_once_the_first_is_registered(client: FlaskClient) -> None:
    run_id = create_run(client)
    put_file(client, f"0/{run_id}/artifacts/model/MLmodel", b"the first")
    register(client, f"runs:/{run_id}/model")
    put_file(client, f"0/{run_id}/artifacts/model/MLmodel", b"the first")  # the same bytes again are accepted
    path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/model/MLmodel"
    message = assert_refused(client.put(path, data=b"the second"), 409, "RESOURCE_CONFLICT")
    assert "another name" in message
