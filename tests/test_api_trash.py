"""Resuming, renaming, trashing, restoring and removing runs; experiments without runs, their tags and deletion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

LogRun = Callable[..., str]
OCTETS = "application/octet-stream"


def post(client: FlaskClient, path: str, body: Any = None, status: int = 200) -> Any:
    answer = client.post(path, json=body) if body is not None else client.post(path)
    assert answer.status_code == status, answer.text
    return answer.get_json()


def list_ids(client: FlaskClient, path: str = "/api/runs", **query: Any) -> list[str]:
    answer = client.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    return [run["id"] for run in answer.get_json()]


# -- resume, rename


def test_resumed_run_accepts_writes_and_can_be_ended_again(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(params={"lr": 1}, metrics={"loss": 1, "step": 0}, end="failed")
    ended_run = client.get(f"/api/runs/{run_id}").get_json()
    resumed_run = post(client, f"/api/w/runs/{run_id}/resume")
    assert (resumed_run["id"], resumed_run["status"], resumed_run["end_time"], resumed_run["error"]) == (
        run_id,
        "running",
        None,
        None,
    )
    assert resumed_run["resumed_at"] > ended_run["end_time"]
    assert resumed_run["start_time"] == ended_run["start_time"]
    second_answer = post(client, f"/api/w/runs/{run_id}/resume")
    assert second_answer["resumed_at"] == resumed_run["resumed_at"]
    post(client, f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": 1})
    post(client, f"/api/w/runs/{run_id}/params", {"seed": 2})
    post(client, f"/api/w/runs/{run_id}/end", {"status": "completed"})
    final_run = client.get(f"/api/runs/{run_id}").get_json()
    assert (final_run["status"], final_run["metrics"], final_run["params"]) == (
        "completed",
        {"loss": 0.5},
        {"lr": 1, "seed": 2},
    )
    assert final_run["end_time"] >= final_run["resumed_at"]
    post(client, "/api/w/runs/unknown/resume", status=404)


def test_write_to_ended_run_says_how_to_resume_it(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(end="completed")
    error = post(client, f"/api/w/runs/{run_id}/metrics", {"loss": 1}, 404)
    assert "has ended" in error["detail"] and "/resume" in error["detail"]


def test_renamed_run_is_found_by_its_new_name(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(name="first", end="completed")
    post(client, f"/api/w/runs/{run_id}/name", {"name": "Zweiter Versuch"})
    assert list_ids(client, name="Zweiter Versuch") == [run_id]
    assert list_ids(client, name="first") == []
    for body in ({}, {"name": ""}, {"name": 5}, {"name": "a\nb"}, {"name": "a", "x": 1}):
        post(client, f"/api/w/runs/{run_id}/name", body, 400)


# -- trash


def test_trashed_run_is_in_no_list_count_comparison_query_or_latest(client: FlaskClient, log_run: LogRun) -> None:
    active = log_run(id="kept", metrics={"loss": 1}, end="completed")
    parent = log_run(id="parent", metrics={"loss": 1}, end="completed")
    trashed = log_run(id="gone", metrics={"loss": 0}, parent_run_id=parent, end="completed")
    for _ in range(2):
        post(client, f"/api/w/runs/{trashed}/trash")
    assert list_ids(client) == [parent, active]
    assert list_ids(client, experiment="iris") == [parent, active]
    assert list_ids(client, order_by="metrics.loss") == [parent, active]
    assert list_ids(client, q="metrics.loss <= 1") == [parent, active]
    assert list_ids(client, "/api/search", metric_key="loss", op="lt", metric_value=5) == [parent, active]
    assert list_ids(client, parent_run_id=parent) == []
    assert client.get("/api/runs").headers["X-Total-Count"] == "2"
    assert client.get("/api/runs").headers["X-Unreadable-Count"] == "0"
    assert client.get("/api/health").get_json()["runs"] == 2
    assert client.get("/api/experiments").get_json()[0]["runs"] == 2
    assert client.get("/api/experiments/iris", query_string={"metric": "loss"}).get_json()["best"]["value"] == 1
    assert client.get(f"/api/runs/{parent}").get_json()["children"] == []
    assert trashed not in client.get("/api/export").text
    assert client.get("/api/compare", query_string={"ids": f"{active},{trashed}"}).status_code == 404
    check = client.get(f"/api/runs/{active}/check", query_string={"rule": "loss<=baseline", "baseline": "latest:iris"})
    assert (
        check.status_code == 200
    )  # compared with parent; compared with the trashed run, which is newer, it would fail
    run = client.get(f"/api/runs/{trashed}").get_json()
    assert run["deleted_at"] >= run["end_time"]
    assert client.get(f"/runs/{trashed}").status_code == 200


def test_trash_is_listed_alone_or_with_the_others(client: FlaskClient, log_run: LogRun) -> None:
    active, trashed, other = log_run(id="kept"), log_run(id="gone"), log_run(id="other", experiment="digits")
    post(client, f"/api/w/runs/{trashed}/trash")
    post(client, f"/api/w/runs/{other}/trash")
    assert list_ids(client, deleted="true") == [other, trashed]
    assert list_ids(client, deleted="true", experiment="iris") == [trashed]
    assert list_ids(client, deleted="all") == [other, trashed, active]
    assert list_ids(client, deleted="all", experiment="iris") == [trashed, active]
    assert list_ids(client, deleted="all", limit=1, offset=1) == [trashed]
    assert list_ids(client, deleted="false") == [active]
    assert client.get("/api/runs?deleted=maybe").status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("params", {"lr": 1}),
        ("metrics", {"loss": 1}),
        ("end", {"status": "completed"}),
        ("tags", {"a": "b"}),
        ("note", {"note": "x"}),
        ("datasets", {"role": "train"}),
        ("name", {"name": "x"}),
        ("resume", None),
    ],
)
def test_write_to_trashed_run_is_404_and_says_how_to_restore_it(
    client: FlaskClient, log_run: LogRun, path: str, body: Any
) -> None:
    run_id = log_run()
    post(client, f"/api/w/runs/{run_id}/trash")
    before = client.get(f"/api/runs/{run_id}").get_json()
    error = post(client, f"/api/w/runs/{run_id}/{path}", body, 404)
    assert error["error"] == "no such run"
    assert "trash" in error["detail"] and "/restore" in error["detail"]
    assert client.get(f"/api/runs/{run_id}").get_json() == before
    post(client, f"/api/w/runs/{run_id}/restore")
    post(client, f"/api/w/runs/{run_id}/{path}", body)


def test_upload_to_trashed_run_is_refused(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    post(client, f"/api/w/runs/{run_id}/trash")
    answer = client.post(f"/api/w/runs/{run_id}/artifacts?name=a", data=b"1", content_type=OCTETS)
    assert answer.status_code == 404
    assert client.get(f"/api/runs/{run_id}/artifacts").get_json() == []


def test_restored_run_is_listed_where_it_was(client: FlaskClient, log_run: LogRun) -> None:
    runs = [log_run(id=name) for name in ("a", "b", "c")]
    post(client, "/api/w/runs/b/trash")
    for _ in range(2):
        post(client, "/api/w/runs/b/restore")
    assert list_ids(client) == runs[::-1]
    assert client.get("/api/runs/b").get_json()["deleted_at"] is None
    post(client, "/api/w/runs/unknown/restore", status=404)
    post(client, "/api/w/runs/unknown/trash", status=404)


def test_id_of_trashed_run_cannot_be_reused(client: FlaskClient, log_run: LogRun) -> None:
    log_run(id="mine")
    post(client, "/api/w/runs/mine/trash")
    error = post(client, "/api/w/runs", {"experiment": "iris", "id": "mine"}, 409)
    assert "trash" in error["detail"]


def test_removal_frees_the_disk_and_reports_the_bytes(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(artifacts={"big": b"x" * 100_000})
    post(client, f"/api/w/runs/{run_id}/trash")
    answer = client.delete(f"/api/w/runs/{run_id}")
    assert answer.status_code == 200
    assert 100_000 < int(answer.headers["X-Freed-Bytes"]) < 110_000
    assert not (data / "runs" / run_id).exists()
    assert list_ids(client, deleted="all") == []


def test_model_of_trashed_run_still_works(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics={"loss": 1}, artifacts={"m": b"weights"}, end="completed")
    other = log_run(metrics={"loss": 1}, end="completed")
    for _ in range(2):
        post(client, "/api/w/models", {"name": "net", "run_id": run_id, "artifact": "m", "stage": "production"})
    post(client, f"/api/w/runs/{run_id}/trash")
    assert client.get("/api/models/net/production/download").data == b"weights"
    assert client.get("/api/diff/net/1/2").status_code == 200
    check = client.get(
        f"/api/runs/{other}/check", query_string={"rule": "loss<=baseline", "baseline": "production:net"}
    )
    assert check.status_code == 200
    assert client.delete(f"/api/w/runs/{run_id}").status_code == 409


def test_trash_is_read_from_the_files_after_a_restart(make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app().test_client()
    for run_id in ("a", "b"):
        post(client, "/api/w/runs", {"experiment": "iris", "id": run_id})
    post(client, "/api/w/runs/a/trash")
    client = make_app().test_client()
    assert (list_ids(client), list_ids(client, deleted="true")) == (["b"], ["a"])
    # A change by hand, behind the server's back, and a folder that disappears.
    meta = data / "runs" / "b" / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "deleted_at": 5}))
    assert (list_ids(client), list_ids(client, deleted="true")) == ([], ["b", "a"])
    (data / "runs" / "a").rename(data / "elsewhere")
    assert list_ids(client, deleted="all") == ["b"]


# -- experiments


def list_experiments(client: FlaskClient, **query: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in client.get("/api/experiments", query_string=query).get_json()}


def test_experiment_without_runs_is_created_described_and_tagged(client: FlaskClient, data: Path) -> None:
    post(client, "/api/w/experiments/planned", {})
    experiment = list_experiments(client)["planned"]
    assert (experiment["runs"], experiment["last_start_time"], experiment["tags"], experiment["deleted_at"]) == (
        0,
        None,
        {},
        None,
    )
    assert experiment["created_at"] is not None
    post(client, "/api/w/experiments/planned", {"description": "*soon*", "tags": {"team": "vision", "n": 1}})
    post(client, "/api/w/experiments/planned", {"tags": {"n": None}})
    details = client.get("/api/experiments/planned").get_json()
    assert (details["description"], details["tags"]) == ("*soon*", {"team": "vision"})
    assert details["created_at"] == experiment["created_at"] <= details["updated_at"]
    assert json.loads((data / "experiments" / "planned.json").read_text())["tags"] == {"team": "vision"}
    assert client.get("/experiments/planned").status_code == 200
    assert client.get("/experiments").status_code == 200
    for form in ("txt", "csv", "md", "jsonl"):
        assert "planned" in client.get(f"/api/experiments?format={form}").text
    bad: list[dict[str, Any]] = [{"tags": {"a": []}}, {"tag": {}}, {"description": 5}, {"deleted": "yes"}]
    for body in bad:
        post(client, "/api/w/experiments/planned", body, 400)


def test_experiment_file_keeps_the_format_of_earlier_versions(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run()
    post(client, "/api/w/experiments/iris", {"description": "flowers"})
    content = json.loads((data / "experiments" / "iris.json").read_text())
    assert content.pop("updated_at") > 0
    assert content == {"name": "iris", "description": "flowers"}


def test_runs_of_deleted_experiment_are_in_the_trash_with_it(client: FlaskClient, log_run: LogRun) -> None:
    active, trashed_before, other = log_run(id="in"), log_run(id="trashed"), log_run(id="beside", experiment="digits")
    post(client, f"/api/w/runs/{trashed_before}/trash")
    post(client, "/api/w/experiments/iris", {"deleted": True})
    assert (list_ids(client), list_ids(client, deleted="true")) == ([other], [trashed_before, active])
    assert list_experiments(client).keys() == {"digits"}
    assert list_experiments(client, deleted="true")["iris"]["runs"] == 2
    assert list_experiments(client, deleted="all").keys() == {"digits", "iris"}
    assert client.get(f"/api/runs/{active}").get_json()["deleted_at"] is not None
    assert client.get("/experiments/iris").status_code == 200
    error = post(client, f"/api/w/runs/{active}/tags", {"a": 1}, 404)
    assert "iris" in error["detail"] and "/api/w/experiments/iris" in error["detail"]
    post(client, "/api/w/runs", {"experiment": "iris"}, 409)
    post(client, f"/api/w/runs/{active}/restore", status=409)
    post(client, "/api/w/experiments/iris", {"deleted": False})
    assert (list_ids(client), list_ids(client, deleted="true")) == ([other, active], [trashed_before])
    post(client, f"/api/w/runs/{active}/tags", {"a": 1})


def test_unknown_experiment_is_not_deleted(client: FlaskClient) -> None:
    post(client, "/api/w/experiments/nothing", {"deleted": True}, 404)
    assert list_experiments(client, deleted="all") == {}


def test_runs_of_experiment_deleted_by_hand_are_in_the_trash(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run(id="one")
    (data / "experiments").mkdir()
    file = data / "experiments" / "iris.json"
    file.write_text('{"name": "iris", "deleted_at": 5}')
    assert list_ids(client) == []
    file.unlink()
    assert list_ids(client) == ["one"]
    file.write_text('{"name": "iris", "tags": []}')
    assert client.get("/api/health").get_json()["damaged"] == 1


# -- pages

#: The undo button on the page of something in the trash.
UNDO = '<button class="first">Undo</button>'


def test_page_of_trashed_run_offers_only_undo_and_removal(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(id="gone", end="completed")
    page = client.get("/runs/gone").text
    assert all(word in page for word in ("Delete", "Rename", "Resume")) and UNDO not in page
    answer = client.post("/runs/trash", data={"ids": "gone", "then": "/runs/gone"})
    assert answer.status_code == 303
    page = client.get("/runs/gone").text
    assert UNDO in page and "Delete permanently" in page and "Rename" not in page and "Write a note" not in page
    assert "Trash: 1 run" in client.get("/runs").text
    trash_page = client.get("/runs?deleted=true").text
    assert "<h1>Trash" in trash_page and run_id in trash_page and "Restore or delete" in trash_page
    selection_page = client.get("/runs?deleted=true&ids=gone").text
    assert UNDO in selection_page and 'action="/runs/delete"' in selection_page
    client.post("/runs/restore", data={"ids": "gone", "then": "/runs"})
    assert list_ids(client) == ["gone"]
    assert "The trash is empty" in client.get("/runs?deleted=true").text


def test_page_of_deleted_experiment_offers_undo(client: FlaskClient, log_run: LogRun) -> None:
    log_run()
    assert client.post("/experiments/iris", data={"deleted": "true", "then": "/experiments"}).status_code == 303
    assert UNDO in client.get("/experiments/iris").text
    assert client.post("/experiments/iris", data={"deleted": "false", "then": "/experiments"}).status_code == 303
    assert UNDO not in client.get("/experiments/iris").text
