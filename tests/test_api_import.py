"""POST /api/w/import: round trips, runs that have grown, contradictions, and corrupt or hostile zips."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import open_app, run_logger
from flask import Flask
from flask.testing import FlaskClient
from support.calls import LogRun, register, upload
from support.servers import PATIENCE_SECONDS
from support.snapshots import snapshot
from support.zips import POINT, build_zip, meta, run_files, upload_line
from werkzeug.test import TestResponse

from chachaml_lite.store import zip_extract
from chachaml_lite.store.run_files import RunFiles

Files = dict[str, bytes]


def send(client: FlaskClient, body: bytes, **query: str) -> TestResponse:
    return client.post("/api/w/import", query_string=query, data=body, content_type="application/zip")


def import_zip(client: FlaskClient, body: bytes, **query: str) -> dict[str, list[str]]:
    """Import a zip; return the ids of its runs by outcome, without empty outcomes."""
    answer = send(client, body, **query)
    assert answer.status_code == 200, answer.text
    outcomes: dict[str, Any] = answer.get_json()
    assert outcomes.pop("ok") is True and outcomes.keys() == {"imported", "updated", "unchanged"}
    return {kind: ids for kind, ids in outcomes.items() if ids}


def expect_error(client: FlaskClient, body: bytes, status: int = 400, **query: str) -> str:
    answer = send(client, body, **query)
    assert (answer.status_code, answer.get_json().keys()) == (status, {"error", "detail"}), answer.text
    detail: str = answer.get_json()["detail"]
    assert detail.isprintable()
    return detail


def read_stored_files(folder: Path, run_id: str) -> Files:
    """Return the files of a run by path, without folders and the derived summary.json."""
    files = {path: content for path, content in snapshot(folder / "runs" / run_id).items() if content is not None}
    files.pop("summary.json", None)
    return files


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """A client of the other store, from which runs are imported."""
    with open_app(tmp_path / "other") as app:
        yield app.test_client()


@pytest.fixture
def other_data(tmp_path: Path) -> Path:
    return tmp_path / "other"


def download_zip(client: FlaskClient, run_id: str) -> bytes:
    answer = client.get(f"/api/runs/{run_id}/download")
    assert answer.status_code == 200
    return bytes(answer.data)


def log_full_run(client: FlaskClient, **fields: Any) -> str:
    run_id = run_logger(client)(
        name="naïve ☃",
        tags={"author": "maria", "n": 1},
        params={"lr": 0.01, "layers": [1, {"a": None}]},
        metrics=[{"loss": "NaN", "step": 0}, {"loss": 0.5, "step": 1}, {"metrics": {"é": 1}, "timestamp": 5}],
        artifacts={"model.pkl": b"bytes", "a:b/step?.pt": b"x" * 3_000_000, "Model.pkl": b"", "empty": b""},
        **fields,
    )
    assert client.post(f"/api/note/{run_id}", json={"note": "*fine*"}).status_code == 200
    assert client.post(f"/api/w/runs/{run_id}/datasets", json={"role": "train", "n_rows": 3}).status_code == 200
    return run_id


# -- round trips


def test_imported_run_is_the_same_byte_for_byte_and_a_second_import_changes_nothing(
    client: FlaskClient, other: FlaskClient, data: Path, other_data: Path
) -> None:
    run_id = log_full_run(other, end="failed")
    folder = other_data / "runs" / run_id
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("kept")
    (folder / "metrics.jsonl.damaged").write_bytes(b"kept, too")
    os.utime(folder / "metrics.jsonl", (1_700_000_001, 1_700_000_001))
    body = download_zip(other, run_id)
    assert import_zip(client, body) == {"imported": [run_id]}
    assert read_stored_files(data, run_id) == read_stored_files(other_data, run_id)
    assert (data / "runs" / run_id / "metrics.jsonl").stat().st_mtime == 1_700_000_001
    run_details = [each.get(f"/api/runs/{run_id}").get_json() for each in (client, other)]
    assert [run.pop("last_write_time") > 0 for run in run_details]
    assert run_details[0] == run_details[1]
    before = snapshot(data)
    assert import_zip(client, body) == {"unchanged": [run_id]}
    assert snapshot(data) == before
    assert client.get("/api/health").get_json()["damaged"] == 0


def test_zip_of_several_runs_is_imported_completely_or_not_at_all(client: FlaskClient, data: Path) -> None:
    both = run_files("a") | run_files("b", parent_run_id="a")
    before = snapshot(data)
    assert "run b" in expect_error(client, build_zip(both | {"b/params.json": b"{"}))
    assert snapshot(data) == before
    assert import_zip(client, build_zip(both)) == {"imported": ["a", "b"]}
    assert [child["id"] for child in client.get("/api/runs/a").get_json()["children"]] == ["b"]
    one_more = run_files("c") | run_files("a", experiment="other")
    before = snapshot(data)
    assert "run a: experiment is" in expect_error(client, build_zip(one_more), 409)
    assert snapshot(data) == before


def test_dot_files_folders_and_summaries_are_ignored(client: FlaskClient, data: Path) -> None:
    more = {
        "__MACOSX/r/._meta.json": b"x",
        "r/.DS_Store": b"x",
        ".git/config": b"x",
        "r/empty/": b"",
        "r/.meta.json.tmp": b"x",
        "r/summary.json": b'{"size": 62, "mtime_ns": 1, "metrics": {}}',
    }
    assert import_zip(client, build_zip(more | run_files())) == {"imported": ["r"]}
    assert set(read_stored_files(data, "r")) == {path.partition("/")[2] for path in run_files()}
    assert client.get("/api/runs/r").get_json()["metrics"] == {"loss": 0.5}


# -- runs that have grown


def test_run_that_is_still_logging_elsewhere_is_updated_by_each_import(
    client: FlaskClient, other: FlaskClient, data: Path, other_data: Path
) -> None:
    run_id = log_full_run(other)
    zips = [download_zip(other, run_id)]
    base = f"/api/w/runs/{run_id}"
    writes: list[Callable[[], object]] = [
        lambda: other.post(f"{base}/metrics", json={"loss": 0.4, "new": 1, "step": 2}),
        lambda: other.post(f"{base}/params", json={"epochs": 3}),
        lambda: upload(other, run_id, "model.pkl", b"better", overwrite="true"),
        lambda: upload(other, run_id, "deep/new.bin", b"new"),
        lambda: other.post(f"{base}/tags", json={"host": "gpu-1"}),
        lambda: (other_data / "runs" / run_id / "mine.txt").write_text("mine"),
        lambda: other.post(f"{base}/end", json={"status": "failed", "error": "boom"}),
    ]
    for write in writes:
        write()
        zips.append(download_zip(other, run_id))
    assert import_zip(client, zips[0]) == {"imported": [run_id]}
    for body in zips[1:]:
        client.get("/api/runs")  # the list is cached, and must notice each change
        assert import_zip(client, body) == {"updated": [run_id]}
        assert import_zip(client, body) == {"unchanged": [run_id]}
    assert read_stored_files(data, run_id) == read_stored_files(other_data, run_id)
    before = snapshot(data)
    for body in zips:  # an older copy undoes nothing
        assert import_zip(client, body) == {"unchanged": [run_id]}
    assert snapshot(data) == before
    (run,) = client.get("/api/runs").get_json()
    assert (run["status"], run["metrics"]["loss"], run["params"]["epochs"]) == (
        "failed",
        0.4,
        3,
    )
    series = client.get(f"/api/runs/{run_id}/metrics").get_json()
    assert (series["loss"]["total"], series["new"]["total"]) == (3, 1)
    assert client.get(f"/api/artifacts/{run_id}/model.pkl/download").data == b"better"


def test_imported_run_can_be_logged_to(client: FlaskClient) -> None:
    running: dict[str, Any] = {"status": "running", "end_time": None}
    assert import_zip(client, build_zip(run_files(**running))) == {"imported": ["r"]}
    assert client.post("/api/w/runs/r/metrics", json={"loss": 0.4, "step": 2}).status_code == 200
    assert upload(client, "r", "n", b"new") == 200
    longer = run_files(**running) | {"r/metrics.jsonl": POINT * 3}
    assert "line 2 of metrics.jsonl" in expect_error(client, build_zip(longer), 409)
    assert import_zip(client, build_zip(run_files(**running))) == {"unchanged": ["r"]}
    assert client.post("/api/w/runs/r/end").status_code == 200
    assert "status is" in expect_error(client, build_zip(run_files(status="failed")), 409)


def test_zip_may_omit_bytes_that_are_already_stored(client: FlaskClient) -> None:
    thin = run_files()
    del thin["r/blobs/m"]
    assert "artifact 'm'" in expect_error(client, build_zip(thin))
    assert import_zip(client, build_zip(run_files())) == {"imported": ["r"]}
    assert import_zip(client, build_zip(thin)) == {"unchanged": ["r"]}
    thin["r/artifacts.jsonl"] += upload_line("n", b"new")
    assert "artifact 'n'" in expect_error(client, build_zip(thin))
    thin["r/blobs/n"] = b"new"
    assert import_zip(client, build_zip(thin)) == {"updated": ["r"]}
    only = {"r/meta.json": thin["r/meta.json"]}
    assert import_zip(client, build_zip(only)) == {"unchanged": ["r"]}


def test_local_additions_survive_an_import(client: FlaskClient) -> None:
    files = run_files(tags={"a": 1})
    import_zip(client, build_zip(files))
    client.post("/api/w/runs/r/tags", json={"b": 2})
    client.post("/api/w/runs/r/note", json={"note": "ours"})
    client.post("/api/w/runs/r/datasets", json={"role": "train"})
    assert import_zip(client, build_zip(files)) == {"unchanged": ["r"]}
    files["r/meta.json"] = meta(tags={"a": 1, "c": 3}, datasets=[{"role": "test"}])
    assert import_zip(client, build_zip(files)) == {"updated": ["r"]}
    run = client.get("/api/runs/r").get_json()
    assert (run["tags"], run["note"]) == ({"a": 1, "b": 2, "c": 3}, "ours")
    assert run["datasets"] == [{"role": "train"}, {"role": "test"}]


def test_tags_of_a_dataset_are_merged_and_local_values_stay(client: FlaskClient) -> None:
    import_zip(client, build_zip(run_files()))
    client.post("/api/w/runs/r/datasets", json={"name": "iris", "tags": {"a": 1, "b": 2}})
    body = build_zip({**run_files(), "r/meta.json": meta(datasets=[{"name": "iris", "tags": {"a": 9, "c": 3}}])})
    assert import_zip(client, body) == {"updated": ["r"]}
    assert client.get("/api/datasets/r").get_json() == [{"name": "iris", "tags": {"a": 1, "b": 2, "c": 3}}]
    assert import_zip(client, body) == {"unchanged": ["r"]}
    assert import_zip(client, body, overwrite="true") == {"updated": ["r"]}
    assert client.get("/api/datasets/r").get_json() == [{"name": "iris", "tags": {"a": 9, "b": 2, "c": 3}}]


CONTRADICTIONS: list[tuple[str, Files, str]] = [
    ("experiment", {"r/meta.json": meta(experiment="other")}, "experiment is"),
    ("start", {"r/meta.json": meta(start_time=5)}, "start_time is"),
    ("start", {"r/meta.json": meta(start_time=5)}, "start_time is"),
    ("status", {"r/meta.json": meta(status="failed")}, "status is"),
    ("end", {"r/meta.json": meta(end_time=1_763_884_900_001)}, "end_time is"),
    ("error", {"r/meta.json": meta(error="boom")}, "error is"),
    ("param", {"r/params.json": b'{"lr": 0.2}'}, "param 'lr' is 0.1 here and 0.2 in the zip"),
    ("type of a param", {"r/params.json": b'{"lr": "0.1"}'}, "param 'lr'"),
    ("point", {"r/metrics.jsonl": POINT.replace(b"0.5", b"0.6") + POINT}, "line 1 of metrics.jsonl"),
    ("artifact", {"r/artifacts.jsonl": upload_line("m", b"other"), "r/blobs/m": b"other"}, "artifact 'm'"),
    (
        "a folder for an artifact",
        {"r/artifacts.jsonl": upload_line("m", b"bytes") + upload_line("n/m", b"x"), "r/blobs/n/m": b"x"},
        "artifact 'n/m' can't exist beside 'n'",
    ),
    (
        "file that is no artifact",
        {"r/blobs/stray": b"theirs"},
        "'blobs/stray' has other bytes here, and is no artifact",
    ),
]


@pytest.mark.parametrize(("changes", "text"), [case[1:] for case in CONTRADICTIONS], ids=[c[0] for c in CONTRADICTIONS])
def test_contradiction_is_409_names_the_field_and_stores_nothing(
    client: FlaskClient, data: Path, changes: Files, text: str
) -> None:
    base = run_files()
    base["r/artifacts.jsonl"] += upload_line("n", b"n")
    base["r/blobs/n"] = b"n"
    base["r/blobs/stray"] = b"ours"
    import_zip(client, build_zip(base))
    before = snapshot(data)
    body = build_zip(run_files("new") | run_files() | changes)
    for query in ({}, {"overwrite": "true"}):
        assert text in expect_error(client, body, 409, **query)
        assert snapshot(data) == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"r/meta.json": meta(tags={"a": 2})}, "tag 'a' is 1 here and 2 in the zip"),
        ({"r/meta.json": meta(note="theirs", tags={"a": 1})}, "the note is"),
        ({"r/meta.json": meta(mine="theirs", tags={"a": 1})}, "'mine' in meta.json"),
        ({"r/mine.txt": b"theirs"}, "the file 'mine.txt'"),
    ],
)
def test_mutable_fields_are_replaced_only_with_overwrite(
    client: FlaskClient, data: Path, changes: Files, text: str
) -> None:
    first = run_files(tags={"a": 1}, note="ours", mine="ours") | {"r/mine.txt": b"ours"}
    import_zip(client, build_zip(first))
    before = snapshot(data)
    detail = expect_error(client, build_zip(first | changes), 409)
    assert text in detail and "overwrite=true" in detail
    assert snapshot(data) == before
    assert import_zip(client, build_zip(first | changes), overwrite="true") == {"updated": ["r"]}
    ((path, content),) = changes.items()
    if path != "r/meta.json":
        assert (data / "runs" / path).read_bytes() == content
    else:
        stored_meta = json.loads((data / "runs" / path).read_bytes())
        assert "theirs" in (stored_meta.get("note"), stored_meta.get("mine")) or stored_meta["tags"] == {"a": 2}


def test_artifact_of_a_model_version_is_not_replaced(client: FlaskClient, data: Path) -> None:
    files = {path: content.replace(b'"m"', b'"a"') for path, content in run_files().items() if "blobs" not in path}
    files["r/blobs/a"] = b"bytes"
    import_zip(client, build_zip(files))
    register(client, "r")
    before = snapshot(data)
    files["r/artifacts.jsonl"] += upload_line("a", b"better", 2)
    assert "version 1 of the model 'iris'" in expect_error(client, build_zip(files | {"r/blobs/a": b"better"}), 409)
    assert snapshot(data) == before


def test_damaged_run_and_stray_file_are_not_touched(client: FlaskClient, data: Path) -> None:
    for name in ("damaged", "params"):
        import_zip(client, build_zip(run_files(name)))
    (data / "runs" / "damaged" / "meta.json").write_text("{")
    (data / "runs" / "params" / "params.json").write_text("{")
    (data / "runs" / "file").write_text("")
    before = snapshot(data)
    for name in ("damaged", "params", "file", "DAMAGED"):
        expect_error(client, build_zip(run_files("new") | run_files(name)), 409)
        assert snapshot(data) == before


def test_existing_run_is_unchanged_if_a_new_one_cannot_be_created(client: FlaskClient, data: Path) -> None:
    """New runs are created first, whatever their ids, since they can be removed again."""
    import_zip(client, build_zip(run_files("a")))
    (data / "runs" / "b").write_text("in its place")
    before = snapshot(data)
    assert "run b: " in expect_error(client, build_zip(run_files("a") | {"a/notes.txt": b"more"} | run_files("b")), 409)
    assert snapshot(data) == before


# -- invalid runs


BROKEN: list[tuple[str, Files, str]] = [
    ("no meta", {"r/params.json": b"{}"}, "no meta.json"),
    ("meta is no JSON", {"r/meta.json": b"{"}, "meta.json is not JSON"),
    ("meta is a list", {"r/meta.json": b"[]"}, "meta.json holds no JSON object"),
    ("meta without a start", {"r/meta.json": meta(start_time=None)}, "start_time"),
    ("a start in the year 10000", {"r/meta.json": meta(start_time=253402300800000)}, "start_time"),
    ("an unknown status", {"r/meta.json": meta(status="done")}, "status"),
    ("an empty experiment", {"r/meta.json": meta(experiment="")}, "experiment is empty"),
    ("a tag that is a list", {"r/meta.json": meta(tags={"a": []})}, "tag 'a'"),
    ("a tag that is null", {"r/meta.json": meta(tags={"a": None})}, "tag"),
    ("an invalid parent", {"r/meta.json": meta(parent_run_id="../x")}, "parent_run_id"),
    ("a dataset that is text", {"r/meta.json": meta(datasets=["x"])}, "no good datasets"),
    ("a dataset whose checksum is a number", {"r/meta.json": meta(datasets=[{"hash": 5}])}, "no good datasets"),
    ("a dataset whose tags are text", {"r/meta.json": meta(datasets=[{"tags": "x"}])}, "no good datasets"),
    ("a dataset of minus one row", {"r/meta.json": meta(datasets=[{"n_rows": -1}])}, "n_rows must be a whole number"),
    ("running with an end", {"r/meta.json": meta(status="running")}, "end_time"),
    ("params are a list", {"r/params.json": b"[]"}, "params.json holds no JSON object"),
    ("a param without a name", {"r/params.json": b'{"": 1}'}, "param is empty"),
    ("an invalid point", {"r/metrics.jsonl": POINT + b"{}\n" + POINT}, "line 2 of metrics.jsonl is no point"),
    ("a torn line in the middle", {"r/metrics.jsonl": POINT[:9] + b"\n" + POINT}, "line 1 of metrics.jsonl"),
    ("a metric without a name", {"r/metrics.jsonl": POINT.replace(b"loss", b"")}, "metric is empty"),
    ("an invalid upload", {"r/artifacts.jsonl": b"{}\n"}, "line 1 of artifacts.jsonl is no upload"),
    ("an upload elsewhere", {"r/artifacts.jsonl": upload_line("../m", b"bytes")}, "line 1 of artifacts.jsonl"),
    ("an invalid checksum", {"r/artifacts.jsonl": upload_line("m", b"bytes", sha256="x")}, "line 1 of artifacts.jsonl"),
    ("other bytes", {"r/blobs/m": b"bytez"}, "artifact 'm' has 5 bytes of sha256"),
    ("bytes missing", {"r/artifacts.jsonl": upload_line("m", b"bytes") + upload_line("n", b"")}, "artifact 'n'"),
    ("overlap", {"r/artifacts.jsonl": upload_line("m", b"bytes") + upload_line("m/n", b"")}, "a folder of the other"),
    ("a name of the store in capitals", {"r/Params.JSON": b"{"}, "only in case"),
    ("a stray with a colon", {"r/blobs/in/a:b": b""}, "'blobs/in/a:b' is no artifact"),
    ("a stray with a name of a device", {"r/blobs/con.txt": b""}, "'blobs/con.txt' is no artifact"),
    ("a stray with a dot behind", {"r/blobs/a./b": b""}, "'blobs/a./b' is no artifact"),
    ("an id with a space", {"a b/meta.json": meta()}, "'a b' can't be a run's id"),
    ("an id of a device", {"nul/meta.json": meta()}, "'nul' can't be a run's id"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "text"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_invalid_run_is_400_and_stores_nothing(client: FlaskClient, data: Path, changes: Files, text: str) -> None:
    before = snapshot(data)
    files = changes if text == "no meta.json" else run_files() | changes
    assert text in expect_error(client, build_zip(files))
    assert snapshot(data) == before


def test_torn_last_line_is_imported_as_it_is_and_can_be_completed(client: FlaskClient, data: Path) -> None:
    files = run_files() | {
        "r/metrics.jsonl": POINT + POINT[:20],
        "r/artifacts.jsonl": upload_line("m", b"bytes") + b'{"na',
    }
    assert import_zip(client, build_zip(files)) == {"imported": ["r"]}
    assert (data / "runs/r/metrics.jsonl").read_bytes() == POINT + POINT[:20]
    longer = run_files() | {"r/metrics.jsonl": POINT + POINT}
    assert "artifacts.jsonl has 1 damaged line" in expect_error(client, build_zip(longer), 409)
    (data / "runs/r/artifacts.jsonl").write_bytes(upload_line("m", b"bytes"))
    assert import_zip(client, build_zip(longer)) == {"updated": ["r"]}
    assert (data / "runs/r/metrics.jsonl").read_bytes() == POINT + POINT


# -- invalid and hostile zips


def make_zip_with_entry(name: str, content: bytes = b"x", *, mode: int = 0, system: int = 3, flags: int = 0) -> bytes:
    """Return the zip of a valid run with one more entry."""
    buffer = io.BytesIO(build_zip(run_files()))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        info.external_attr, info.create_system = mode << 16, system
        archive.writestr(info, content)
        info.flag_bits |= flags
    return buffer.getvalue()


def make_zip_with_duplicate_name() -> bytes:
    buffer = io.BytesIO(build_zip(run_files()))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("r/meta.json", meta(experiment="two"))
    return buffer.getvalue()


def patch_zip(old: bytes, new: bytes) -> bytes:
    """Return the uncompressed zip of a valid run, with `old` replaced by `new`, of the same length, everywhere."""
    whole = build_zip(run_files(), zipfile.ZIP_STORED)
    assert whole.count(old) and len(old) == len(new)
    return whole.replace(old, new)


def make_zip_with_false_size(size: int) -> bytes:
    """Return a zip whose central directory states a false size of the last file."""
    whole = bytearray(build_zip(run_files(), zipfile.ZIP_STORED))
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(whole)


def make_zip_of_overlapping_entries(count: int) -> bytes:
    """Return a zip of many entries that all share the same megabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r/meta.json", meta())
        archive.writestr("r/a000000", bytes(8_000_000))
        first = archive.getinfo("r/a000000")
        for number in range(1, count):
            copy = zipfile.ZipInfo(f"r/a{number:06}")
            for field in ("header_offset", "CRC", "compress_size", "file_size", "compress_type", "flag_bits"):
                setattr(copy, field, getattr(first, field))
            archive.filelist.append(copy)
    return buffer.getvalue()


HOSTILE: list[tuple[str, Callable[[], bytes], str]] = [
    ("nothing", lambda: b"", "no zip"),
    ("text", lambda: b"x" * 5000, "no zip"),
    ("an empty zip", lambda: build_zip({}), "no run"),
    ("the first half", lambda: build_zip(run_files())[:500], "no zip"),
    ("the second half", lambda: build_zip(run_files())[500:], "no zip|damaged"),
    ("up", lambda: make_zip_with_entry("r/../../x"), "segment"),
    ("up at the start", lambda: make_zip_with_entry("../x"), "segment"),
    ("up and hidden", lambda: make_zip_with_entry("r/.x/../../y"), "segment"),
    ("up in a folder's name", lambda: make_zip_with_entry("../"), "segment"),
    ("the root", lambda: make_zip_with_entry("/etc/x"), "not relative"),
    ("nothing but the root", lambda: make_zip_with_entry("/"), "not relative"),
    ("a drive", lambda: make_zip_with_entry("C:/x"), "not relative"),
    ("a drive's folder", lambda: make_zip_with_entry("c:x"), "not relative"),
    ("backslashes", lambda: make_zip_with_entry("r\\x"), "backslash"),
    ("backslashes up", lambda: make_zip_with_entry("..\\x"), "backslash"),
    ("two slashes", lambda: make_zip_with_entry("r//x"), "segment"),
    ("a dot", lambda: make_zip_with_entry("r/./x"), "segment"),
    ("a NUL", lambda: make_zip_with_entry("r/x\0.txt"), "control"),
    ("a line end", lambda: make_zip_with_entry("r/x\ny"), "control"),
    ("a long segment", lambda: make_zip_with_entry("r/" + "x" * 256), "too long"),
    ("a long path", lambda: make_zip_with_entry("r/" + "x/" * 500 + "y"), "too long"),
    ("in no folder", lambda: make_zip_with_entry("x"), "in no folder"),
    ("a link", lambda: make_zip_with_entry("r/x", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "special"),
    ("a link to a run", lambda: make_zip_with_entry("s", b"r", mode=stat.S_IFLNK | 0o777), "special"),
    ("a pipe", lambda: make_zip_with_entry("r/x", mode=stat.S_IFIFO | 0o644), "special"),
    ("a device", lambda: make_zip_with_entry("r/x", mode=stat.S_IFCHR | 0o644), "special"),
    ("a socket", lambda: make_zip_with_entry("r/x", mode=stat.S_IFSOCK | 0o644), "special"),
    ("encrypted", lambda: make_zip_with_entry("r/x", flags=1), "encrypted"),
    ("another compression", lambda: build_zip(run_files(), zipfile.ZIP_BZIP2), "compressed in a way"),
    ("and another", lambda: build_zip(run_files(), zipfile.ZIP_LZMA), "compressed in a way"),
    ("a name twice", make_zip_with_duplicate_name, "twice"),
    ("names that differ in case", lambda: make_zip_with_entry("r/Blobs/x"), "only in case"),
    ("ids that differ in case", lambda: make_zip_with_entry("R/meta.json"), "only in case"),
    ("names that differ in normalisation", lambda: build_zip(run_files() | {"r/é": b"", "r/e\u0301": b""}), "case"),
    ("a file that is a folder", lambda: make_zip_with_entry("r/meta.json/x"), "is a file in it"),
    ("a run that is a file", lambda: make_zip_with_entry("r"), "in no folder"),
    ("a flipped bit", lambda: patch_zip(b'"iris"', b'"irix"'), "damaged"),
    ("a header with another name", lambda: patch_zip(b"\0r/params.json{", b"\0r/params.jsoN{"), "damaged"),
    ("fewer bytes than stated", lambda: make_zip_with_false_size(500), "damaged|bytes"),
    ("more bytes than stated", lambda: make_zip_with_false_size(2), "damaged|bytes"),
    ("gigabytes, as stated", lambda: make_zip_with_false_size(0xFFFFFFF0), "200 times"),
    ("a bomb", lambda: build_zip(run_files() | {"r/zeros": bytes(80_000_000)}), "200 times"),
    ("a folder without a run", lambda: build_zip(run_files() | {"s/x": b""}), "'s' has no meta.json"),
    ("folders by the thousand", lambda: make_zip_of_deep_folders(1000, 390), "folders are too many, or too deep"),
    ("folders of a megabyte", lambda: make_zip_of_deep_folders(50, 390), "200 times"),
    ("entries with shared bytes", lambda: make_zip_of_overlapping_entries(20), "200 times|verlap"),
]


def make_zip_of_deep_folders(count: int, depth: int) -> bytes:
    """Return the zip of a run with `count` empty files, each in `depth` nested folders of its own."""
    return build_zip(run_files() | {f"r/{number}" + "/a" * depth: b"" for number in range(count)})


@pytest.mark.parametrize(("make", "text"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_zip_is_400_and_leaves_nothing(
    client: FlaskClient, data: Path, tmp_path: Path, make: Callable[[], bytes], text: str
) -> None:
    before, around = snapshot(data), set(os.listdir(tmp_path))
    detail = expect_error(client, make())
    assert any(each in detail for each in text.split("|")), detail
    assert snapshot(data) == before
    assert set(os.listdir(tmp_path)) == around


def test_entries_their_list_and_the_unpacked_bytes_are_limited(
    client: FlaskClient, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(data)
    good = build_zip(run_files())
    with monkeypatch.context() as small:
        small.setattr(zip_extract, "MAX_ENTRIES", 4)
        assert "5 entries; the limit is 4" in expect_error(client, good)
    with monkeypatch.context() as small:
        small.setattr(zip_extract, "MAX_DIRECTORY_BYTES", 100)
        assert "list of names" in expect_error(client, good)
    with monkeypatch.context() as small:
        small.setattr(zip_extract, "FREE_BYTES", 10)
        small.setattr(zip_extract, "MAX_RATIO", 0)
        assert "times its own size" in expect_error(client, good)
    assert snapshot(data) == before
    assert import_zip(client, good) == {"imported": ["r"]}


def test_folders_in_a_zip_are_limited_together_with_its_files(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and folders together may be twice the limit of entries: here six."""
    monkeypatch.setattr(zip_extract, "MAX_ENTRIES", 3)
    assert "too many, or too deep" in expect_error(client, build_zip({"r/meta.json": meta(), "r/a/b/c/d/x": b""}))
    assert import_zip(client, build_zip({"r/meta.json": meta(), "r/a/b/c/x": b""})) == {"imported": ["r"]}


TIME = 1_700_000_001
#: The extra fields of an entry, and the time of the last write that they state; None where they state none.
EXTRAS: dict[str, tuple[bytes, int | None]] = {
    "none": (b"", None),
    "a time": (struct.pack("<HHBi", 0x5455, 5, 1, TIME), TIME),
    "two times": (struct.pack("<HHBii", 0x5455, 9, 3, TIME, 5), TIME),
    "a time before 1970": (struct.pack("<HHBi", 0x5455, 5, 1, -5), 0),
    "the time of access alone": (struct.pack("<HHBi", 0x5455, 5, 2, TIME), None),
    "a time that is cut off": (struct.pack("<HHB", 0x5455, 1, 1), None),
    "another field": (struct.pack("<HHBi", 0x7855, 5, 1, TIME), None),
    "a time behind another field": (struct.pack("<HHBHHBi", 0x7855, 1, 1, 0x5455, 5, 1, TIME), TIME),
}


@pytest.mark.parametrize("case", EXTRAS)
def test_imported_file_has_the_time_that_its_zip_entry_states(client: FlaskClient, data: Path, case: str) -> None:
    extra, expected = EXTRAS[case]
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("r/meta.json", meta())
        info = zipfile.ZipInfo("r/notes.txt")
        info.extra = extra
        archive.writestr(info, b"mine")
    start = int(time.time())
    assert import_zip(client, body.getvalue()) == {"imported": ["r"]}
    mtime = int((data / "runs/r/notes.txt").stat().st_mtime)
    assert mtime >= start - 1 if expected is None else mtime == expected


def test_file_in_a_zip_may_not_be_larger_than_an_upload(make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app(max_upload_bytes=5000).test_client()
    body = build_zip(run_files() | {"r/large": b"x" * 5001})
    assert "'r/large' has 5001 bytes, and 5000 is the most" in expect_error(client, body, 413)
    assert import_zip(client, build_zip(run_files() | {"r/large": b"x" * 5000})) == {"imported": ["r"]}
    assert os.listdir(data / "runs/.incoming") == []


def test_central_directory_with_a_false_length_costs_no_memory(client: FlaskClient) -> None:
    whole = bytearray(build_zip(run_files()) + bytes(50_000_000))
    end = build_zip(run_files())[-22:]
    whole[-22:] = end[:12] + struct.pack("<II", 49_000_000, 1_000_000) + end[20:]
    assert "list of names has" in expect_error(client, bytes(whole))


def test_zip_corrupted_at_any_byte_is_imported_or_refused(client: FlaskClient, data: Path, log_run: LogRun) -> None:
    """No 5xx, nothing left behind, and whatever is imported is a valid run."""
    good = build_zip({path: content for path, content in run_files().items() if "params" not in path})
    for at in range(len(good)):
        corrupted = bytearray(good)
        corrupted[at] ^= 0x41
        answer = send(client, bytes(corrupted))
        assert answer.status_code in (200, 400, 409), (at, answer.text)
        if answer.status_code != 200:
            assert answer.get_json()["detail"].isprintable()
    assert os.listdir(data / "runs/.incoming") == []
    assert client.get("/api/health").get_json()["damaged"] == 0


def test_run_can_be_created_while_an_import_adds_files_to_another(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    assert import_zip(app.test_client(), build_zip(run_files())) == {"imported": ["r"]}
    has_begun, may_continue, take = threading.Event(), threading.Event(), RunFiles.take

    def slow_take(files: RunFiles, run_id: str, name: str, path: str) -> None:
        has_begun.set()
        assert may_continue.wait(PATIENCE_SECONDS)
        take(files, run_id, name, path)

    monkeypatch.setattr(RunFiles, "take", slow_take)
    with ThreadPoolExecutor() as pool:
        more = build_zip(run_files() | {"r/notes.txt": b"more"})
        imports = [pool.submit(send, app.test_client(), more) for _ in range(2)]
        try:
            assert has_begun.wait(PATIENCE_SECONDS)
            create = pool.submit(app.test_client().post, "/api/w/runs", json={"experiment": "e"})
            assert create.result(PATIENCE_SECONDS).status_code == 200
            assert not any(each.done() for each in imports)
        finally:
            may_continue.set()
        results = [each.result(PATIENCE_SECONDS).get_json() for each in imports]
    assert sorted(len(each["updated"]) for each in results) == [0, 1]
