"""A run of many artifacts: to verify it costs what they are, to add or send one costs what one costs."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from conftest import opened
from flask.testing import FlaskClient
from support.calls import OCTETS

from chachaml_lite.store.store import Store
from chachaml_lite.tracking.verify.verify import Verification

CONTENT = b"the same in each"


def write_run(data: Path, count: int) -> None:
    """A store with one run of so many artifacts, some of which differ in case alone and some of which lie deep."""
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


def operations(do: Callable[[], object]) -> int:
    """Count the calls of functions, Python's and ours: as good a measure as time, and the same on every machine."""
    count = 0

    def called(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        do()
    finally:
        sys.setprofile(before)
    return count


def test_verify_is_linear_in_the_artifacts_of_a_run(tmp_path: Path) -> None:
    counts = {}
    for artifacts in (500, 4000):
        data = tmp_path / str(artifacts)
        write_run(data, artifacts)
        store = Store(data, "no", read_only=True)
        verification = Verification(store)
        counts[artifacts] = operations(verification.report)
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


def ask(client: FlaskClient, step: str) -> None:
    method, path, body = STEPS[step]
    answer = client.open(path, method=method, data=body, content_type=OCTETS if body else None)
    assert answer.status_code == 200, (step, answer.text)


def test_one_artifact_costs_the_same_beside_ten_thousand_as_beside_a_hundred(tmp_path: Path) -> None:
    counts: dict[str, list[int]] = {}
    for artifacts in (100, 10_000):
        data = tmp_path / str(artifacts)
        write_run(data, artifacts)
        with opened(data) as app:
            client = app.test_client()
            for step in STEPS:  # what the first of a kind costs is another matter
                ask(client, step)
            for step in STEPS:
                counts.setdefault(step, []).append(operations(partial(ask, client, step)))
    assert all(large <= small + 60 for small, large in counts.values()), counts
