"""Models over HTTP: versions without gaps, one in production, downloads by number and stage."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

LogRun = Callable[..., str]
STAGES = ["none", "staging", "production", "archived"]


@pytest.fixture
def run_id(log_run: LogRun) -> str:
    """The id of a completed run with an artifact to register."""
    return log_run(artifacts={"model.pkl": b"weights"}, end="completed")


@pytest.fixture
def register(client: FlaskClient, run_id: str) -> Callable[..., dict[str, Any]]:
    """Return a function that registers the artifact as the next version of a model, and returns the answer."""

    def post(name: str = "iris", **fields: Any) -> dict[str, Any]:
        answer = client.post("/api/w/models", json={"name": name, "run_id": run_id, "artifact": "model.pkl", **fields})
        assert answer.status_code == 200, answer.text
        version: dict[str, Any] = answer.get_json()
        return version

    return post


def promote(client: FlaskClient, version: Any, stage: Any, name: str = "iris") -> TestResponse:
    return client.post(f"/api/w/models/{name}/promote", json={"version": version, "stage": stage})


def stages(client: FlaskClient, name: str = "iris") -> dict[int, str]:
    versions = client.get(f"/api/models/{name}").get_json()["versions"]
    return {version["version"]: version["stage"] for version in versions}


def test_register_returns_the_complete_version(client: FlaskClient, run_id: str) -> None:
    before = int(time.time() * 1000)
    answer = client.post(
        "/api/w/models",
        json={
            "name": "iris-classifier",
            "run_id": run_id,
            "artifact": "model.pkl",
            "stage": "staging",
            "description": "first cut",
        },
    )
    version = answer.get_json()
    assert before <= version["created_at"] <= int(time.time() * 1000)
    assert version == {
        "name": "iris-classifier",
        "version": 1,
        "run_id": run_id,
        "artifact": "model.pkl",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "stage": "staging",
        "description": "first cut",
        "created_at": version["created_at"],
    }


def test_versions_are_numbered_from_one_for_each_model(register: Callable[..., dict[str, Any]]) -> None:
    assert [register()["version"] for _ in range(3)] == [1, 2, 3]
    assert register("digits")["version"] == 1
    assert register()["version"] == 4
    assert (register()["stage"], register()["description"]) == ("none", None)


def test_refused_version_leaves_no_gap(client: FlaskClient, run_id: str, register: Callable[..., Any]) -> None:
    register()
    for body, status in (
        ({"name": "iris", "run_id": run_id, "artifact": "other.pkl"}, 404),
        ({"name": "iris", "run_id": run_id, "artifact": "model.pkl", "stage": "live"}, 400),
    ):
        assert client.post("/api/w/models", json=body).status_code == status
    assert register()["version"] == 2


@pytest.mark.parametrize(
    ("change", "status", "error", "names"),
    [
        ({"name": None}, 400, "bad request", "'name' must be a string"),
        ({"run_id": 5}, 400, "bad request", "'run_id' must be a string"),
        ({"artifact": ["model.pkl"]}, 400, "bad request", "'artifact' must be a string"),
        ({"stage": "Production"}, 400, "bad request", "none, staging, production, archived"),
        ({"stage": ""}, 400, "bad request", "none, staging, production, archived"),
        ({"stage": 1}, 400, "bad request", "'stage' must be a string"),
        ({"description": 5}, 400, "bad request", "'description' must be a string"),
        ({"description": "x" * 100_001}, 400, "bad request", "100000 characters"),
        ({"descripton": "x"}, 400, "bad request", "unknown field 'descripton'"),
        ({"version": 7}, 400, "bad request", "unknown field 'version'"),
        ({"run_id": "unknown"}, 404, "no such run", "no run has the id"),
        ({"run_id": "../runs"}, 404, "no such run", "no run has the id"),
        ({"artifact": "other.pkl"}, 404, "no such artifact", "'other.pkl'"),
        ({"artifact": "../meta.json"}, 404, "no such artifact", "'../meta.json'"),
    ],
)
def test_invalid_registration_is_refused_and_creates_no_model(
    client: FlaskClient, run_id: str, change: dict[str, Any], status: int, error: str, names: str
) -> None:
    answer = client.post("/api/w/models", json={"name": "iris", "run_id": run_id, "artifact": "model.pkl", **change})
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert names in answer.get_json()["detail"]
    assert client.get("/api/models").get_json() == []


@pytest.mark.parametrize("missing", ["name", "run_id", "artifact"])
def test_missing_field_is_400_and_named(client: FlaskClient, run_id: str, missing: str) -> None:
    body = {"name": "iris", "run_id": run_id, "artifact": "model.pkl"}
    del body[missing]
    answer = client.post("/api/w/models", json=body)
    assert (answer.status_code, answer.get_json()["detail"]) == (400, f"the field '{missing}' is missing")


# -- stages


def test_promotion_to_production_archives_the_version_before(client: FlaskClient, register: Callable[..., Any]) -> None:
    for _ in range(3):
        register()
    first = promote(client, 1, "production")
    assert (first.status_code, first.get_json()["stage"], first.get_json()["demoted"]) == (200, "production", [])
    second = promote(client, 3, "production").get_json()
    assert (second["version"], second["stage"], second["demoted"]) == (3, "production", [1])
    assert set(second) == set(client.get("/api/models/iris").get_json()["versions"][0]) | {"demoted"}
    assert stages(client) == {1: "archived", 2: "none", 3: "production"}


def test_registration_in_production_archives_the_version_before(
    client: FlaskClient, register: Callable[..., Any]
) -> None:
    register(stage="production")
    register(stage="production")
    assert stages(client) == {1: "archived", 2: "production"}


def test_other_stages_may_have_several_versions(client: FlaskClient, register: Callable[..., Any]) -> None:
    for _ in range(3):
        register(stage="staging")
    assert promote(client, 1, "archived").get_json()["demoted"] == []
    assert promote(client, 2, "none").get_json()["demoted"] == []
    assert promote(client, 2, "staging").get_json()["demoted"] == []
    assert stages(client) == {1: "archived", 2: "staging", 3: "staging"}


def test_repeated_promotion_changes_nothing(client: FlaskClient, register: Callable[..., Any]) -> None:
    register()
    register(stage="production")
    promote(client, 1, "production")
    before = client.get("/api/models/iris").get_json()
    again = promote(client, 1, "production")
    assert (again.status_code, again.get_json()["stage"], again.get_json()["demoted"]) == (200, "production", [])
    assert client.get("/api/models/iris").get_json() == before


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"version": 1, "stage": "live"}, 400, "bad request"),
        ({"version": 1}, 400, "bad request"),
        ({"stage": "staging"}, 400, "bad request"),
        ({"version": "1", "stage": "staging"}, 400, "bad request"),
        ({"version": 1.0, "stage": "staging"}, 400, "bad request"),
        ({"version": True, "stage": "staging"}, 400, "bad request"),
        ({"version": None, "stage": "staging"}, 400, "bad request"),
        ({"version": 1, "stage": None}, 400, "bad request"),
        ({"version": 1, "stage": "staging", "name": "iris"}, 400, "bad request"),
        ({"version": 2, "stage": "staging"}, 404, "no such model"),
        ({"version": 0, "stage": "staging"}, 404, "no such model"),
        ({"version": -1, "stage": "staging"}, 404, "no such model"),
        ({"version": 10**300, "stage": "staging"}, 404, "no such model"),
    ],
)
def test_promotion_that_cannot_be_changes_nothing(
    client: FlaskClient, register: Callable[..., Any], body: dict[str, Any], status: int, error: str
) -> None:
    register(stage="production")
    before = client.get("/api/models/iris").get_json()
    answer = client.post("/api/w/models/iris/promote", json=body)
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert client.get("/api/models/iris").get_json() == before


# -- reading


def test_models_are_listed_by_name(client: FlaskClient, register: Callable[..., Any]) -> None:
    assert client.get("/api/models").get_json() == []
    first = register("iris", description="first cut", stage="staging")
    register("iris", description="second cut", stage="production")
    register("iris")
    register("digits")
    digits, iris = client.get("/api/models").get_json()
    assert (digits["name"], digits["production"], digits["description"]) == ("digits", None, None)
    assert iris == {
        "name": "iris",
        "description": "second cut",
        "created_at": first["created_at"],
        "versions": 3,
        "latest": 3,
        "production": 2,
        "tags": {},
    }


def test_model_has_its_versions_with_their_current_stages_and_its_history(
    client: FlaskClient, register: Callable[..., Any]
) -> None:
    first, second = register(stage="production"), register(description="better")
    promote(client, 2, "production")
    model = client.get("/api/models/iris").get_json()
    assert model["model"] == client.get("/api/models").get_json()[0]
    more: dict[str, Any] = {"tags": {}, "aliases": [], "files": None}
    assert model["versions"] == [
        {**second, **more, "stage": "production", "aliases": ["production"]},
        {**first, **more, "stage": "archived"},
    ]
    events = [(event["event"], event["version"], event["stage"]) for event in model["history"]]
    assert events == [("registered", 1, "production"), ("registered", 2, "none"), ("promoted", 2, "production")]


def test_version_is_downloaded_by_number_or_stage(
    client: FlaskClient, log_run: LogRun, register: Callable[..., Any]
) -> None:
    register(stage="staging")
    other = log_run(artifacts={"deep/er/model v2.bin": b"better weights"})
    register(run_id=other, artifact="deep/er/model v2.bin", stage="staging")
    register(stage="production")
    for selector, content in (
        ("1", b"weights"),
        ("2", b"better weights"),
        ("production", b"weights"),
        ("staging", b"better weights"),  # the latest of several
    ):
        answer = client.get(f"/api/models/iris/{selector}/download")
        assert (answer.status_code, answer.data) == (200, content), selector
        assert answer.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    disposition = client.get("/api/models/iris/2/download").headers["Content-Disposition"]
    assert disposition == 'attachment; filename="model v2.bin"'


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/other",
        "/api/models/Iris",
        "/api/models/other/1/download",
        "/api/models/iris/2/download",
        "/api/models/iris/0/download",
        "/api/models/iris/-1/download",
        "/api/models/iris/production/download",
        "/api/models/iris/live/download",
        "/api/models/iris/Latest/download",
        "/api/models/iris/1.0/download",
        "/api/models/iris/%D9%A1/download",
        "/api/models/iris/" + "1" * 5000 + "/download",
    ],
)
def test_unknown_model_version_or_stage_is_404(client: FlaskClient, register: Callable[..., Any], path: str) -> None:
    register()
    answer = client.get(path)
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such model")


def test_artifact_of_a_version_cannot_be_overwritten(
    client: FlaskClient, log_run: LogRun, register: Callable[..., Any]
) -> None:
    run_id = log_run(artifacts={"m": b"one"})
    register(run_id=run_id, artifact="m")
    upload = f"/api/w/runs/{run_id}/artifacts?name=m&overwrite=true"
    conflict = client.post(upload, data=b"two", content_type="application/octet-stream")
    assert (conflict.status_code, conflict.get_json()["error"]) == (409, "conflict")
    assert "version 1 of the model 'iris'" in conflict.get_json()["detail"]
    assert client.get("/api/models/iris/1/download").data == b"one"
    again = client.post(upload, data=b"one", content_type="application/octet-stream")
    assert again.status_code == 200


def test_models_with_names_differing_in_case_are_distinct(client: FlaskClient, register: Callable[..., Any]) -> None:
    for name in ("iris", "Iris", "IRIS", "grün", "GRÜN", "a:b", "CON", "100%"):
        assert register(name)["version"] == 1
        assert register(name)["version"] == 2
    assert len(client.get("/api/models").get_json()) == 8
    for name in ("iris", "Iris", "IRIS", "grün", "GRÜN", "a:b", "CON", "100%25"):
        assert client.get(f"/api/models/{name}").get_json()["model"]["versions"] == 2


def test_name_too_long_to_be_distinguished_on_disk_is_400(client: FlaskClient, register: Callable[..., Any]) -> None:
    # On a case-insensitive file system the two need different spellings; that of the second would have 600 bytes.
    run_id = register("é" * 100)["run_id"]
    answer = client.post("/api/w/models", json={"name": "É" * 100, "run_id": run_id, "artifact": "model.pkl"})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert "too long to be told apart" in answer.get_json()["detail"]
    assert register("é" * 100)["version"] == 2


def test_stray_file_with_the_name_of_a_model_is_left_unchanged(
    client: FlaskClient, register: Callable[..., Any], data: Path
) -> None:
    (data / "models" / "iris").write_text("mine")
    assert register("iris")["version"] == 1
    assert register("iris")["version"] == 2
    assert (data / "models" / "iris").read_text() == "mine"
