"""Tags, notes and datasets over HTTP, by both of their routes; they may still be written after a run's end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.snapshots import snapshot

LogRun = Callable[..., str]


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


@pytest.fixture
def data(shared_data: Path) -> Path:
    return shared_data


def get_tags(client: FlaskClient, run_id: str) -> Any:
    tags = client.get(f"/api/tags/{run_id}").get_json()
    assert client.get(f"/api/runs/{run_id}").get_json()["tags"] == tags
    return tags


# -- tags


@pytest.mark.parametrize(
    "value", ["text", "", "größe\n大", 5, -1.5, 2**60, 1e308, True, False, "true", "5", "null", "<b>", "x" * 10_000]
)
def test_tag_keeps_its_type_of_string_number_or_boolean(client: FlaskClient, log_run: LogRun, value: Any) -> None:
    set_at_start, set_as_object, set_by_key = log_run(tags={"t": value}), log_run(), log_run()
    assert client.post(f"/api/w/runs/{set_as_object}/tags", json={"t": value}).get_json() == {"ok": True}
    assert client.post(f"/api/tags/{set_by_key}", json={"key": "t", "value": value}).get_json() == {"ok": True}
    for run_id in (set_at_start, set_as_object, set_by_key):
        assert repr(get_tags(client, run_id)) == repr({"t": value})


def test_tag_can_be_changed_or_removed_by_null_and_others_stay(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(tags={"a": 1, "b": 2, "c": 3})
    assert client.post(f"/api/w/runs/{run_id}/tags", json={"a": "one", "b": None, "d": True}).status_code == 200
    assert get_tags(client, run_id) == {"a": "one", "c": 3, "d": True}
    assert client.post(f"/api/tags/{run_id}", json={"key": "c", "value": None}).status_code == 200
    assert client.post(f"/api/tags/{run_id}", json={"key": "never", "value": None}).status_code == 200
    assert get_tags(client, run_id) == {"a": "one", "d": True}
    assert log_run(id="nulls", tags={"a": None, "b": 1}) == "nulls"
    assert get_tags(client, "nulls") == {"b": 1}


@pytest.mark.parametrize(("before", "after"), [(1, True), (True, 1), (1, 1.0), (0, False), ("1", 1)])
def test_change_of_only_the_type_is_a_change(client: FlaskClient, log_run: LogRun, before: Any, after: Any) -> None:
    run_id = log_run(tags={"t": before})
    client.post(f"/api/w/runs/{run_id}/tags", json={"t": after})
    assert repr(get_tags(client, run_id)) == repr({"t": after})


@pytest.mark.parametrize(
    "bad", [{"x": []}, {"x": {}}, {"x": [1]}, {"": 1}, {"a\n": 1}, {"k" * 251: 1}, {"x": {"nested": 1}}]
)
def test_request_with_one_invalid_tag_stores_nothing(
    client: FlaskClient, log_run: LogRun, data: Path, bad: dict[str, Any]
) -> None:
    run_id = log_run(tags={"a": 1})
    before = snapshot(data)
    for body in ({"a": 2, **bad}, {**bad, "new": 1}):
        answer = client.post(f"/api/w/runs/{run_id}/tags", json=body)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    for key, value in bad.items():
        assert client.post(f"/api/tags/{run_id}", json={"key": key, "value": value}).status_code == 400
    assert client.post("/api/w/runs", json={"experiment": "x", "tags": bad}).status_code == 400
    assert snapshot(data) == before


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"key": "a"}, "'value' is missing"),
        ({"value": 1}, "'key' is missing"),
        ({"key": 1, "value": 1}, "'key' must be a string"),
        ({"key": None, "value": 1}, "'key' must be a string"),
        ({"key": "a", "value": 1, "extra": 1}, "unknown field 'extra'"),
        ({"a": 1}, "unknown field 'a'"),
    ],
)
def test_route_for_one_tag_requires_a_key_and_a_value(
    client: FlaskClient, log_run: LogRun, body: Any, names: str
) -> None:
    run_id = log_run()
    answer = client.post(f"/api/tags/{run_id}", json=body)
    assert answer.status_code == 400
    assert names in answer.get_json()["detail"]
    assert get_tags(client, run_id) == {}


# -- the note


@pytest.mark.parametrize("path", ["/api/w/runs/{}/note", "/api/note/{}"])
def test_note_is_replaced_by_either_route(client: FlaskClient, log_run: LogRun, path: str) -> None:
    run_id = log_run()
    assert client.get(f"/api/runs/{run_id}").get_json()["note"] is None
    for note in ("# Überschrift\n\n* a\n* <script>", "x" * 100_000, "short"):
        answer = client.post(path.format(run_id), json={"note": note})
        assert (answer.status_code, answer.get_json()) == (200, {"ok": True})
        assert client.get(f"/api/runs/{run_id}").get_json()["note"] == note
    assert client.post(path.format(run_id), json={"note": ""}).status_code == 200
    assert client.get(f"/api/runs/{run_id}").get_json()["note"] is None


@pytest.mark.parametrize("path", ["/api/w/runs/{}/note", "/api/note/{}"])
@pytest.mark.parametrize("body", [{}, {"note": None}, {"note": 5}, {"note": ["a"]}, {"note": "x", "format": "md"}, "x"])
def test_invalid_note_is_400(client: FlaskClient, log_run: LogRun, path: str, body: Any) -> None:
    run_id = log_run()
    client.post(path.format(run_id), json={"note": "kept"})
    assert client.post(path.format(run_id), json=body).status_code == 400
    assert client.get(f"/api/runs/{run_id}").get_json()["note"] == "kept"


# -- datasets

DATASET = {
    "role": "train",
    "n_rows": 150,
    "n_cols": 4,
    "features": ["sepal length", "größe"],
    "hash": "sha256:abc",
    "source": "s3://bucket/iris.csv",
}


@pytest.mark.parametrize(
    "dataset",
    [
        DATASET,
        {"role": "test"},
        {"n_rows": 0},
        {"n_cols": 2**40},
        {"features": {"a": "float", "b": ["x", "y"]}},
        {"features": []},
        {"hash": ""},
        {"source": "iris.csv"},
        {"name": "iris", "source_type": "local", "schema": "{}", "profile": '{"num_rows": 5}', "hash": "d1"},
        {"tags": {"kind": "raw", "part": 1, "whole": True}},
        {**DATASET, "name": "iris", "tags": {"kind": "raw"}},
    ],
)
def test_dataset_is_returned_as_logged(client: FlaskClient, log_run: LogRun, dataset: dict[str, Any]) -> None:
    run_id = log_run()
    answer = client.post(f"/api/w/runs/{run_id}/datasets", json=dataset)
    assert (answer.status_code, answer.get_json()) == (200, {"ok": True})
    assert client.get(f"/api/datasets/{run_id}").get_json() == [dataset]
    assert client.get(f"/api/runs/{run_id}").get_json()["datasets"] == [dataset]


def test_datasets_accumulate_and_a_repeated_one_is_added_once(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for dataset in (DATASET, {**DATASET, "role": "test"}, DATASET, {**DATASET, "role": None}):
        assert client.post(f"/api/w/runs/{run_id}/datasets", json=dataset).status_code == 200
    without_role = {key: value for key, value in DATASET.items() if key != "role"}
    assert client.get(f"/api/datasets/{run_id}").get_json() == [DATASET, {**DATASET, "role": "test"}, without_role]


def test_tags_of_a_repeated_dataset_are_merged(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for tags in ({"a": 1, "b": "x"}, None, {"a": 2, "c": True}, {"b": None, "d": None}):
        assert client.post(f"/api/w/runs/{run_id}/datasets", json={**DATASET, "tags": tags}).status_code == 200
    assert client.get(f"/api/datasets/{run_id}").get_json() == [{**DATASET, "tags": {"a": 2, "c": True}}]
    client.post(f"/api/w/runs/{run_id}/datasets", json={**DATASET, "tags": {"a": None, "c": None}})
    assert client.get(f"/api/datasets/{run_id}").get_json() == [DATASET]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "at least one of role, n_rows, n_cols, features, hash, source"),
        ({"role": None}, "at least one of"),
        ({"rows": 5}, "unknown field 'rows'"),
        ({**DATASET, "extra": 1}, "unknown field 'extra'"),
        ({"role": 5}, "role must be a string"),
        ({"n_rows": -1}, "n_rows must be a whole number"),
        ({"n_rows": 1.5}, "n_rows must be a whole number"),
        ({"n_rows": True}, "n_rows must be a whole number"),
        ({"n_cols": "4"}, "n_cols must be a whole number"),
        ({"features": "a,b"}, "features must be an array"),
        ({"features": 4}, "features must be an array"),
        ({"hash": 5}, "hash must be a string"),
        ({"source": ["a"]}, "source must be a string"),
        ({"name": 5}, "name must be a string"),
        ({"schema": {}}, "schema must be a string"),
        ({"profile": []}, "profile must be a string"),
        ({"source_type": True}, "source_type must be a string"),
        ({"tags": ["a"]}, "tags must be an object"),
        ({"tags": {"a": []}}, "tag 'a' must be a string"),
        ({"tags": {"a": None}}, "at least one of"),
        ({"tags": {}}, "at least one of"),
        ([DATASET], "a JSON object"),
    ],
)
def test_invalid_dataset_is_400(client: FlaskClient, log_run: LogRun, body: Any, names: str) -> None:
    run_id = log_run()
    answer = client.post(f"/api/w/runs/{run_id}/datasets", json=body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert names in answer.get_json()["detail"]
    assert client.get(f"/api/datasets/{run_id}").get_json() == []


# -- tags, note and datasets


def test_tags_note_and_datasets_can_be_written_after_the_end(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(end="failed")
    ended_run = client.get(f"/api/runs/{run_id}").get_json()
    for path, body in (
        (f"/api/w/runs/{run_id}/tags", {"a": 1}),
        (f"/api/tags/{run_id}", {"key": "b", "value": 2}),
        (f"/api/w/runs/{run_id}/note", {"note": "x"}),
        (f"/api/note/{run_id}", {"note": "y"}),
        (f"/api/w/runs/{run_id}/datasets", {"role": "train"}),
    ):
        assert client.post(path, json=body).status_code == 200
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["tags"], run["note"], run["datasets"]) == ({"a": 1, "b": 2}, "y", [{"role": "train"}])
    assert (run["status"], run["end_time"]) == ("failed", ended_run["end_time"])


def test_request_without_changes_writes_nothing(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(tags={"a": 1})
    client.post(f"/api/note/{run_id}", json={"note": "x"})
    client.post(f"/api/w/runs/{run_id}/datasets", json=DATASET)
    meta = data / "runs" / run_id / "meta.json"
    before = meta.stat().st_ino, meta.read_bytes()
    for path, body in (
        (f"/api/w/runs/{run_id}/tags", {"a": 1}),
        (f"/api/w/runs/{run_id}/tags", {}),
        (f"/api/w/runs/{run_id}/tags", {"never": None}),
        (f"/api/note/{run_id}", {"note": "x"}),
        (f"/api/w/runs/{run_id}/datasets", DATASET),
    ):
        assert client.post(path, json=body).status_code == 200
    assert (meta.stat().st_ino, meta.read_bytes()) == before


def test_unknown_fields_of_meta_json_are_kept(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run()
    path = data / "runs" / run_id / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mine": {"a": [1]}}))
    client.post(f"/api/w/runs/{run_id}/tags", json={"a": 1})
    client.post(f"/api/w/runs/{run_id}/end")
    assert json.loads(path.read_text())["mine"] == {"a": [1]}


@pytest.mark.parametrize("path", ["/api/tags/unknown", "/api/datasets/unknown"])
def test_tags_and_datasets_of_an_unknown_run_are_404(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")
