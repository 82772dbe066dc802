"""Zips of runs, valid and invalid ones."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

META: dict[str, Any] = {
    "id": "r",
    "experiment": "iris",
    "name": None,
    "status": "completed",
    "start_time": 1_763_884_800_000,
    "end_time": 1_763_884_900_000,
    "error": None,
    "tags": {},
    "note": None,
    "datasets": [],
    "parent_run_id": None,
    "created_by": None,
}
POINT = b'{"key":"loss","value":0.5,"step":1,"timestamp":1763884800123}\n'


def meta(**changes: Any) -> bytes:
    """Build a valid meta.json with these fields changed."""
    return json.dumps({**META, **changes}).encode()


def upload_line(name: str, content: bytes, timestamp: int = 1, **changes: Any) -> bytes:
    """Build a line of artifacts.jsonl."""
    line = {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "timestamp": timestamp}
    return json.dumps({**line, **changes}).encode() + b"\n"


def run_files(run_id: str = "r", **changes: Any) -> dict[str, bytes]:
    """Return the files of a valid run by path in a zip; `changes`: fields of its meta.json."""
    files = {
        "meta.json": meta(id=run_id, **changes),
        "params.json": b'{"lr": 0.1}',
        "metrics.jsonl": POINT,
        "artifacts.jsonl": upload_line("m", b"bytes"),
        "blobs/m": b"bytes",
    }
    return {f"{run_id}/{path}": content for path, content in files.items()}


def build_zip(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Build a zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()
