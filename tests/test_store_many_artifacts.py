"""A run of many artifacts: verifying takes linear time in their number, adding or sending one constant time."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from conftest import open_app
from flask.testing import FlaskClient
from support.calls import OCTETS

from chachaml_lite.store.store import Store
from chachaml_lite.tracking.verify.verify import Verification

CONTENT = b"the same in each"


def write_run(data: Path, count: int) -> None:
    """Create a store with one run of `count` artifacts in nested folders."""
    folder = data / "runs/r"
    (folder / "blobs").mkdir(parents=True)
    meta = {"id": "r", "experiment": "e", "status": "running", "start_time": 1_700_000_000_000, "name": None}
    (folder / "meta.json").write_text(json.dumps(meta))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    lines = []
    for number in range(count):
        name = f"part-{number % 10}/layer/{number}.bin"
        path = folder / "blobs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
        lines.append(json.dumps({"name": name, "sha256": sha256, "size": len(CONTENT), "timestamp": 1}) + "\n")
    (folder / "artifacts.jsonl").write_text("".join(lines))


def count_calls(function: Callable[[], object]) -> int:
    """Count all function calls, built-in ones included: a measure of cost like time, but the same on every machine."""
    count = 0

    def count_call(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count_call)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def test_verify_is_linear_in_the_number_of_artifacts(tmp_path: Path) -> None:
    counts = {}
    for artifacts in (500, 4000):
        data = tmp_path / str(artifacts)
        write_run(data, artifacts)
        store = Store(data, "no", read_only=True)
        verification = Verification(store)
        counts[artifacts] = count_calls(verification.report)
        report = verification.report()
        store.close()
        assert (report.artifacts, report.problems) == (artifacts, [])
    assert counts[4000] <= counts[500] * 8 * 1.05


STEPS: dict[str, tuple[str, str, bytes | None]] = {
    "upload": ("POST", "/api/w/runs/r/artifacts?name=part-1/new", b"new"),
    "replace": ("POST", "/api/w/runs/r/artifacts?name=part-1/new&overwrite=true", b"other"),
    "download": ("GET", "/api/artifacts/r/part-1/layer/51.bin/download", None),
    "head": ("HEAD", "/api/artifacts/r/part-1/layer/51.bin/download", None),
    "delete": ("DELETE", "/api/w/runs/r/artifacts?name=part-1/new", None),
}


def perform(client: FlaskClient, step: str) -> None:
    method, path, body = STEPS[step]
    answer = client.open(path, method=method, data=body, content_type=OCTETS if body else None)
    assert answer.status_code == 200, (step, answer.text)


def test_request_for_one_artifact_costs_the_same_among_10_000_as_among_100(tmp_path: Path) -> None:
    counts: dict[str, list[int]] = {}
    for artifacts in (100, 10_000):
        data = tmp_path / str(artifacts)
        write_run(data, artifacts)
        with open_app(data) as app:
            client = app.test_client()
            for step in STEPS:  # warm up: the first request of a kind costs more
                perform(client, step)
            for step in STEPS:
                counts.setdefault(step, []).append(count_calls(partial(perform, client, step)))
    assert all(large <= small + 60 for small, large in counts.values()), counts
