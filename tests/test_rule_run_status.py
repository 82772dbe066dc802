"""Rules of runs for MLflow's clients: any status may follow any other, ended runs can be written to, fields change."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import snapshot

from chachaml_lite.errors import InvalidInput, NotFound, RunEnded, RunTrashed
from chachaml_lite.store.store import Store
from chachaml_lite.tracking import artifacts, metrics, params, runs, trash
from chachaml_lite.tracking.tracker import Tracker

STATUSES = ("running", "completed", "failed")


@pytest.fixture
def tracker(data: Path) -> Iterator[Tracker]:
    store = Store(data, "no")
    new_tracker = Tracker.on(store, 1_000_000)
    runs.create_run(new_tracker, runs.NewRun("iris", id="r", name="first", note="mine", created_by="me"))
    yield new_tracker
    store.close()


def get_meta(tracker: Tracker) -> dict[str, Any]:
    return dict(tracker.run("r").meta)


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_any_status_may_follow_any_other(tracker: Tracker, before: str, after: str) -> None:
    runs.set_status(tracker, "r", before, "why" if before == "failed" else None)
    meta_before = get_meta(tracker)
    runs.set_status(tracker, "r", after, "other" if after == "failed" else None)
    meta_after = get_meta(tracker)
    assert meta_after["status"] == after
    assert meta_after["error"] == ("other" if after == "failed" else None)
    assert (meta_after["end_time"] is None) == (after == "running")
    if before == "running":
        assert meta_after.get("resumed_at") is None
    elif (before, after) == ("completed", "completed"):
        assert meta_after == meta_before
    else:
        assert meta_after["resumed_at"] > meta_before["end_time"], "a copy with the first end must not bring it back"
        assert after == "running" or meta_after["end_time"] >= meta_after["resumed_at"]


def test_unchanged_status_writes_nothing(tracker: Tracker, data: Path) -> None:
    for status, error in (("running", None), ("failed", "why")):
        runs.set_status(tracker, "r", status, error)
        before = snapshot(data)
        runs.set_status(tracker, "r", status, error)
        assert snapshot(data) == before
        assert get_meta(tracker).get("resumed_at") is None


def test_end_time_is_as_given_but_not_before_the_start(tracker: Tracker) -> None:
    start = get_meta(tracker)["start_time"]
    runs.set_status(tracker, "r", "completed", end_time=start + 5)
    assert get_meta(tracker)["end_time"] == start + 5
    runs.set_status(tracker, "r", "running", end_time=start + 5)
    assert get_meta(tracker)["end_time"] is None
    runs.set_status(tracker, "r", "completed", end_time=1)
    assert get_meta(tracker)["end_time"] == get_meta(tracker)["resumed_at"] >= start


def test_invalid_status_is_refused_and_stores_nothing(tracker: Tracker, data: Path) -> None:
    before = snapshot(data)
    for status, error in (("killed", None), ("", None), ("failed", "x" * 100_001)):
        with pytest.raises(InvalidInput):
            runs.set_status(tracker, "r", status, error)
    with pytest.raises(NotFound):
        runs.set_status(tracker, "nobody", "completed")
    assert snapshot(data) == before


def test_ended_run_accepts_writes_only_with_even_ended(tracker: Tracker) -> None:
    runs.finish_run(tracker, "r", "completed")
    with pytest.raises(RunEnded):
        params.set_params(tracker, "r", {"lr": 1})
    with pytest.raises(RunEnded):
        metrics.log_points(tracker, "r", [{"loss": 1}])
    with pytest.raises(RunEnded):
        artifacts.store_artifact(tracker, "r", "a", io.BytesIO(b"1"), 1)
    params.set_params(tracker, "r", {"lr": 1}, even_ended=True)
    metrics.log_points(tracker, "r", [{"loss": 1}], even_ended=True)
    artifacts.store_artifact(tracker, "r", "a", io.BytesIO(b"1"), 1, even_ended=True)
    run = runs.run_details(tracker, tracker.run("r"))
    assert (run["params"], run["metrics"], [each["name"] for each in run["artifacts"]]) == (
        {"lr": 1},
        {"loss": 1},
        ["a"],
    )
    assert run["status"] == "completed"
    assert run["metric_summary"]["loss"]["count"] == 1


def test_trashed_run_refuses_every_write(tracker: Tracker, data: Path) -> None:
    trash.trash_run(tracker, "r")
    before = snapshot(data)
    for write in (
        lambda: params.set_params(tracker, "r", {"lr": 1}, even_ended=True),
        lambda: metrics.log_points(tracker, "r", [{"loss": 1}], even_ended=True),
        lambda: artifacts.store_artifact(tracker, "r", "a", io.BytesIO(b"1"), 1, even_ended=True),
        lambda: runs.set_status(tracker, "r", "failed"),
        lambda: runs.change_run(tracker, "r", name="other"),
    ):
        with pytest.raises(RunTrashed):
            write()
    assert snapshot(data) == before


def test_fields_of_a_run_change_together_or_not_at_all(tracker: Tracker, data: Path) -> None:
    runs.change_run(tracker, "r", {"a": 1}, name="second", parent_run_id="p", note="yours", created_by=None)
    new_meta = get_meta(tracker)
    assert {key: new_meta[key] for key in ("name", "parent_run_id", "note", "created_by", "tags")} == {
        "name": "second",
        "parent_run_id": "p",
        "note": "yours",
        "created_by": None,
        "tags": {"a": 1},
    }
    before = snapshot(data)
    runs.change_run(tracker, "r", {"a": 1, "never": None}, name="second")
    for changes in ({"name": ""}, {"name": "a\n"}, {"parent_run_id": "../x"}, {"created_by": "x" * 251}):
        with pytest.raises(InvalidInput):
            runs.change_run(tracker, "r", {"b": 2}, **changes)
    assert snapshot(data) == before
    runs.change_run(tracker, "r", {"a": True}, name=None)
    assert (get_meta(tracker)["name"], get_meta(tracker)["tags"]) == (None, {"a": True}), "true is not 1"
