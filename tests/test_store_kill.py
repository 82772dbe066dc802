"""A server killed in the middle of its work, again and again: the writes that it acknowledged are there afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from support.calls import OCTETS
from support.servers import PATIENCE_SECONDS, Server

#: How often the server is killed. Each round takes about a second.
ROUNDS = 20
WRITERS = 4


@dataclass
class Ledger:
    """The acknowledged writes of one writer."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    params: dict[str, dict[str, int]] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)
    #: The values that something changeable may have, by kind, run or model, and name: the value acknowledged last (None
    #: if there is none), and the one sent after that.
    allowed_values: dict[tuple[str, str, str], list[Any]] = field(default_factory=dict)


class Writer(threading.Thread):
    """Sends every kind of write until the server is killed."""

    def __init__(self, url: str, name: str, on_acknowledged: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.url, self.name, self.ledger = url, name, Ledger()
        self.fault: BaseException | None = None
        self._on_acknowledged = on_acknowledged
        self._session = requests.Session()

    def run(self) -> None:
        try:
            number = 0
            while True:
                self._log_run(f"{self.name}-{number}")
                number += 1
        except requests.RequestException:
            pass  # the server was killed
        except BaseException as fault:
            self.fault = fault

    def _post(self, path: str, body: Any) -> Any:
        """Post a body; with None, delete what the path names."""
        payload = {"data": body, "headers": {"Content-Type": OCTETS}} if isinstance(body, bytes) else {"json": body}
        answer = self._session.request("DELETE" if body is None else "POST", self.url + path, **payload)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        self._on_acknowledged()
        return body

    def _change(self, kind: str, owner: str, name: str, value: Any, path: str, body: Any) -> None:
        allowed_values = self.ledger.allowed_values.setdefault((kind, owner, name), [None])
        allowed_values.append(value)
        self._post(path, body)
        allowed_values[:] = [value]

    def _log_run(self, run_id: str) -> None:
        ledger, base = self.ledger, f"/api/w/runs/{run_id}"
        fields = {"experiment": self.name, "name": run_id, "tags": {"first": True}}
        self._post("/api/w/runs", {**fields, "id": run_id})
        ledger.runs[run_id] = fields
        for turn in range(4):
            self._post(f"{base}/params", {f"p{turn}": turn})
            ledger.params.setdefault(run_id, {})[f"p{turn}"] = turn
            for step in range(3):
                self._post(f"{base}/metrics", [{"loss": step, "step": turn * 3 + step}, {"acc": 1, "step": step}])
                ledger.points[run_id] = ledger.points.get(run_id, 0) + 1
            content = f"{run_id} {turn} ".encode() * 20_000
            self._change("artifact", run_id, "model", content, f"{base}/artifacts?name=model&overwrite=true", content)
            name, content = f"deep/{turn}", run_id.encode()
            self._change("artifact", run_id, name, content, f"{base}/artifacts?name={name}", content)
            self._change("tag", run_id, "turn", turn, f"{base}/tags", {"turn": turn})
        for name in ("old/a", "old/b"):
            self._change("artifact", run_id, name, b"x", f"{base}/artifacts?name={name}", b"x")
        self._change("artifact", run_id, "deep/1", None, f"{base}/artifacts?name=deep/1", None)
        for name in ("old/a", "old/b"):
            ledger.allowed_values["artifact", run_id, name].append(None)
        self._post(f"{base}/artifacts?name=old/", None)
        for name in ("old/a", "old/b"):
            ledger.allowed_values["artifact", run_id, name] = [None]
        for artifact in ("deep/", "model"):
            body = {"name": self.name, "run_id": run_id, "artifact": artifact}
            version = self._post("/api/w/models", body)["version"]
            ledger.versions[version] = run_id
        body = {"version": version, "stage": "production"}
        self._change("production", self.name, "", version, f"/api/w/models/{self.name}/promote", body)
        self._change("end", run_id, "", "completed", f"{base}/end", {"status": "completed"})


def test_acknowledged_writes_survive_a_kill_and_nothing_is_half_written(
    serve: Callable[..., Server], data: Path
) -> None:
    chance = random.Random(4)
    ledgers: dict[str, Ledger] = {}
    server = serve()
    for turn in range(ROUNDS):
        write_count = threading.Semaphore(0)
        writers = [Writer(server.url, f"w{turn}-{number}", write_count.release) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for _ in range(chance.randrange(40, 250)):
            assert write_count.acquire(timeout=PATIENCE_SECONDS), [writer.fault for writer in writers]
        server.kill()
        for writer in writers:
            writer.join(PATIENCE_SECONDS)
            assert writer.fault is None and not writer.is_alive()
            ledgers[writer.name] = writer.ledger
        server = serve()
        for name in (each.name for each in writers):
            assert_acknowledged_writes(server.url, name, ledgers[name])
    for name, ledger in ledgers.items():
        assert_acknowledged_writes(server.url, name, ledger)
    assert requests.get(f"{server.url}/api/health").json()["damaged"] == 0
    assert list((data / "runs/.incoming").iterdir()) == []
    for run in (data / "runs").iterdir():
        if (run / "artifacts.jsonl").exists():
            last = {}
            for line in (run / "artifacts.jsonl").read_text().splitlines():
                with contextlib.suppress(ValueError):  # a torn one
                    last[json.loads(line)["name"]] = json.loads(line)
            for name, line in last.items():
                assert (run / "blobs" / name).exists() != ("deleted" in line), (run, name)
    assert list(data.rglob("*.tmp")) == []
    assert server.stop() == 0


def assert_acknowledged_writes(url: str, name: str, ledger: Ledger) -> None:
    """Assert that all acknowledged writes of a writer are there, and that no other write is there in part."""
    session = requests.Session()
    runs = {run["id"]: run for run in session.get(f"{url}/api/runs?experiment={name}&limit=1000").json()}
    assert runs.keys() >= ledger.runs.keys() and len(runs) <= len(ledger.runs) + 1
    values: dict[tuple[str, str, str], Any] = {}
    for run_id in runs:
        run = session.get(f"{url}/api/runs/{run_id}").json()
        assert (run["experiment"], run["name"], run["tags"]["first"]) == (name, run_id, True)
        assert run["params"].items() >= ledger.params.get(run_id, {}).items()
        counts = [run["metric_summary"].get(key, {"count": 0})["count"] for key in ("loss", "acc")]
        point_count = ledger.points.get(run_id, 0)
        assert counts in ([point_count] * 2, [point_count + 1] * 2)  # a request's points are all there, or none
        values["tag", run_id, "turn"] = run["tags"].get("turn")
        values["end", run_id, ""] = None if run["status"] == "running" else run["status"]
        for artifact in run["artifacts"]:
            content = session.get(f"{url}/api/artifacts/{artifact['id']}/download").content
            values["artifact", run_id, artifact["name"]] = content
            assert (artifact["sha256"], artifact["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    model = session.get(f"{url}/api/models/{name}").json()
    versions = {version["version"]: version["run_id"] for version in model.get("versions", ())}
    assert versions.items() >= ledger.versions.items() and len(versions) <= len(ledger.versions) + 1
    files = [version["files"] for version in model.get("versions", ())]
    assert files[::-1] == [3 if number % 2 == 0 else None for number in range(len(files))]
    assert sorted(versions) == list(range(1, len(versions) + 1))
    for version in versions:
        assert session.get(f"{url}/api/models/{name}/{version}/download").status_code == 200
    values["production", name, ""] = model["model"]["production"] if versions else None
    wrong = [key for key, allowed_values in ledger.allowed_values.items() if values.get(key) not in allowed_values]
    assert wrong == []
