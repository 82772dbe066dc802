"""Runs logged over HTTP and read back, created, ended and deleted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]


def test_logged_run_is_read_back_completely(client: FlaskClient, log_run: LogRun) -> None:
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


# -- POST /api/w/runs


def test_create_run_returns_the_run_as_in_a_list(client: FlaskClient) -> None:
    before = int(time.time() * 1000)
    answer = client.post("/api/w/runs", json={"experiment": "iris", "name": "first", "tags": {"author": "maria"}})
    after = int(time.time() * 1000)
    run = answer.get_json()
    assert answer.mimetype == "application/json"
    start_time = run["start_time"]
    assert before <= start_time <= after
    assert run == {
        "id": run["id"],
        "experiment": "iris",
        "name": "first",
        "status": "running",
        "start_time": start_time,
        "end_time": None,
        "duration_ms": None,
        "error": None,
        "tags": {"author": "maria"},
        "parent_run_id": None,
        "created_by": None,
        "resumed_at": None,
        "deleted_at": None,
        "params": {},
        "metrics": {},
        "last_write_time": run["last_write_time"],
    }
    assert client.get("/api/runs").get_json() == [run]


def test_create_run_requires_only_the_experiment_and_null_means_absent(client: FlaskClient) -> None:
    optional = {"name": None, "tags": None, "parent_run_id": None, "created_by": None, "id": None}
    run = client.post("/api/w/runs", json={"experiment": "iris", **optional}).get_json()
    assert (run["name"], run["tags"], run["parent_run_id"], run["created_by"]) == (None, {}, None, None)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "'experiment' is missing"),
        ({"name": "x"}, "'experiment' is missing"),
        ({"experiment": None}, "'experiment' must be a string"),
        ({"experiment": 5}, "'experiment' must be a string"),
        ({"experiment": ["iris"]}, "'experiment' must be a string"),
        ({"experiment": "iris", "name": 5}, "'name' must be a string"),
        ({"experiment": "iris", "tags": ["a"]}, "'tags' must be an object"),
        ({"experiment": "iris", "tags": "a"}, "'tags' must be an object"),
        ({"experiment": "iris", "tags": {"a": [1]}}, "tag 'a' must be"),
        ({"experiment": "iris", "tags": {"a": {}}}, "tag 'a' must be"),
        ({"experiment": "iris", "parent_run_id": 5}, "'parent_run_id' must be a string"),
        ({"experiment": "iris", "created_by": True}, "'created_by' must be a string"),
        ({"experiment": "iris", "id": 5}, "'id' must be a string"),
        ({"experiment": "iris", "expriment": "x"}, "unknown field 'expriment'"),
        ({"experiment": "iris", "status": "completed"}, "unknown field 'status'"),
        ([], "a JSON object"),
        ("iris", "a JSON object"),
        (True, "a JSON object"),
    ],
)
def test_create_run_400_names_the_invalid_field(client: FlaskClient, body: Any, names: str) -> None:
    answer = client.post("/api/w/runs", json=body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert names in answer.get_json()["detail"]
    assert client.get("/api/runs").get_json() == []


def test_ids_are_unique_and_sort_by_start_time(client: FlaskClient) -> None:
    runs = [client.post("/api/w/runs", json={"experiment": "iris"}).get_json() for _ in range(50)]
    ids = [run["id"] for run in runs]
    assert ids == sorted(ids)
    assert len({run_id.lower() for run_id in ids}) == len(ids)
    assert [run["start_time"] for run in runs] == sorted(run["start_time"] for run in runs)
    assert all(re.fullmatch(r"[a-z0-9-]+", run_id) for run_id in ids)


def test_create_run_with_format_id_returns_the_bare_id(client: FlaskClient) -> None:
    answer = client.post("/api/w/runs?format=id", json={"experiment": "iris"})
    assert answer.mimetype == "text/plain"
    assert client.get(f"/api/runs/{answer.text.removesuffix(chr(10))}").status_code == 200
    again = client.post("/api/w/runs?format=id", json={"experiment": "iris", "id": "mine"})
    assert again.text == "mine\n"
    wrong = client.post("/api/w/runs?format=yaml", json={"experiment": "iris"})
    assert (wrong.status_code, wrong.mimetype) == (400, "application/json")


def test_parent_may_be_in_another_store(client: FlaskClient, log_run: LogRun) -> None:
    child = log_run(parent_run_id="elsewhere")
    assert client.get(f"/api/runs/{child}").get_json()["parent_run_id"] == "elsewhere"


def test_run_lists_its_children_in_the_order_of_their_start(client: FlaskClient, log_run: LogRun) -> None:
    parent = log_run(id="z-parent")
    first = log_run(name="fold 1", parent_run_id=parent, id="second-by-name")
    first_start_time = client.get(f"/api/runs/{first}").get_json()["start_time"]
    while time.time_ns() // 1_000_000 == first_start_time:  # two that start in one millisecond are ordered by their ids
        pass
    second = log_run(parent_run_id=parent, id="first-by-name", end="failed")
    log_run(parent_run_id=first)
    assert client.get(f"/api/runs/{parent}").get_json()["children"] == [
        {"id": first, "name": "fold 1", "status": "running"},
        {"id": second, "name": None, "status": "failed"},
    ]


# -- a client's own id


def test_create_run_with_the_same_id_and_body_returns_the_existing_run(client: FlaskClient) -> None:
    body = {"experiment": "iris", "name": "n", "tags": {"a": 1, "b": "x"}, "id": "ci-17", "created_by": "maria"}
    first = client.post("/api/w/runs", json=body).get_json()
    assert first["id"] == "ci-17"
    base = "/api/w/runs/ci-17"
    client.post(f"{base}/tags", json={"a": 2, "c": 3})
    client.post(f"{base}/params", json={"lr": 0.1})
    client.post(f"{base}/end")
    reordered_body = {**body, "tags": {"b": "x", "a": 1}, "parent_run_id": None}
    again = client.post("/api/w/runs", json=reordered_body)
    assert again.status_code == 200
    run = again.get_json()
    assert (run["start_time"], run["status"], run["params"]) == (first["start_time"], "completed", {"lr": 0.1})
    assert run["tags"] == {"a": 2, "b": "x", "c": 3}
    assert client.get("/api/runs").headers["X-Total-Count"] == "1"


@pytest.mark.parametrize(
    "other",
    [
        {"experiment": "digits"},
        {"name": "m"},
        {"name": None},
        {"tags": {}},
        {"tags": {"a": 1, "b": 2}},
        {"tags": {"a": "1"}},
        {"parent_run_id": "p"},
        {"created_by": "maria"},
    ],
)
def test_create_run_409_for_the_same_id_with_another_body(client: FlaskClient, other: dict[str, Any]) -> None:
    body = {"experiment": "iris", "name": "n", "tags": {"a": 1}, "id": "ci-17"}
    first = client.post("/api/w/runs", json=body).get_json()
    answer = client.post("/api/w/runs", json={**body, **other})
    assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
    assert client.get("/api/runs").get_json() == [first]


def test_create_run_409_for_id_differing_only_in_case(client: FlaskClient) -> None:
    assert client.post("/api/w/runs", json={"experiment": "iris", "id": "Fold-A"}).status_code == 200
    answer = client.post("/api/w/runs", json={"experiment": "iris", "id": "fold-a"})
    assert answer.status_code == 409
    assert "Fold-A" in answer.get_json()["detail"]
    assert client.get("/api/runs/fold-a").status_code == 404


def test_create_run_with_a_generated_id_can_be_repeated_with_the_same_body(client: FlaskClient) -> None:
    run = client.post("/api/w/runs", json={"experiment": "iris"}).get_json()
    assert client.post("/api/w/runs", json={"experiment": "iris", "id": run["id"]}).get_json()["id"] == run["id"]
    assert client.post("/api/w/runs", json={"experiment": "digits", "id": run["id"]}).status_code == 409


@pytest.mark.parametrize("kind", ["file", "link"])
def test_create_run_409_for_id_of_a_stray_file_in_the_folder(
    client: FlaskClient, data: Path, tmp_path: Path, kind: str
) -> None:
    stray = data / "runs" / "notes.txt"
    if kind == "file":
        stray.write_text("mine")
    else:
        stray.symlink_to(tmp_path / "nowhere")
    answer = client.post("/api/w/runs", json={"experiment": "iris", "id": "notes.txt"})
    assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
    assert [path.name for path in (data / "runs").iterdir() if not path.name.startswith(".")] == ["notes.txt"]
    assert list((data / "runs" / ".incoming").iterdir()) == []


def test_id_of_deleted_run_can_be_reused(client: FlaskClient) -> None:
    client.post("/api/w/runs", json={"experiment": "iris", "id": "ci-17"})
    client.post("/api/w/runs/ci-17/params", json={"lr": 0.1})
    assert client.delete("/api/w/runs/ci-17").status_code == 200
    run = client.post("/api/w/runs", json={"experiment": "digits", "id": "ci-17"}).get_json()
    assert (run["experiment"], run["params"]) == ("digits", {})


# -- POST /api/w/runs/:id/end


@pytest.mark.parametrize(
    ("query", "body", "status", "error"),
    [
        ("", None, "completed", None),
        ("", {"status": "completed"}, "completed", None),
        ("", {"status": "failed"}, "failed", None),
        ("", {"status": "failed", "error": "ValueError: no\n  at line 3"}, "failed", "ValueError: no\n  at line 3"),
        ("", {"status": "failed", "error": None}, "failed", None),
        ("", {"status": "completed", "error": "a warning"}, "completed", "a warning"),
        ("?exit_code=0", None, "completed", None),
        ("?exit_code=1", None, "failed", "exit code 1"),
        ("?exit_code=137", None, "failed", "exit code 137"),
        ("?exit_code=-9", None, "failed", "exit code -9"),
    ],
)
def test_run_ends_with_the_status_and_error_of_the_request(
    client: FlaskClient, log_run: LogRun, query: str, body: Any, status: str, error: str | None
) -> None:
    run_id = log_run()
    request = {"json": body} if body is not None else {}
    answer = client.post(f"/api/w/runs/{run_id}/end{query}", **request)
    assert (answer.status_code, answer.get_json()) == (200, {"ok": True})
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["status"], run["error"]) == (status, error)
    assert run["duration_ms"] == run["end_time"] - run["start_time"] >= 0
    assert run["last_write_time"] >= run["end_time"]


def test_end_without_a_body_is_completed_whatever_the_content_type(client: FlaskClient, log_run: LogRun) -> None:
    # curl -X POST -H 'Content-Type: application/json' URL, and the same without the header
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        run_id = log_run()
        assert client.post(f"/api/w/runs/{run_id}/end", content_type=kind).status_code == 200
        assert client.get(f"/api/runs/{run_id}").get_json()["status"] == "completed"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", {}),
        ("", {"status": None}),
        ("", {"status": "running"}),
        ("", {"status": "FAILED"}),
        ("", {"status": "done"}),
        ("", {"status": 0}),
        ("", {"error": "x"}),
        ("", {"status": "failed", "error": 5}),
        ("", {"status": "failed", "eror": "x"}),
        ("", {"status": "failed", "error": "x" * 100_001}),
        ("", []),
        ("?exit_code=", None),
        ("?exit_code=one", None),
        ("?exit_code=1.0", None),
        ("?exit_code=99999999999999999999", None),
        ("?exit_code=0", {"status": "completed"}),
        ("?exitcode=1", None),
        ("?exit_code=1&exit_code=1", None),
    ],
)
def test_invalid_end_is_400_and_the_run_stays_running(
    client: FlaskClient, log_run: LogRun, query: str, body: Any
) -> None:
    run_id = log_run()
    request = {"json": body} if body is not None else {}
    answer = client.post(f"/api/w/runs/{run_id}/end{query}", **request)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert client.get(f"/api/runs/{run_id}").get_json()["status"] == "running"
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1}).status_code == 200


@pytest.mark.parametrize("first", ["completed", "failed"])
def test_end_can_be_repeated_but_not_changed(client: FlaskClient, log_run: LogRun, first: str) -> None:
    run_id = log_run(end=first)
    run = client.get(f"/api/runs/{run_id}").get_json()
    again = client.post(f"/api/w/runs/{run_id}/end", json={"status": first, "error": "another"})
    assert (again.status_code, again.get_json()) == (200, {"ok": True})
    other = {"completed": "failed", "failed": "completed"}[first]
    answer = client.post(f"/api/w/runs/{run_id}/end", json={"status": other})
    assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
    assert client.get(f"/api/runs/{run_id}").get_json() == run


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_ended_run_accepts_no_params_metrics_or_artifacts(client: FlaskClient, log_run: LogRun, end: str) -> None:
    run_id = log_run(params={"lr": 1}, metrics={"loss": 1}, artifacts={"m": b"1"}, end=end)
    base = f"/api/w/runs/{run_id}"
    before = client.get(f"/api/runs/{run_id}").get_json()
    octets = "application/octet-stream"
    for answer in (
        client.post(f"{base}/params", json={"lr": 1}),
        client.post(f"{base}/params", json={"epochs": 1}),
        client.post(f"{base}/metrics", json={"loss": 1}),
        client.post(f"{base}/artifacts?name=m", data=b"1", content_type=octets),
        client.post(f"{base}/artifacts?name=n", data=b"2", content_type=octets),
    ):
        assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")
        assert f"has ended ({end})" in answer.get_json()["detail"]
    assert client.get(f"/api/runs/{run_id}").get_json() == before
    for path, body in (
        (f"{base}/tags", {"a": 1}),
        (f"{base}/note", {"note": "x"}),
        (f"{base}/datasets", {"role": "t"}),
    ):
        assert client.post(path, json=body).status_code == 200


def test_unknown_run_is_404_no_such_run(client: FlaskClient) -> None:
    for run_id in ("unknown", "20261123-185749-123-k3f9ta", "..", "%2e%2e", "a%20b", "%00", "x" * 300, "größe"):
        for route, body in (("params", {"lr": 1}), ("metrics", {"loss": 1})):
            answer = client.post(f"/api/w/runs/{run_id}/{route}", json=body)
            assert answer.status_code == 404, run_id
            assert answer.get_json()["error"] in ("no such run", "not found")
    answer = client.post("/api/w/runs/unknown/metrics", json={"loss": 1})
    assert answer.get_json()["error"] == "no such run"


# -- DELETE /api/w/runs/:id


def test_deleted_run_is_removed_with_all_its_files(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(params={"lr": 1}, metrics={"loss": 1}, artifacts={"a/b": b"1"})
    other = log_run()
    answer = client.delete(f"/api/w/runs/{run_id}")
    assert (answer.status_code, answer.get_json()) == (200, {"ok": True})
    assert client.get(f"/api/runs/{run_id}").status_code == 404
    assert client.get(f"/api/artifacts/{run_id}/a/b/download").status_code == 404
    assert [run["id"] for run in client.get("/api/runs").get_json()] == [other]
    assert sorted(path.name for path in (data / "runs").iterdir()) == [".incoming", other]
    assert list((data / "runs" / ".incoming").iterdir()) == []
    assert client.delete(f"/api/w/runs/{run_id}").status_code == 404


def test_delete_run_409_for_the_run_of_a_model_version(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(artifacts={"m": b"1"}, end="completed")
    for stage in ("production", "archived"):
        client.post("/api/w/models", json={"name": "iris", "run_id": run_id, "artifact": "m", "stage": stage})
    answer = client.delete(f"/api/w/runs/{run_id}")
    assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
    assert "iris 1" in answer.get_json()["detail"]
    assert client.get(f"/api/artifacts/{run_id}/m/download").data == b"1"


# -- content types


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_json_content_type_may_have_a_charset(client: FlaskClient, kind: str) -> None:
    answer = client.post("/api/w/runs", data='{"experiment": "größe"}'.encode(), content_type=kind)
    assert (answer.status_code, answer.get_json()["experiment"]) == (200, "größe")


CONTENT_TYPES = [
    ("runs", "application/x-www-form-urlencoded", "application/json"),
    ("runs", "text/plain", "application/json"),
    ("runs", "application/x-ndjson", "application/json"),
    ("runs", "text/json", "application/json"),
    ("runs", None, "application/json"),
    ("runs/ID/params", "application/x-www-form-urlencoded", "application/json"),
    ("runs/ID/params", "application/octet-stream", "application/json"),
    ("runs/ID/params", "multipart/form-data; boundary=x", "application/json"),
    ("runs/ID/metrics", "application/x-www-form-urlencoded", "application/json"),
    ("runs/ID/metrics", "application/octet-stream", "application/json"),
    ("runs/ID/artifacts?name=m", "application/json", "application/octet-stream"),
    ("runs/ID/artifacts?name=m", "application/x-www-form-urlencoded", "application/octet-stream"),
    ("runs/ID/artifacts?name=m", "multipart/form-data; boundary=x", "application/octet-stream"),
    ("runs/ID/artifacts?name=m", None, "application/octet-stream"),
    ("runs/ID/end", "application/x-www-form-urlencoded", "application/json"),
    ("runs/ID/tags", "text/plain", "application/json"),
    ("runs/ID/note", "text/markdown", "application/json"),
    ("runs/ID/datasets", "text/csv", "application/json"),
    ("models", "application/x-www-form-urlencoded", "application/json"),
    ("models/iris/promote", "application/x-www-form-urlencoded", "application/json"),
]


@pytest.mark.parametrize(("route", "content_type", "expected_type"), CONTENT_TYPES)
def test_wrong_content_type_is_400_and_the_detail_names_the_right_header(
    client: FlaskClient, log_run: LogRun, route: str, content_type: str | None, expected_type: str
) -> None:
    run_id = log_run()
    before = client.get(f"/api/runs/{run_id}").get_json()
    answer = client.post(
        f"/api/w/{route.replace('ID', run_id)}", data=b'{"experiment": "x"}', content_type=content_type
    )
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    detail = answer.get_json()["detail"]
    assert f"-H 'Content-Type: {expected_type}'" in detail
    assert (content_type or "and the request has none").partition(";")[0] in detail
    assert client.get(f"/api/runs/{run_id}").get_json() == before
    assert client.get("/api/runs").headers["X-Total-Count"] == "1"
