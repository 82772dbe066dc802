"""Runs pushed from a store to a server: copied exactly, nothing sent twice, nothing wrong sent or left behind."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.proxies import count_sent_zips, omit_write_time, start_proxy
from support.servers import Server, wait_until
from support.snapshots import snapshot

from chachaml_lite.client import push as push_module
from chachaml_lite.client.base import OCTETS, Answer, Client, build_path
from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import HttpClient
from chachaml_lite.client.push import NotPushed, Push

Serve = Callable[..., Server]


@pytest.fixture
def source_folder(tmp_path: Path) -> Path:
    """The folder of the store that runs are pushed from."""
    return tmp_path / "home"


@pytest.fixture
def source(source_folder: Path) -> Iterator[FolderClient]:
    with FolderClient(source_folder, writes=True) as client:
        yield client


@pytest.fixture
def target(server: Server) -> Iterator[HttpClient]:
    with HttpClient(server.url) as client:
        yield client


def log(client: Client, run_id: str, **parts: Any) -> None:
    """Log a run, or a part of one."""
    under = ("api", "w", "runs", run_id)
    if "run" in parts:
        client.post("/api/w/runs", {"experiment": "iris", "id": run_id, **parts["run"]})
    for part in ("params", "metrics", "tags", "note", "datasets"):
        if part in parts:
            client.post(build_path(*under, part), parts[part])
    for name, content in parts.get("artifacts", {}).items():
        query = [("name", name), ("overwrite", "true")]
        client.ask("POST", build_path(*under, "artifacts"), query, body=content, content_type=OCTETS).json()
    if "end" in parts:
        client.post(build_path(*under, "end"), parts["end"])


#: Everything that a run can have.
ARTIFACTS = {
    "model.pkl": b"bytes",
    "Model.pkl": b"others",
    "a:b/step?.pt": b"x" * 300_000,
    "größe/☃ %41.txt": b"1",
    "empty": b"",
    ".hidden": b"2",
    "con": b"3",
}
FULL: dict[str, Any] = {
    "run": {"name": "naïve ☃", "tags": {"author": "maria", "n": 1}, "parent_run_id": "p", "created_by": "me"},
    "params": {"lr": 0.01, "layers": [1, {"a": None}], "é": "\x7f", "big": 10**30},
    "metrics": {"metrics": {"loss": "NaN", "a/b ☃": "-Infinity"}, "step": -3, "timestamp": 5},
    "note": {"note": "*fine*"},
    "datasets": {"role": "train", "n_rows": 3, "features": ["a"]},
    "artifacts": ARTIFACTS,
}


def log_full_run(source: Client, source_folder: Path) -> Path:
    """Log a run "r" with all of it, add files and a field by hand, and return its folder."""
    log(source, "r", **FULL)
    log(source, "r", metrics={"loss": 0.5, "step": 2}, artifacts={"model.pkl": b"newer"})
    folder = source_folder / "runs/r"
    (folder / "mine" / "deep").mkdir(parents=True)
    (folder / "mine/deep/notes.txt").write_text("kept")
    (folder / "empty.txt").write_bytes(b"")
    meta = json.loads((folder / "meta.json").read_bytes())
    (folder / "meta.json").write_text(json.dumps({**meta, "mine": {"kept": [1, 2.5]}}, indent=2))
    return folder


def push(source: Client, target: Client, run_id: str = "r", *, overwrite: bool = False) -> tuple[str, int]:
    """Push a run, and again, which changes nothing. Return the first outcome and the number of bytes of files sent."""
    counts: list[int] = []
    transfer = Push(source, target, overwrite=overwrite)
    outcome = transfer.push(run_id, counts.append)
    assert transfer.push(run_id, counts.append) == "unchanged"
    return outcome, sum(counts)


def fetch_everything(client: Client, run_id: str = "r") -> list[Any]:
    run = omit_write_time(client.get(build_path("api", "runs", run_id)))
    names = [each["name"].split("/") for each in run["artifacts"]]
    blobs = [client.ask("GET", build_path("api", "artifacts", run_id, *name, "download")).content() for name in names]
    return [run, client.get(build_path("api", "runs", run_id, "metrics")), blobs]


def read_files(folder: Path) -> dict[str, bytes | None]:
    """Read the files of a run except the derived one, those in JSON parsed."""
    files: dict[str, Any] = snapshot(folder)
    files.pop("summary.json", None)
    return {path: json.loads(files[path]) if path.endswith(".json") else files[path] for path in files}


# -- what arrives


def test_push_copies_every_part_of_a_run(source: Client, target: Client, source_folder: Path, server: Server) -> None:
    folder = log_full_run(source, source_folder)
    log(source, "r", end={"status": "failed", "error": "boom"})
    outcome, _ = push(source, target)
    assert outcome == "imported"
    assert fetch_everything(target) == fetch_everything(source)
    assert read_files(server.data / "runs/r") == read_files(folder)
    assert count_sent_zips(server.log) == 1  # a small run is one zip
    digests = [client.get("/api/digests", [("ids", "r")]) for client in (source, target)]
    assert digests[0] == digests[1]
    times = [client.get("/api/runs/r")["last_write_time"] for client in (source, target)]
    assert times[0] - times[1] in range(1000)  # a zip stores whole seconds


def test_repeated_push_of_a_growing_run_sends_only_the_new_parts(
    source: Client, target: Client, source_folder: Path, server: Server
) -> None:
    folder = log_full_run(source, source_folder)
    assert push(source, target)[0] == "imported"
    large = len(ARTIFACTS["a:b/step?.pt"])
    steps: list[Callable[[], object]] = [
        lambda: log(source, "r", params={"new": None}),
        lambda: log(source, "r", metrics={"loss": 0.5, "step": 2}),  # the same latest value again
        lambda: log(source, "r", metrics={"loss": "NaN", "step": -9}),
        lambda: log(source, "r", artifacts={"model.pkl": b"NEWER"}),  # as many bytes as before
        lambda: log(source, "r", artifacts={"model.pkl": b"newer"}),  # and back
        lambda: log(source, "r", artifacts={"new/☃": b"", "MODEL.PKL": b"1"}),
        lambda: log(source, "r", tags={"new": True}),
        lambda: log(source, "r", datasets={"role": "test"}),
        lambda: (folder / "late.txt").write_text("late"),
        lambda: (folder / "late-and-empty.txt").write_bytes(b""),
        lambda: (folder / "meta.json").write_text((folder / "meta.json").read_text().replace('"mine"', '"more"')),
        lambda: log(source, "r", end={"status": "completed"}),
        lambda: log(source, "r", datasets={"role": "after the end"}),
    ]
    for step in steps:
        step()
        assert Push(source, target, overwrite=False).compare(["r"]) == (["r"], [], [])
        zips = count_sent_zips(server.log)
        outcome, n_bytes = push(source, target)
        assert (outcome, n_bytes < large) == ("updated", True)
        assert count_sent_zips(server.log) == zips + 1
        assert fetch_everything(target) == fetch_everything(source)
    assert Push(source, target, overwrite=False).compare(["r", "none"])[2] == ["none"]


def test_empty_metrics_file_is_no_difference(source: Client, target: Client, source_folder: Path) -> None:
    log(source, "r", run={})
    assert push(source, target)[0] == "imported"
    (source_folder / "runs/r/metrics.jsonl").write_bytes(b"")
    assert push(source, target) == ("unchanged", 0)
    log(target, "r", metrics={"loss": 1})
    assert push(source, target) == ("unchanged", 0)


def test_additional_data_of_the_target_is_kept_and_sends_nothing(
    source: Client, target: Client, server: Server
) -> None:
    log(source, "r", **FULL)
    assert push(source, target)[0] == "imported"
    more = {"metrics": {"loss": 9, "step": 9}, "tags": {"theirs": 1}, "datasets": {"role": "theirs"}}
    log(target, "r", params={"theirs": 1}, artifacts={"theirs": b"1", "model.pkl": b"better"}, **more)
    log(target, "r", end={"status": "completed"})
    before, zips = fetch_everything(target), count_sent_zips(server.log)
    assert Push(source, target, overwrite=False).compare(["r"])[0] == ["r"]
    assert push(source, target) == ("unchanged", 0)
    assert (fetch_everything(target), count_sent_zips(server.log)) == (before, zips)


def delete(client: Client, *names: str) -> None:
    for name in names:
        client.ask("DELETE", build_path("api", "w", "runs", "r", "artifacts"), [("name", name)]).json()


def test_deleted_artifacts_are_deleted_in_the_target_and_not_sent_again(source: Client, target: Client) -> None:
    log(source, "r", run={}, artifacts={"a": b"1", "d/b": b"2", "d/c": b"3"})
    push(source, target)
    delete(source, "d/")
    assert push(source, target)[0] == "updated"
    assert [each["name"] for each in target.get("/api/runs/r/artifacts")] == ["a"]
    assert push(source, target)[0] == "unchanged"
    delete(target, "a")
    assert push(source, target)[0] == "unchanged"
    assert target.get("/api/runs/r/artifacts") == []
    log(source, "r", artifacts={"d": b"now a file"})
    assert push(source, target)[0] == "updated"
    assert [each["name"] for each in target.get("/api/runs/r/artifacts")] == ["d"]


@pytest.mark.parametrize(
    ("source_part", "target_part", "message"),
    [
        ({"params": {"lr": 2}}, {"params": {"lr": 3}}, "param 'lr' is 3 here and 2 in the zip"),
        ({"metrics": {"loss": 1}}, {"metrics": {"loss": 2}}, "its points differ from line 1 of metrics.jsonl on"),
        ({"artifacts": {"a": b"1"}}, {"artifacts": {"a": b"2"}}, "artifact 'a' was given other bytes in both places"),
        ({"end": {"status": "failed"}}, {"end": {"status": "completed"}}, "status is"),
        ({"note": {"note": "a"}}, {"note": {"note": "b"}}, "the note is"),
        ({"tags": {"a": 1}}, {"tags": {"a": True}}, "tag 'a' is true here and 1 in the zip"),
    ],
)
def test_conflict_is_refused_by_name_and_changes_nothing(
    source: Client, target: Client, source_part: dict[str, Any], target_part: dict[str, Any], message: str
) -> None:
    log(source, "r", run={})
    push(source, target)
    log(source, "r", **source_part)
    log(target, "r", **target_part)
    before = fetch_everything(target)
    with pytest.raises(NotPushed, match=message) as fault:
        Push(source, target, overwrite=False).push("r", int)
    assert fault.value.error == "conflict"
    assert fetch_everything(target) == before


def test_artifact_overwritten_in_both_places_is_refused_before_it_is_sent(source: Client, target: Client) -> None:
    log(source, "r", run={}, artifacts={"a": b"1"})
    push(source, target)
    log(source, "r", artifacts={"a": b"2" * 300_000})
    log(target, "r", artifacts={"a": b"3"})
    counts: list[int] = []
    with pytest.raises(NotPushed, match="given other bytes in both places"):
        Push(source, target, overwrite=False).push("r", counts.append)
    assert counts == []


def test_overwrite_replaces_tags_and_note_by_those_of_the_source(source: Client, target: Client) -> None:
    log(source, "r", run={"tags": {"a": 1}}, note={"note": "a"})
    push(source, target)
    log(source, "r", tags={"a": 2}, note={"note": "b"})
    log(target, "r", tags={"theirs": 1})
    assert push(source, target, overwrite=True)[0] == "updated"
    assert target.get("/api/tags/r") == {"a": 2, "theirs": 1}
    assert target.get("/api/runs/r")["note"] == "b"
    assert push(source, target, overwrite=True) == ("unchanged", 0)


def test_overwrite_keeps_what_only_the_target_has(source: Client, target: Client) -> None:
    log(source, "r", run={"tags": {"a": 1}})
    push(source, target)
    log(target, "r", tags={"a": 2, "theirs": 1}, note={"note": "of the team"})
    assert push(source, target, overwrite=True)[0] == "updated"
    assert target.get("/api/tags/r") == {"a": 1, "theirs": 1}
    assert target.get("/api/runs/r")["note"] == "of the team"


# -- in several requests, and while the run changes


def test_large_run_is_sent_in_parts_that_are_each_a_valid_run(
    source: Client, target: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "PIECE_BYTES", 1000)
    contents = {f"{number}": bytes([number]) * 400 for number in range(5)} | {"large": b"l" * 5000}
    log(source, "r", run={}, params={"lr": 1}, metrics={"loss": 1}, artifacts=contents, end={"status": "completed"})
    states: list[tuple[str, int]] = []

    class WatchingClient(HttpClient):
        def ask(self, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
            response = super().ask(method, path, *arguments, **options)
            if method == "POST":
                response.content()
                run = target.get("/api/runs/r")
                assert run["metrics"] == {"loss": 1} and run["params"] == {"lr": 1}
                states.append((run["status"], len(run["artifacts"])))
                return target.ask(
                    "POST",
                    "/api/w/import",
                    body=target.ask("GET", "/api/runs/r/download").content(),
                    content_type=push_module.ZIP,
                )
            return response

    with WatchingClient(server.url) as client:
        Push(source, client, overwrite=False).push("r", int)
    assert states == [("running", 2), ("running", 4), ("running", 5), ("completed", 6)]
    assert fetch_everything(target) == fetch_everything(source)
    monkeypatch.setattr(push_module, "_MAX_ARTIFACTS", 2)
    log(source, "many", run={}, artifacts={f"{number}": b"1" for number in range(5)})
    zips = count_sent_zips(server.log)
    push(source, target, "many")
    assert count_sent_zips(server.log) == zips + 3
    assert push(source, target) == ("unchanged", 0)


class ChangingStore(FolderClient):
    """A store that changes just before each of the first few downloads."""

    def __init__(self, data: Path, change: Callable[[Client], object], times: int) -> None:
        super().__init__(data, writes=True)
        self._change, self._times = change, times

    def ask(self, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
        if (path.endswith("download") or "/files/" in path) and self._times > 0:
            self._times -= 1
            self._change(self)
        return super().ask(method, path, *arguments, **options)


@pytest.mark.parametrize("times", [1, 3])
def test_run_that_changes_during_the_push_is_sent_again(target: Client, source_folder: Path, times: int) -> None:
    numbers = iter(range(1, 100))

    def change(client: Client) -> None:
        number = next(numbers)
        log(
            client, "r", metrics={"loss": number, "step": number}, artifacts={"last": b"%d" % number, f"{number}": b"n"}
        )

    with ChangingStore(source_folder, change, times) as source:
        FolderClient.ask(
            source, "POST", "/api/w/runs", body=b'{"experiment":"a","id":"r"}', content_type="application/json"
        )
        log(source, "r", metrics={"loss": 0}, artifacts={"last": b"0"})
        push(source, target)
        assert fetch_everything(target) == fetch_everything(source)


def test_push_of_a_run_that_never_stops_changing_fails(target: Client, source_folder: Path) -> None:
    numbers = iter(range(1, 100))
    with ChangingStore(
        source_folder, lambda client: log(client, "r", artifacts={"last": b"%d" % next(numbers)}), 99
    ) as source:
        log(source, "r", run={}, artifacts={"last": b"0"})
        with pytest.raises(NotPushed, match="'last'"):
            Push(source, target, overwrite=False).push("r", int)
    assert target.get("/api/runs") == []


def test_run_deleted_from_the_target_during_the_push_is_sent_whole(
    source: Client, target: Client, source_folder: Path, server: Server
) -> None:
    log(source, "r", run={}, artifacts={"a": b"1", "b": b"2"})
    push(source, target)
    log(source, "r", artifacts={"b": b"3"})

    class RemovingClient(HttpClient):
        def ask(self, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
            if method == "POST" and count_sent_zips(server.log) == 1:
                target.ask("DELETE", "/api/w/runs/r").content()
            return super().ask(method, path, *arguments, **options)

    with RemovingClient(server.url) as client:
        Push(source, client, overwrite=False).push("r", int)
    assert fetch_everything(target) == fetch_everything(source)


# -- damage


def test_run_missing_from_the_target_after_the_push_is_an_error(source: Client, target: Client, server: Server) -> None:
    log(source, "r", run={}, artifacts={"a": b"1"})

    class LosingClient(HttpClient):
        def ask(self, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
            response = super().ask(method, path, *arguments, **options)
            if method == "POST":
                content = response.content()
                target.ask("DELETE", "/api/w/runs/r").content()
                return Answer(200, {}, io.BytesIO(content))
            return response

    with LosingClient(server.url) as client, pytest.raises(NotPushed, match="does not have what was sent"):
        Push(source, client, overwrite=False).push("r", int)


def test_damaged_source_is_not_sent(source: Client, target: Client, source_folder: Path, server: Server) -> None:
    log(source, "r", run={}, artifacts={"a": b"1" * 1000})
    (source_folder / "runs/r/blobs/a").write_bytes(b"2" * 1000)
    with pytest.raises(NotPushed, match="damaged: the bytes of artifact 'a' do not match its sha256"):
        Push(source, target, overwrite=False).push("r", int)
    (source_folder / "runs/r/blobs/a").unlink()
    with pytest.raises(NotPushed, match="no such artifact"):
        Push(source, target, overwrite=False).push("r", int)
    (source_folder / "runs/r/metrics.jsonl").write_bytes(b"{damage\n")
    with pytest.raises(NotPushed, match="metrics.jsonl has 1 damaged line; `chachaml-lite verify --repair`"):
        Push(source, target, overwrite=False).push("r", int)
    assert target.get("/api/runs") == []
    # The server removes the temporary file of a broken upload when it notices that the connection has ended.
    wait_until(lambda: not any("~" in name for _, _, names in os.walk(server.data / "runs") for name in names))


@pytest.mark.parametrize("replacement", [(b"an artifact", b"an ARTIFACT"), (b'"loss"', b'"LOSS"')])
def test_bytes_corrupted_in_transit_are_refused(
    source: Client, target: Client, server: Server, replacement: tuple[bytes, bytes]
) -> None:
    log(source, "r", run={}, metrics={"loss": 1}, artifacts={"a": b"an artifact of bytes"})
    raises_not_pushed = pytest.raises(NotPushed, match="bad request: the zip is not imported: .*CRC|sha256")
    with (
        start_proxy(server.port, replacement=replacement) as corrupting_proxy,
        HttpClient(corrupting_proxy.url) as client,
        raises_not_pushed,
    ):
        Push(source, client, overwrite=False).push("r", int)
    assert target.get("/api/runs") == []
    assert push(source, target)[0] == "imported"
