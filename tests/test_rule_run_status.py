"""Rules that MLflow's clients need of a run: any status after any, writes after its end, its own fields changed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import files_of

from chachaml_lite.errors import InvalidInput, NotFound, RunEnded, RunTrashed
from chachaml_lite.store.store import Store
from chachaml_lite.tracking import artifacts, metrics, params, runs, trash
from chachaml_lite.tracking.tracker import Tracker

STATUSES = ("running", "completed", "failed")


@pytest.fixture
def tracker(data: Path) -> Iterator[Tracker]:
    store = Store(data, "no")
    made = Tracker.on(store, 1_000_000)
    runs.create_run(made, runs.NewRun("iris", id="r", name="first", note="mine", created_by="me"))
    yield made
    store.close()


def meta(tracker: Tracker) -> dict[str, Any]:
    return dict(tracker.run("r").meta)


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_any_status_may_follow_any_other(tracker: Tracker, before: str, after: str) -> None:
    runs.set_status(tracker, "r", before, "why" if before == "failed" else None)
    first = meta(tracker)
    runs.set_status(tracker, "r", after, "other" if after == "failed" else None)
    then = meta(tracker)
    assert then["status"] == after
    assert then["error"] == ("other" if after == "failed" else None)
    assert (then["end_time"] is None) == (after == "running")
    if before == "running":
        assert then.get("resumed_at") is None
    elif (before, after) == ("completed", "completed"):
        assert then == first
    else:
        assert then["resumed_at"] > first["end_time"], "a copy with the first end must not bring it back"
        assert after == "running" or then["end_time"] >= then["resumed_at"]


def test_status_that_is_so_already_writes_nothing(tracker: Tracker, data: Path) -> None:
    for status, error in (("running", None), ("failed", "why")):
        runs.set_status(tracker, "r", status, error)
        before = files_of(data)
        runs.set_status(tracker, "r", status, error)
        assert files_of(data) == before
        assert meta(tracker).get("resumed_at") is None


def test_time_of_an_end_is_as_told_but_not_before_the_start(tracker: Tracker) -> None:
    start = meta(tracker)["start_time"]
    runs.set_status(tracker, "r", "completed", end_time=start + 5)
    assert meta(tracker)["end_time"] == start + 5
    runs.set_status(tracker, "r", "running", end_time=start + 5)
    assert meta(tracker)["end_time"] is None
    runs.set_status(tracker, "r", "completed", end_time=1)
    assert meta(tracker)["end_time"] == meta(tracker)["resumed_at"] >= start


def test_status_that_is_none_is_refused_and_stores_nothing(tracker: Tracker, data: Path) -> None:
    before = files_of(data)
    for status, error in (("killed", None), ("", None), ("failed", "x" * 100_001)):
        with pytest.raises(InvalidInput):
            runs.set_status(tracker, "r", status, error)
    with pytest.raises(NotFound):
        runs.set_status(tracker, "nobody", "completed")
    assert files_of(data) == before


def test_ended_run_takes_what_is_said_to_go_into_an_ended_one(tracker: Tracker) -> None:
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


def test_trashed_run_takes_nothing_even_then(tracker: Tracker, data: Path) -> None:
    trash.trash_run(tracker, "r")
    before = files_of(data)
    for write in (
        lambda: params.set_params(tracker, "r", {"lr": 1}, even_ended=True),
        lambda: metrics.log_points(tracker, "r", [{"loss": 1}], even_ended=True),
        lambda: artifacts.store_artifact(tracker, "r", "a", io.BytesIO(b"1"), 1, even_ended=True),
        lambda: runs.set_status(tracker, "r", "failed"),
        lambda: runs.change_run(tracker, "r", name="other"),
    ):
        with pytest.raises(RunTrashed):
            write()
    assert files_of(data) == before


def test_own_fields_of_a_run_change_together_or_not_at_all(tracker: Tracker, data: Path) -> None:
    runs.change_run(tracker, "r", {"a": 1}, name="second", parent_run_id="p", note="yours", created_by=None)
    then = meta(tracker)
    assert {key: then[key] for key in ("name", "parent_run_id", "note", "created_by", "tags")} == {
        "name": "second",
        "parent_run_id": "p",
        "note": "yours",
        "created_by": None,
        "tags": {"a": 1},
    }
    before = files_of(data)
    runs.change_run(tracker, "r", {"a": 1, "never": None}, name="second")
    for changes in ({"name": ""}, {"name": "a\n"}, {"parent_run_id": "../x"}, {"created_by": "x" * 251}):
        with pytest.raises(InvalidInput):
            runs.change_run(tracker, "r", {"b": 2}, **changes)
    assert files_of(data) == before
    runs.change_run(tracker, "r", {"a": True}, name=None)
    assert (meta(tracker)["name"], meta(tracker)["tags"]) == (None, {"a": True}), "true is not 1"
