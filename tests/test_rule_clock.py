"""A clock that is set back or jumps: ids stay unique and ordered, and no duration is negative."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chachaml_lite.tracking.clock import Clock

SECOND = 1_000_000_000
NOON = 1_763_884_800 * SECOND
DAY = 86_400 * SECOND


@dataclass
class System:
    """The system's two clocks: the wall clock, which can be set, and the monotonic one, which can't."""

    wall_ns: int = NOON
    monotonic_ns: int = 5 * DAY

    def let_pass(self, seconds: float) -> None:
        self.wall_ns += int(seconds * SECOND)
        self.monotonic_ns += int(seconds * SECOND)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    clocks = System()
    monkeypatch.setattr(time, "time_ns", lambda: clocks.wall_ns)
    monkeypatch.setattr(time, "monotonic_ns", lambda: clocks.monotonic_ns)
    yield clocks
    monkeypatch.undo()


def test_clock_shows_the_system_time(system: System) -> None:
    clock = Clock()
    assert clock.now_ms() == NOON // 1_000_000
    system.let_pass(7)
    assert clock.now_ms() == NOON // 1_000_000 + 7000


@pytest.mark.parametrize("jump", [-1, -SECOND // 2, -SECOND, -60 * SECOND, -DAY, -50 * 365 * DAY])
def test_clock_never_goes_back_when_the_system_time_is_set_back(system: System, jump: int) -> None:
    clock = Clock()
    before, first_id = clock.now_ms(), clock.new_run()
    system.wall_ns += jump
    times = [clock.now_ms()]
    for _ in range(20):
        system.let_pass(1)
        times.append(clock.now_ms())
    assert times[0] >= before and times == sorted(times)
    assert (
        times[-1] - times[0] >= 9_000
    )  # it may run more slowly until the system's catches up, but does not stand still
    assert clock.new_run() > first_id


def test_clock_follows_a_system_time_set_forward(system: System) -> None:
    clock = Clock()
    clock.now_ms()
    system.wall_ns += DAY
    assert clock.now_ms() == (NOON + DAY) // 1_000_000


def test_ids_are_unique_and_ordered_despite_clock_changes(system: System) -> None:
    clock = Clock()
    ids = []
    for number in range(3000):
        if number % 7 == 0:
            system.wall_ns -= 3 * SECOND
        if number % 11 == 0:
            system.let_pass(0.0007)
        ids.append(clock.new_run()[0])
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_concurrent_threads_get_different_ids() -> None:
    clock, barrier = Clock(), threading.Barrier(4)
    ids: list[list[str]] = [[] for _ in range(4)]

    def create_ids(own_ids: list[str]) -> None:
        barrier.wait()
        own_ids.extend(clock.new_run()[0] for _ in range(500))

    threads = [threading.Thread(target=create_ids, args=(own_ids,)) for own_ids in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(own_ids == sorted(own_ids) for own_ids in ids)
    assert len({run_id for own_ids in ids for run_id in own_ids}) == 2000


def create_run(client: FlaskClient, name: str) -> str:
    run_id: str = client.post("/api/w/runs", json={"experiment": "e", "name": name}).get_json()["id"]
    return run_id


def test_runs_over_http_keep_their_order_and_their_durations(system: System, client: FlaskClient) -> None:
    one = create_run(client, "one")
    system.let_pass(10)
    system.wall_ns -= DAY
    client.post(f"/api/w/runs/{one}/metrics", json={"loss": 1})
    two = create_run(client, "two")
    system.let_pass(10)
    for run_id in (one, two):
        assert client.post(f"/api/w/runs/{run_id}/end").status_code == 200
    runs = client.get("/api/runs").get_json()
    assert [run["name"] for run in runs] == ["two", "one"]
    assert [run["duration_ms"] for run in runs] == [10_000, 20_000]
    assert all(run["last_write_time"] >= run["end_time"] >= run["start_time"] for run in runs)


def test_run_ended_by_a_server_with_a_clock_behind_has_duration_0(
    system: System, client: FlaskClient, make_app: Callable[..., Flask]
) -> None:
    run_id = create_run(client, "one")
    system.wall_ns -= DAY  # while no server ran
    client = make_app().test_client()
    assert create_run(client, "two") != run_id
    assert client.post(f"/api/w/runs/{run_id}/end").status_code == 200
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["duration_ms"], run["end_time"]) == (0, run["start_time"])
