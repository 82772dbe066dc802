"""Many concurrent clients of one real server, in threads with a connection each and in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import requests
from support.calls import OCTETS
from support.servers import PATIENCE_SECONDS, Server, environment

CLIENTS = 16
T = TypeVar("T")


class Caller:
    """A client with one connection that it keeps open."""

    def __init__(self, server: Server, number: int) -> None:
        self.number = number
        self._url = server.url
        self._session = requests.Session()
        self._session.trust_env = False

    def post(self, path: str, body: Any = None) -> requests.Response:
        if isinstance(body, bytes):
            return self._session.post(self._url + path, data=body, headers={"Content-Type": OCTETS})
        return self._session.post(self._url + path, json=body)

    def get(self, path: str) -> Any:
        answer = self._session.get(self._url + path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def run_concurrently(server: Server, act: Callable[[Caller], T]) -> list[T]:
    """Return the results of `act` for 16 clients that start simultaneously."""
    barrier = threading.Barrier(CLIENTS)

    def run(number: int) -> T:
        caller = Caller(server, number)
        barrier.wait(PATIENCE_SECONDS)
        return act(caller)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(run, range(CLIENTS)))


@pytest.fixture
def caller(server: Server) -> Caller:
    caller = Caller(server, 0)
    assert caller.post("/api/w/runs", {"experiment": "e", "id": "r"}).status_code == 200
    return caller


def test_points_of_16_concurrent_clients_are_all_stored_and_counted(server: Server, caller: Caller) -> None:
    def log(own_caller: Caller) -> None:
        own = f"own-{own_caller.number}"
        assert own_caller.post("/api/w/runs", {"experiment": "e", "id": own}).status_code == 200
        for step in range(25):
            for run_id in ("r", own):
                body = {"shared": step, f"key{own_caller.number}": step, "step": step}
                assert own_caller.post(f"/api/w/runs/{run_id}/metrics", body).json()["logged"] == 2

    run_concurrently(server, log)
    summary = caller.get("/api/runs/r")["metric_summary"]
    keys = {f"key{number}": 25 for number in range(CLIENTS)}
    assert {key: each["count"] for key, each in summary.items()} == {"shared": 25 * CLIENTS, **keys}
    series = caller.get("/api/runs/r/metrics")
    assert Counter(point["step"] for point in series["shared"]["points"]) == dict.fromkeys(range(25), CLIENTS)
    for number in range(CLIENTS):
        assert [point["value"] for point in series[f"key{number}"]["points"]] == list(range(25))
        assert caller.get(f"/api/runs/own-{number}")["metric_summary"]["shared"]["count"] == 25
    assert len(caller.get("/api/runs?limit=100")) == CLIENTS + 1


def test_conflicting_writes_of_16_clients_have_one_winner(server: Server, caller: Caller) -> None:
    def contradict(own_caller: Caller) -> tuple[int, ...]:
        bodies: list[tuple[str, Any]] = [
            ("/api/w/runs/r/params", {"lr": own_caller.number}),
            ("/api/w/runs/r/artifacts?name=m", b"%d" % own_caller.number * 50_000),
            ("/api/w/runs", {"experiment": f"e{own_caller.number}", "id": "taken"}),
        ]
        return tuple(own_caller.post(path, body).status_code for path, body in bodies)

    answers = run_concurrently(server, contradict)
    winners = []
    for kind in range(3):
        assert Counter(each[kind] for each in answers) == {200: 1, 409: CLIENTS - 1}
        winners.append(next(number for number, each in enumerate(answers) if each[kind] == 200))
    assert caller.get("/api/runs/r")["params"] == {"lr": winners[0]}
    content = requests.get(f"{server.url}/api/artifacts/r/m/download").content
    assert content == b"%d" % winners[1] * 50_000
    assert caller.get("/api/runs/taken")["experiment"] == f"e{winners[2]}"


def test_versions_have_no_gaps_and_never_are_two_in_production(server: Server, caller: Caller) -> None:
    assert caller.post("/api/w/runs/r/artifacts?name=m", b"bytes").status_code == 200
    body = {"name": "iris", "run_id": "r", "artifact": "m"}
    versions = run_concurrently(server, lambda own_caller: own_caller.post("/api/w/models", body).json()["version"])
    assert sorted(versions) == list(range(1, CLIENTS + 1))
    is_finished = threading.Event()
    production_versions: list[list[int]] = []

    def watch() -> None:
        own_caller = Caller(server, 99)
        while not is_finished.is_set() or not production_versions:
            model = own_caller.get("/api/models/iris")
            in_production = [each["version"] for each in model["versions"] if each["stage"] == "production"]
            assert ([model["model"]["production"]] if in_production else []) == in_production
            production_versions.append(in_production)

    def promote(own_caller: Caller) -> list[tuple[int, list[int]]]:
        answers = []
        for _ in range(4):
            answer = own_caller.post(
                "/api/w/models/iris/promote", {"version": own_caller.number + 1, "stage": "production"}
            )
            assert answer.status_code == 200
            answers.append((answer.json()["version"], answer.json()["demoted"]))
        return answers

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        answers = [answer for each in run_concurrently(server, promote) for answer in each]
        is_finished.set()
        watching.result(PATIENCE_SECONDS)
    assert all(len(each) <= 1 for each in production_versions)
    model = caller.get("/api/models/iris")
    stages = Counter(each["stage"] for each in model["versions"])
    assert stages == {"production": 1, "archived": CLIENTS - 1}
    # Each promotion that took place demoted the one before it: a chain, in the order of the history.
    chain = [event["version"] for event in model["history"] if event["event"] == "promoted"]
    assert chain[-1] == model["model"]["production"]
    demoted_versions = [number for _, numbers in answers for number in numbers]
    assert sorted(demoted_versions) == sorted(chain[:-1])


_CLIENT = """
import json, sys, urllib.request
url, number = sys.argv[1], int(sys.argv[2])
def post(path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as fault:
        return fault.code
print(json.dumps({
    "created": post("/api/w/runs", {"experiment": "e", "id": "shared", "tags": {"a": 1}}),
    "param": post("/api/w/runs/shared/params", {"lr": number}),
    "points": [post("/api/w/runs/shared/metrics", {"loss": 1, "step": step}) for step in range(30)],
    "models": [post("/api/w/models", {"name": "iris", "run_id": "r", "artifact": "m"}) for _ in range(4)],
}))
"""


def test_clients_in_separate_processes_follow_the_same_rules(server: Server, caller: Caller) -> None:
    assert caller.post("/api/w/runs/r/artifacts?name=m", b"bytes").status_code == 200
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CLIENT, server.url, str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(no_proxy="*"),
        )
        for number in range(4)
    ]
    outputs = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    answers: list[dict[str, Any]] = [json.loads(each) for each in outputs]
    assert [each["created"] for each in answers] == [200] * 4
    assert Counter(each["param"] for each in answers) == {200: 1, 409: 3}
    assert all(each["points"] == [200] * 30 and each["models"] == [200] * 4 for each in answers)
    assert caller.get("/api/runs/shared")["metric_summary"]["loss"]["count"] == 120
    versions = caller.get("/api/models/iris")["versions"]
    assert [each["version"] for each in versions] == list(range(16, 0, -1))
