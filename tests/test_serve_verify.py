"""`chachaml-lite verify` beside a live server: writes in progress are not reported, and damage is found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.calls import OCTETS
from support.servers import PATIENCE_SECONDS, Server
from support.snapshots import snapshot
from support.verifying import list_problems, load_report, verify


class Writer(threading.Thread):
    """Sends every kind of write, over and over, until `stop` is set."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self._base, self._name = f"{url}/api/w", name
        self._session = requests.Session()
        self.stop = threading.Event()
        self.has_written = threading.Event()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            number = 0
            while not self.stop.is_set():
                self._log(f"{self._name}-{number}")
                number += 1
                self.has_written.set()
        except BaseException as fault:
            self.fault = fault
            self.has_written.set()

    def _post(self, path: str, body: Any) -> None:
        upload: dict[str, Any] = {"data": body, "headers": {"Content-Type": OCTETS}}
        answer = self._session.post(self._base + path, **(upload if isinstance(body, bytes) else {"json": body}))
        assert answer.status_code == 200, answer.text

    def _log(self, run_id: str) -> None:
        base = f"/runs/{run_id}"
        self._post("/runs", {"experiment": "e", "id": run_id})
        for turn in range(5):
            self._post(f"{base}/metrics", [{"loss": turn, "acc": 1, "step": step} for step in range(2000)])
            self._post(f"{base}/params", {f"p{turn}": turn})
            content = f"{run_id} {turn} ".encode() * 30_000
            self._post(f"{base}/artifacts?name=model&overwrite=true", content)
            self._post(f"{base}/artifacts?name=deep/{turn}", content[:100])
        self._post(f"{base}/end", {"status": "completed"})
        self._post("/models", {"name": self._name, "run_id": run_id, "artifact": "model", "stage": "production"})
        again = f"{self._name}-short"
        self._post("/runs", {"experiment": "e", "id": again})
        self._post(f"/runs/{again}/artifacts?name=m", b"short")
        assert self._session.delete(f"{self._base}/runs/{again}").status_code == 200


@pytest.fixture
def busy_server(serve: Callable[..., Server]) -> Iterator[Server]:
    """A server to which three clients write."""
    server = serve("--quiet", "--fsync", "everysec")
    writers = [Writer(server.url, f"w{number}") for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        assert writer.has_written.wait(PATIENCE_SECONDS)
    yield server
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join(PATIENCE_SECONDS)
    assert [writer.fault for writer in writers] == [None] * len(writers)


def test_write_in_progress_is_not_reported_as_damage(busy_server: Server, data: Path) -> None:
    for _ in range(3):
        result = load_report(data)
        assert result["problems"] == []
        assert result["runs"] >= 3 and result["artifacts"] >= 18 and result["points"] >= 60_000


def test_damage_is_found_during_writes(busy_server: Server, data: Path) -> None:
    base = f"{busy_server.url}/api/w/runs"
    for run_id in ("whole", "bad"):
        requests.post(base, json={"experiment": "e", "id": run_id}, timeout=PATIENCE_SECONDS)
        for name in ("one", "two"):
            requests.post(
                f"{base}/{run_id}/artifacts?name={name}",
                data=b"bytes",
                headers={"Content-Type": OCTETS},
                timeout=PATIENCE_SECONDS,
            )
    (data / "runs/bad/blobs/one").write_bytes(b"bites")
    (data / "runs/bad/blobs/two").unlink()
    (data / "runs/bad/blobs/three").write_bytes(b"nobody's")
    with (data / "runs/bad/metrics.jsonl").open("ab") as file:
        file.write(b'{"key":"lo')
    assert list_problems(data) == [
        ("runs/bad/blobs/one", "wrong bytes", False),
        ("runs/bad/blobs/three", "orphan", False),
        ("runs/bad/blobs/two", "missing", False),
        ("runs/bad/metrics.jsonl", "torn tail", True),
    ]


def test_upload_in_progress_is_not_reported_as_a_leftover(server: Server, data: Path) -> None:
    (data / "runs/.incoming/upload~0a").write_bytes(b"half")
    assert list_problems(data) == []
    server.kill()
    assert list_problems(data) == [("runs/.incoming/upload~0a", "leftover", True)]


def test_upload_between_its_line_and_its_rename_is_not_reported_as_missing(server: Server, data: Path) -> None:
    base = f"{server.url}/api/w/runs"
    requests.post(base, json={"experiment": "e", "id": "r"}, timeout=PATIENCE_SECONDS)
    upload = {"data": b"bytes", "headers": {"Content-Type": OCTETS}}
    answer = requests.post(f"{base}/r/artifacts?name=m", **upload, timeout=PATIENCE_SECONDS)  # type: ignore[arg-type]
    pending_blob = data / f"runs/.incoming/r~{answer.json()['sha256']}~0a"
    (data / "runs/r/blobs/m").rename(pending_blob)
    assert list_problems(data) == []
    pending_blob.unlink()
    assert list_problems(data) == [("runs/r/blobs/m", "missing", False)]


def test_repair_is_refused_while_a_server_runs(server: Server, data: Path) -> None:
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"}, timeout=PATIENCE_SECONDS)
    (data / "runs/r/metrics.jsonl").write_bytes(b"torn")
    before = snapshot(data)
    result = verify(data, "--repair")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "another server owns this store" in result.stderr and "--repair" in result.stderr
    assert snapshot(data) == before
    assert server.stop() == 0
    assert load_report(data, "--repair")["ok"]


def test_server_starts_while_a_store_is_being_verified(serve: Callable[..., Server], data: Path) -> None:
    assert serve().stop() == 0
    stop = threading.Event()
    reported_problems: set[tuple[str, str, bool]] = set()

    def verify_repeatedly() -> None:
        while not stop.is_set():
            reported_problems.update(list_problems(data))

    verifier = threading.Thread(target=verify_repeatedly, daemon=True)
    (data / "runs/x").touch()  # a problem, which makes verify check whether a server runs
    verifier.start()
    try:
        for _ in range(4):
            assert serve().stop() == 0
    finally:
        stop.set()
        verifier.join(PATIENCE_SECONDS)
    assert reported_problems == {("runs/x", "stray", False)}
