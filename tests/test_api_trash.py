"""Runs resumed, renamed, moved to the trash, restored and removed; experiments without runs, tagged, deleted."""

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


def ids(client: FlaskClient, path: str = "/api/runs", **query: Any) -> list[str]:
    answer = client.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    return [run["id"] for run in answer.get_json()]


# -- resume, rename


def test_resumed_run_takes_everything_again_and_ends_anew(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(params={"lr": 1}, metrics={"loss": 1, "step": 0}, end="failed")
    ended = client.get(f"/api/runs/{run_id}").get_json()
    resumed = post(client, f"/api/w/runs/{run_id}/resume")
    assert (resumed["id"], resumed["status"], resumed["end_time"], resumed["error"]) == (run_id, "running", None, None)
    assert resumed["resumed_at"] > ended["end_time"]
    assert resumed["start_time"] == ended["start_time"]
    again = post(client, f"/api/w/runs/{run_id}/resume")
    assert again["resumed_at"] == resumed["resumed_at"]
    post(client, f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": 1})
    post(client, f"/api/w/runs/{run_id}/params", {"seed": 2})
    post(client, f"/api/w/runs/{run_id}/end", {"status": "completed"})
    after = client.get(f"/api/runs/{run_id}").get_json()
    assert (after["status"], after["metrics"], after["params"]) == ("completed", {"loss": 0.5}, {"lr": 1, "seed": 2})
    assert after["end_time"] >= after["resumed_at"]
    post(client, "/api/w/runs/unknown/resume", status=404)


def test_write_to_ended_run_says_how_to_resume_it(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(end="completed")
    refused = post(client, f"/api/w/runs/{run_id}/metrics", {"loss": 1}, 404)
    assert "has ended" in refused["detail"] and "/resume" in refused["detail"]


def test_renamed_run_is_found_by_its_new_name(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(name="first", end="completed")
    post(client, f"/api/w/runs/{run_id}/name", {"name": "Zweiter Versuch"})
    assert ids(client, name="Zweiter Versuch") == [run_id]
    assert ids(client, name="first") == []
    for body in ({}, {"name": ""}, {"name": 5}, {"name": "a\nb"}, {"name": "a", "x": 1}):
        post(client, f"/api/w/runs/{run_id}/name", body, 400)


# -- trash


def test_trashed_run_is_in_no_list_count_comparison_query_or_latest(client: FlaskClient, log_run: LogRun) -> None:
    kept = log_run(id="kept", metrics={"loss": 1}, end="completed")
    parent = log_run(id="parent", metrics={"loss": 1}, end="completed")
    gone = log_run(id="gone", metrics={"loss": 0}, parent_run_id=parent, end="completed")
    for _ in range(2):
        post(client, f"/api/w/runs/{gone}/trash")
    assert ids(client) == [parent, kept]
    assert ids(client, experiment="iris") == [parent, kept]
    assert ids(client, order_by="metrics.loss") == [parent, kept]
    assert ids(client, q="metrics.loss <= 1") == [parent, kept]
    assert ids(client, "/api/search", metric_key="loss", op="lt", metric_value=5) == [parent, kept]
    assert ids(client, parent_run_id=parent) == []
    assert client.get("/api/runs").headers["X-Total-Count"] == "2"
    assert client.get("/api/runs").headers["X-Unreadable-Count"] == "0"
    assert client.get("/api/health").get_json()["runs"] == 2
    assert client.get("/api/experiments").get_json()[0]["runs"] == 2
    assert client.get("/api/experiments/iris", query_string={"metric": "loss"}).get_json()["best"]["value"] == 1
    assert client.get(f"/api/runs/{parent}").get_json()["children"] == []
    assert gone not in client.get("/api/export").text
    assert client.get("/api/compare", query_string={"ids": f"{kept},{gone}"}).status_code == 404
    check = client.get(f"/api/runs/{kept}/check", query_string={"rule": "loss<=baseline", "baseline": "latest:iris"})
    assert check.status_code == 200  # by parent: had it been the newest one, it would not have passed
    shown = client.get(f"/api/runs/{gone}").get_json()
    assert shown["deleted_at"] >= shown["end_time"]
    assert client.get(f"/runs/{gone}").status_code == 200


def test_trash_is_listed_alone_or_with_the_others(client: FlaskClient, log_run: LogRun) -> None:
    kept, gone, other = log_run(id="kept"), log_run(id="gone"), log_run(id="other", experiment="digits")
    post(client, f"/api/w/runs/{gone}/trash")
    post(client, f"/api/w/runs/{other}/trash")
    assert ids(client, deleted="true") == [other, gone]
    assert ids(client, deleted="true", experiment="iris") == [gone]
    assert ids(client, deleted="all") == [other, gone, kept]
    assert ids(client, deleted="all", experiment="iris") == [gone, kept]
    assert ids(client, deleted="all", limit=1, offset=1) == [gone]
    assert ids(client, deleted="false") == [kept]
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
def test_trashed_run_takes_no_write_and_says_how_to_restore_it(
    client: FlaskClient, log_run: LogRun, path: str, body: Any
) -> None:
    run_id = log_run()
    post(client, f"/api/w/runs/{run_id}/trash")
    before = client.get(f"/api/runs/{run_id}").get_json()
    refused = post(client, f"/api/w/runs/{run_id}/{path}", body, 404)
    assert refused["error"] == "no such run"
    assert "trash" in refused["detail"] and "/restore" in refused["detail"]
    assert client.get(f"/api/runs/{run_id}").get_json() == before
    post(client, f"/api/w/runs/{run_id}/restore")
    post(client, f"/api/w/runs/{run_id}/{path}", body)


def test_upload_to_trashed_run_is_refused(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    post(client, f"/api/w/runs/{run_id}/trash")
    answer = client.post(f"/api/w/runs/{run_id}/artifacts?name=a", data=b"1", content_type=OCTETS)
    assert answer.status_code == 404
    assert client.get(f"/api/runs/{run_id}/artifacts").get_json() == []


def test_restored_run_is_where_it_was(client: FlaskClient, log_run: LogRun) -> None:
    runs = [log_run(id=name) for name in ("a", "b", "c")]
    post(client, "/api/w/runs/b/trash")
    for _ in range(2):
        post(client, "/api/w/runs/b/restore")
    assert ids(client) == runs[::-1]
    assert client.get("/api/runs/b").get_json()["deleted_at"] is None
    post(client, "/api/w/runs/unknown/restore", status=404)
    post(client, "/api/w/runs/unknown/trash", status=404)


def test_id_of_trashed_run_is_taken(client: FlaskClient, log_run: LogRun) -> None:
    log_run(id="mine")
    post(client, "/api/w/runs/mine/trash")
    refused = post(client, "/api/w/runs", {"experiment": "iris", "id": "mine"}, 409)
    assert "trash" in refused["detail"]


def test_removal_frees_the_disk_and_says_how_much(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(artifacts={"big": b"x" * 100_000})
    post(client, f"/api/w/runs/{run_id}/trash")
    answer = client.delete(f"/api/w/runs/{run_id}")
    assert answer.status_code == 200
    assert 100_000 < int(answer.headers["X-Freed-Bytes"]) < 110_000
    assert not (data / "runs" / run_id).exists()
    assert ids(client, deleted="all") == []


def test_model_of_trashed_run_goes_on_working(client: FlaskClient, log_run: LogRun) -> None:
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


def test_trash_is_read_back_from_the_files(make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app().test_client()
    for run_id in ("a", "b"):
        post(client, "/api/w/runs", {"experiment": "iris", "id": run_id})
    post(client, "/api/w/runs/a/trash")
    client = make_app().test_client()
    assert (ids(client), ids(client, deleted="true")) == (["b"], ["a"])
    # By hand, behind the server's back, and a folder that goes away.
    meta = data / "runs" / "b" / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "deleted_at": 5}))
    assert (ids(client), ids(client, deleted="true")) == ([], ["b", "a"])
    (data / "runs" / "a").rename(data / "elsewhere")
    assert ids(client, deleted="all") == ["b"]


# -- experiments


def experiments(client: FlaskClient, **query: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in client.get("/api/experiments", query_string=query).get_json()}


def test_experiment_without_runs_is_made_described_and_tagged(client: FlaskClient, data: Path) -> None:
    post(client, "/api/w/experiments/planned", {})
    made = experiments(client)["planned"]
    assert (made["runs"], made["last_start_time"], made["tags"], made["deleted_at"]) == (0, None, {}, None)
    assert made["created_at"] is not None
    post(client, "/api/w/experiments/planned", {"description": "*soon*", "tags": {"team": "vision", "n": 1}})
    post(client, "/api/w/experiments/planned", {"tags": {"n": None}})
    found = client.get("/api/experiments/planned").get_json()
    assert (found["description"], found["tags"]) == ("*soon*", {"team": "vision"})
    assert found["created_at"] == made["created_at"] <= found["updated_at"]
    assert json.loads((data / "experiments" / "planned.json").read_text())["tags"] == {"team": "vision"}
    assert client.get("/experiments/planned").status_code == 200
    assert client.get("/experiments").status_code == 200
    for form in ("txt", "csv", "md", "jsonl"):
        assert "planned" in client.get(f"/api/experiments?format={form}").text
    bad: list[dict[str, Any]] = [{"tags": {"a": []}}, {"tag": {}}, {"description": 5}, {"deleted": "yes"}]
    for body in bad:
        post(client, "/api/w/experiments/planned", body, 400)


def test_experiment_file_of_earlier_versions_keeps_its_form(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run()
    post(client, "/api/w/experiments/iris", {"description": "flowers"})
    written = json.loads((data / "experiments" / "iris.json").read_text())
    assert written.pop("updated_at") > 0
    assert written == {"name": "iris", "description": "flowers"}


def test_runs_of_deleted_experiment_are_in_the_trash_with_it(client: FlaskClient, log_run: LogRun) -> None:
    in_it, trashed, beside = log_run(id="in"), log_run(id="trashed"), log_run(id="beside", experiment="digits")
    post(client, f"/api/w/runs/{trashed}/trash")
    post(client, "/api/w/experiments/iris", {"deleted": True})
    assert (ids(client), ids(client, deleted="true")) == ([beside], [trashed, in_it])
    assert experiments(client).keys() == {"digits"}
    assert experiments(client, deleted="true")["iris"]["runs"] == 2
    assert experiments(client, deleted="all").keys() == {"digits", "iris"}
    assert client.get(f"/api/runs/{in_it}").get_json()["deleted_at"] is not None
    assert client.get("/experiments/iris").status_code == 200
    refused = post(client, f"/api/w/runs/{in_it}/tags", {"a": 1}, 404)
    assert "iris" in refused["detail"] and "/api/w/experiments/iris" in refused["detail"]
    post(client, "/api/w/runs", {"experiment": "iris"}, 409)
    post(client, f"/api/w/runs/{in_it}/restore", status=409)
    post(client, "/api/w/experiments/iris", {"deleted": False})
    assert (ids(client), ids(client, deleted="true")) == ([beside, in_it], [trashed])
    post(client, f"/api/w/runs/{in_it}/tags", {"a": 1})


def test_unknown_experiment_is_not_deleted(client: FlaskClient) -> None:
    post(client, "/api/w/experiments/nothing", {"deleted": True}, 404)
    assert experiments(client, deleted="all") == {}


def test_experiment_deleted_by_hand_takes_its_runs_along(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run(id="one")
    (data / "experiments").mkdir()
    file = data / "experiments" / "iris.json"
    file.write_text('{"name": "iris", "deleted_at": 5}')
    assert ids(client) == []
    file.unlink()
    assert ids(client) == ["one"]
    file.write_text('{"name": "iris", "tags": []}')
    assert client.get("/api/health").get_json()["damaged"] == 1


# -- pages

#: The button of a page that is about something in the trash.
UNDO = '<button class="first">Undo</button>'


def test_page_of_trashed_run_offers_undo_and_removal_alone(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(id="gone", end="completed")
    page = client.get("/runs/gone").text
    assert all(word in page for word in ("Delete", "Rename", "Resume")) and UNDO not in page
    answer = client.post("/runs/trash", data={"ids": "gone", "then": "/runs/gone"})
    assert answer.status_code == 303
    page = client.get("/runs/gone").text
    assert UNDO in page and "Delete permanently" in page and "Rename" not in page and "Write a note" not in page
    assert "Trash: 1 run" in client.get("/runs").text
    listed = client.get("/runs?deleted=true").text
    assert "<h1>Trash" in listed and run_id in listed and "Restore or delete" in listed
    chosen = client.get("/runs?deleted=true&ids=gone").text
    assert UNDO in chosen and 'action="/runs/delete"' in chosen
    client.post("/runs/restore", data={"ids": "gone", "then": "/runs"})
    assert ids(client) == ["gone"]
    assert "The trash is empty" in client.get("/runs?deleted=true").text


def test_page_of_deleted_experiment_offers_undo(client: FlaskClient, log_run: LogRun) -> None:
    log_run()
    assert client.post("/experiments/iris", data={"deleted": "true", "then": "/experiments"}).status_code == 303
    assert UNDO in client.get("/experiments/iris").text
    assert client.post("/experiments/iris", data={"deleted": "false", "then": "/experiments"}).status_code == 303
    assert UNDO not in client.get("/experiments/iris").text
