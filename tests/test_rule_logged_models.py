"""Logged models: events in a file of their run, which is copied, merged, pushed and repaired like the rest of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import open_app, run_logger
from flask import Flask
from support.calls import upload
from support.verifying import list_problems, load_report
from support.zips import build_zip, run_files

from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.push import Push
from chachaml_lite.errors import InvalidInput, NotFound, RunTrashed
from chachaml_lite.store.store import Store
from chachaml_lite.tracking import logged_models, trash
from chachaml_lite.tracking.index.logged_models import LoggedModel, ModelMetric
from chachaml_lite.tracking.logged_models import NewModel
from chachaml_lite.tracking.model_listing import latest_metrics
from chachaml_lite.tracking.runs import NewRun, create_run, finish_run, run_details
from chachaml_lite.tracking.tracker import Tracker

FILE = "logged_models.jsonl"


@pytest.fixture
def tracker(data: Path) -> Iterator[Tracker]:
    store = Store(data, "no")
    yield Tracker.on(store, 1_000_000)
    store.close()


@pytest.fixture
def run_id(tracker: Tracker) -> str:
    create_run(tracker, NewRun("iris", id="r"))
    return "r"


def reload_model(data: Path, model_id: str) -> LoggedModel:
    """Return a model as another process reads it."""
    store = Store(data, "no", read_only=True)
    try:
        return logged_models.get_model(Tracker.on(store, 1_000_000), model_id, deleted=True)
    finally:
        store.close()


def read_events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_model_is_read_back_as_it_was_written(tracker: Tracker, run_id: str, data: Path) -> None:
    model = logged_models.create_model(tracker, run_id, NewModel("iris", "sklearn", {"a": "1"}, {"t": "x"}))
    assert (model.id, model.folder, model.status) == ("m-r-1", "models/iris", "pending")
    logged_models.add_params(tracker, model.id, {"b": "2"})
    logged_models.set_tags(tracker, model.id, {"t": None, "u": "y"})
    finish_run(tracker, run_id, "completed")
    point = ModelMetric(model.id, "acc", 0.5, 1, 5, run_id, "train", "d1")
    logged_models.log_metrics(tracker, [point, point, point._replace(step=2, value=float("nan"))])
    logged_models.finalize(tracker, model.id, "ready")
    for model_read in (logged_models.get_model(tracker, model.id), reload_model(data, model.id)):
        assert (model_read.status, model_read.params, model_read.tags) == ("ready", {"a": "1", "b": "2"}, {"u": "y"})
        assert [(each.value, each.step, each.dataset_name) for each in model_read.metrics.values()][0] == (
            0.5,
            1,
            "train",
        )
        assert len(model_read.metrics) == 2 and latest_metrics(model_read) == {"acc": "NaN"}
    logged_models.delete_model(tracker, model.id)
    with pytest.raises(NotFound, match="m-r-1"):
        logged_models.get_model(tracker, model.id)
    assert logged_models.get_model(tracker, model.id, deleted=True).is_deleted
    assert [event["event"] for event in read_events(data / "runs/r")] == [
        "created", "params", "tags", "metric", "metric", "metric", "finalized", "deleted",
    ]  # fmt: skip


def test_model_numbers_and_folders_are_never_reused(tracker: Tracker, run_id: str) -> None:
    first = logged_models.create_model(tracker, run_id, NewModel("iris"))
    logged_models.delete_model(tracker, first.id)
    models = [logged_models.create_model(tracker, run_id, NewModel(name)) for name in ("iris", "Iris", "other")]
    assert [(each.id, each.folder) for each in models] == [
        ("m-r-2", "models/iris-2"),
        ("m-r-3", "models/Iris-3"),
        ("m-r-4", "models/other"),
    ]
    run = tracker.run(run_id)
    assert logged_models.folders_of(tracker, run) == [first.folder, *(each.folder for each in models)]


def test_run_shows_the_models_that_it_logged_without_the_deleted_ones(tracker: Tracker, run_id: str) -> None:
    def list_model_ids() -> list[str]:
        details = run_details(tracker, tracker.run(run_id))
        return [each["id"] for each in details.get("logged_models", [])]

    ids = [logged_models.create_model(tracker, run_id, NewModel(name)).id for name in ("iris", "other")]
    assert list_model_ids() == ids
    logged_models.delete_model(tracker, ids[0])
    assert list_model_ids() == ids[1:]
    logged_models.delete_model(tracker, ids[1])
    assert list_model_ids() == []


def test_models_logged_concurrently_get_distinct_numbers(tracker: Tracker, run_id: str, data: Path) -> None:
    def log(number: int) -> str:
        model = logged_models.create_model(tracker, run_id, NewModel("iris"))
        point = ModelMetric(model.id, "acc", number, 0, 5, run_id)
        logged_models.log_metrics(tracker, [point])
        return model.id

    with ThreadPoolExecutor(8) as pool:
        model_ids = list(pool.map(log, range(40)))
    assert sorted(model_ids) == sorted(f"m-r-{number}" for number in range(1, 41))
    for number, model_id in enumerate(model_ids):
        assert logged_models.get_model(tracker, model_id).metrics == reload_model(data, model_id).metrics
        assert [each.value for each in reload_model(data, model_id).metrics.values()] == [number]
    folders = logged_models.folders_of(tracker, tracker.run(run_id))
    assert len(set(folders)) == 40


def test_model_folder_is_never_one_with_artifacts(make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app().test_client()
    run = run_logger(client)(id="r")
    assert upload(client, run, "models/iris/notes.txt", b"mine") == 200
    assert upload(client, run, "models/flat", b"mine") == 200
    make_app(read_only=True)
    store = Store(data, "no")
    try:
        tracker = Tracker.on(store, 1000)
        folders = [logged_models.create_model(tracker, "r", NewModel(name)).folder for name in ("iris", "flat", "free")]
        assert folders == ["models/iris-2", "models/flat-2", "models/free"]
    finally:
        store.close()


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a.b", "a%b", 'a"b', "a'b", "a\\b", "a\nb", "x" * 251, "ü" * 130])
def test_names_that_mlflow_refuses_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        NewModel(name)


def test_links_of_a_run_are_stored_once(tracker: Tracker, run_id: str) -> None:
    for _ in range(2):
        logged_models.link_inputs(tracker, run_id, ["m-x-1", "from another store"])
        logged_models.link_outputs(tracker, run_id, [("m-r-1", 3)])
    links = logged_models.of_run(tracker, tracker.run(run_id))
    assert (list(links.inputs), links.outputs) == (["m-x-1", "from another store"], {"m-r-1": 3})


def test_run_in_the_trash_accepts_no_event_and_its_models_are_not_listed(tracker: Tracker, run_id: str) -> None:
    model = logged_models.create_model(tracker, run_id, NewModel("iris"))
    assert [each.id for each in logged_models.list_models(tracker, ["iris"])] == [model.id]
    trash.trash_run(tracker, run_id)
    assert logged_models.list_models(tracker, ["iris"]) == []
    with pytest.raises(RunTrashed):
        logged_models.set_tags(tracker, model.id, {"a": "b"})
    with pytest.raises(RunTrashed):
        logged_models.check_model_ids(tracker, [model.id])


def test_run_that_holds_a_model_is_completed(tracker: Tracker) -> None:
    run = tracker.run(logged_models.create_holder(tracker, "iris", "alone"))
    assert logged_models.holds_model(run) and run.meta["status"] == "completed" and run.meta["name"] == "alone"
    assert run.meta["end_time"] == run.meta["start_time"]


@pytest.mark.parametrize("model_id", ["m-r-2", "m-r", "m-R-1", "m-r-01", "m-other-1", "r-1", "", "m-../r-1", "m-r-1\n"])
def test_unknown_model_is_not_found(tracker: Tracker, run_id: str, model_id: str) -> None:
    logged_models.create_model(tracker, run_id, NewModel("iris"))
    with pytest.raises(NotFound):
        logged_models.get_model(tracker, model_id)


BROKEN = b'{"event":"created","model_id":"m-r-'


def test_torn_last_line_is_ignored_and_never_joined_to_the_next(tracker: Tracker, run_id: str, data: Path) -> None:
    logged_models.create_model(tracker, run_id, NewModel("iris"))
    path = data / "runs/r" / FILE
    path.write_bytes(path.read_bytes() + BROKEN)
    assert logged_models.create_model(tracker, run_id, NewModel("second")).id == "m-r-2"
    assert path.read_bytes().splitlines()[1] == BROKEN
    assert {reload_model(data, f"m-r-{number}").name for number in (1, 2)} == {"iris", "second"}


CREATION = {"event": "created", "model_id": "m-r-1", "name": "iris", "folder": "models/iris", "timestamp": 5}
FLAGS = {"mlflow": {"models": True}}


def to_lines(*records: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def write_store(data: Path, content: bytes, **meta: Any) -> Path:
    """Create a store with one run that has these events."""
    for path, file_content in {**run_files(**{**FLAGS, **meta}), f"r/{FILE}": content}.items():
        (data / "runs" / path).parent.mkdir(parents=True, exist_ok=True)
        (data / "runs" / path).write_bytes(file_content)
    return data


BAD = [
    b"no json\n",
    to_lines([1]),
    to_lines({**CREATION, "event": "unheard of"}),
    to_lines({**CREATION, "model_id": "m-other-1"}),
    to_lines({**CREATION, "timestamp": "5"}),
    to_lines({**CREATION, "folder": "../out"}),
    to_lines({**CREATION, "params": {"a": 1}}),
    to_lines({"event": "finalized", "model_id": "m-r-1", "status": "fine", "timestamp": 5}),
    to_lines(
        {"event": "metric", "model_id": "m-r-1", "key": "a", "value": True, "step": 0, "run_id": "r", "timestamp": 1}
    ),
    to_lines(
        {"event": "metric", "model_id": "m-r-1", "key": "a", "value": "x", "step": 0, "run_id": "r", "timestamp": 1}
    ),
    to_lines({"event": "output", "model_id": "m-r-1", "timestamp": 5}),
]


@pytest.mark.parametrize("bad", BAD)
def test_damaged_event_is_reported_by_verify_and_moved_aside(data: Path, bad: bytes) -> None:
    write_store(data, to_lines(CREATION) + bad + to_lines({"event": "input", "model_id": "m-r-1", "timestamp": 6}))
    assert reload_model(data, "m-r-1").name == "iris"
    assert list_problems(data) == [(f"runs/r/{FILE}", "damaged lines", True)]
    assert load_report(data, "--repair")["problems"] == []
    assert (data / "runs/r" / FILE).read_bytes().count(b"\n") == 2
    assert (data / "runs/r" / f"{FILE}.damaged").read_bytes() == bad


def test_torn_tail_is_repaired(data: Path) -> None:
    write_store(data, to_lines(CREATION) + BROKEN)
    assert list_problems(data) == [(f"runs/r/{FILE}", "torn tail", True)]
    assert load_report(data, "--repair")["problems"] == []
    assert (data / "runs/r" / FILE).read_bytes() == to_lines(CREATION)


def import_run(client: Any, content: bytes, **meta: Any) -> Any:
    body = build_zip({**run_files(**{**FLAGS, **meta}), f"r/{FILE}": content})
    return client.post("/api/w/import", data=body, content_type="application/zip")


@pytest.mark.parametrize("bad", BAD)
def test_zip_with_a_damaged_event_is_400_and_names_the_line(client: Any, bad: bytes) -> None:
    answer = import_run(client, to_lines(CREATION) + bad)
    assert answer.status_code == 400 and f"line 2 of {FILE}" in answer.get_json()["detail"]
    assert client.get("/api/runs/r").status_code == 404


def make_tags_event(at: int, **tags: str | None) -> dict[str, Any]:
    return {"event": "tags", "model_id": "m-r-1", "tags": tags, "timestamp": at}


def test_copies_are_merged_by_the_union_of_their_events(client: Any, data: Path) -> None:
    assert import_run(client, to_lines(CREATION, make_tags_event(20, a="late"))).get_json()["imported"] == ["r"]
    assert import_run(client, to_lines(CREATION, make_tags_event(10, a="early", b="x")) + BROKEN).get_json()[
        "updated"
    ] == ["r"]
    assert import_run(client, to_lines(make_tags_event(20, a="late"), CREATION)).get_json()["unchanged"] == ["r"]
    assert len(read_events(data / "runs/r")) == 3
    assert reload_model(data, "m-r-1").tags == {"a": "late", "b": "x"}
    other = {**CREATION, "name": "another"}
    response = import_run(client, to_lines(other))
    assert response.status_code == 409 and "m-r-1" in response.get_json()["detail"]


def test_import_adds_events_to_a_run_without_any(client: Any, data: Path) -> None:
    client.post("/api/w/import", data=build_zip(run_files()), content_type="application/zip")
    assert import_run(client, to_lines(CREATION)).get_json()["updated"] == ["r"]
    assert reload_model(data, "m-r-1").name == "iris"
    client.post("/api/w/import", data=build_zip(run_files()), content_type="application/zip")
    assert json.loads((data / "runs/r/meta.json").read_text())["mlflow"] == {"models": True}


def test_manifest_lists_the_events_and_digest_ignores_their_order(tmp_path: Path) -> None:
    digests = []
    for number, order in enumerate(
        ((CREATION, make_tags_event(9, a="b")), (make_tags_event(9, a="b"), CREATION), (CREATION,))
    ):
        folder = write_store(tmp_path / str(number), to_lines(*order))
        with open_app(folder) as app:
            client = app.test_client()
            manifest = client.get("/api/runs/r/manifest").get_json()
            assert manifest["logged_models"] == list(order) and manifest["damage"] is None
            assert FILE not in {each["path"] for each in manifest["files"]}
            assert client.get("/api/digests?ids=r").get_json() == {"r": manifest["digest"]}
            digests.append(manifest["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_push_adds_only_the_new_events(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write_store(here, to_lines(CREATION))
    with FolderClient(here, writes=True) as source, FolderClient(there, writes=True) as target:
        push = Push(source, target, overwrite=False)
        assert push.push("r", lambda _: None) == "imported"
        assert (there / "runs/r" / FILE).read_bytes() == to_lines(CREATION)
        (here / "runs/r" / FILE).write_bytes(to_lines(CREATION, make_tags_event(7, a="here")))
        (there / "runs/r" / FILE).write_bytes(to_lines(CREATION, make_tags_event(8, a="there")))
        assert push.push("r", lambda _: None) == "updated"
        assert push.push("r", lambda _: None) == "unchanged"
    assert read_events(there / "runs/r") == [CREATION, make_tags_event(8, a="there"), make_tags_event(7, a="here")]
    assert reload_model(there, "m-r-1").tags == {"a": "there"}


def test_download_of_the_run_has_its_models(client: Any, tmp_path: Path) -> None:
    import_run(client, to_lines(CREATION))
    body = client.get("/api/runs/r/download").data
    with open_app(tmp_path / "other") as app:
        other = app.test_client()
        assert other.post("/api/w/import", data=body, content_type="application/zip").status_code == 200
        digests = [each.get("/api/digests?ids=r").get_json() for each in (client, other)]
        assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ({}, {"models": True}, {"models": True}),
        ({"models": True}, {"holds_model": True}, {"models": True, "holds_model": True}),
        ({"status": "SCHEDULED"}, {}, {}),
        ({"status": "SCHEDULED"}, {"status": "SCHEDULED", "models": True}, {"status": "SCHEDULED", "models": True}),
    ],
)
def test_merged_mlflow_object_has_the_flags_of_both_copies(
    client: Any, data: Path, here: dict[str, Any], there: dict[str, Any], expected: dict[str, Any]
) -> None:
    for each in (here, there):
        answer = client.post("/api/w/import", data=build_zip(run_files(mlflow=each)), content_type="application/zip")
        assert answer.status_code == 200, answer.text
    assert json.loads((data / "runs/r/meta.json").read_text())["mlflow"] == expected
