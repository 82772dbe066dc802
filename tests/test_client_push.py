"""Runs pushed from a store to a server: equal at the other end, nothing sent twice, nothing false sent or left."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.proxies import proxy, public, sent_zips
from support.servers import Running, eventually
from support.snapshots import files_of

from chachaml_lite.client import push as push_module
from chachaml_lite.client.base import OCTETS, Answer, Client, build_path
from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import HttpClient
from chachaml_lite.client.push import NotPushed, Push

Serve = Callable[..., Running]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of the store that runs come from."""
    return tmp_path / "home"


@pytest.fixture
def source(home: Path) -> Iterator[FolderClient]:
    with FolderClient(home, writes=True) as client:
        yield client


@pytest.fixture
def target(server: Running) -> Iterator[HttpClient]:
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


#: All that a run can have.
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


def full_run(source: Client, home: Path) -> Path:
    """A run "r" with all of it, and with what only a hand can have put there; its folder."""
    log(source, "r", **FULL)
    log(source, "r", metrics={"loss": 0.5, "step": 2}, artifacts={"model.pkl": b"newer"})
    folder = home / "runs/r"
    (folder / "mine" / "deep").mkdir(parents=True)
    (folder / "mine/deep/notes.txt").write_text("kept")
    (folder / "empty.txt").write_bytes(b"")
    meta = json.loads((folder / "meta.json").read_bytes())
    (folder / "meta.json").write_text(json.dumps({**meta, "mine": {"kept": [1, 2.5]}}, indent=2))
    return folder


def push(source: Client, target: Client, run_id: str = "r", *, overwrite: bool = False) -> tuple[str, int]:
    """Push a run and return the outcome and the bytes of files sent; then the target is complete."""
    counts: list[int] = []
    pushed = Push(source, target, overwrite=overwrite)
    done = pushed.push(run_id, counts.append)
    assert pushed.push(run_id, counts.append) == "unchanged"
    return done, sum(counts)


def everything(client: Client, run_id: str = "r") -> list[Any]:
    run = public(client.get(build_path("api", "runs", run_id)))
    names = [each["name"].split("/") for each in run["artifacts"]]
    blobs = [client.ask("GET", build_path("api", "artifacts", run_id, *name, "download")).content() for name in names]
    return [run, client.get(build_path("api", "runs", run_id, "metrics")), blobs]


def stored(folder: Path) -> dict[str, bytes | None]:
    """The files of a run that mean something, the JSON ones as values."""
    found: dict[str, Any] = files_of(folder)
    found.pop("summary.json", None)
    return {path: json.loads(found[path]) if path.endswith(".json") else found[path] for path in found}


# -- there


def test_all_of_a_run_arrives_as_it_is(source: Client, target: Client, home: Path, server: Running) -> None:
    folder = full_run(source, home)
    log(source, "r", end={"status": "failed", "error": "boom"})
    done, _ = push(source, target)
    assert done == "imported"
    assert everything(target) == everything(source)
    assert stored(server.data / "runs/r") == stored(folder)
    assert sent_zips(server.log) == 1  # a small run is one zip
    digests = [client.get("/api/digests", [("ids", "r")]) for client in (source, target)]
    assert digests[0] == digests[1]
    written = [client.get("/api/runs/r")["last_write_time"] for client in (source, target)]
    assert written[0] - written[1] in range(1000)  # a zip knows whole seconds


def test_run_that_goes_on_is_pushed_again_and_again_and_only_what_is_new_is_sent(
    source: Client, target: Client, home: Path, server: Running
) -> None:
    folder = full_run(source, home)
    assert push(source, target)[0] == "imported"
    large = len(ARTIFACTS["a:b/step?.pt"])
    steps: list[Callable[[], object]] = [
        lambda: log(source, "r", params={"new": None}),
        lambda: log(source, "r", metrics={"loss": 0.5, "step": 2}),  # the same latest value, once more
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
        zips = sent_zips(server.log)
        done, sent = push(source, target)
        assert (done, sent < large) == ("updated", True)
        assert sent_zips(server.log) == zips + 1
        assert everything(target) == everything(source)
    assert Push(source, target, overwrite=False).compare(["r", "none"])[2] == ["none"]


def test_file_of_no_points_is_nothing_that_anybody_lacks(source: Client, target: Client, home: Path) -> None:
    log(source, "r", run={})
    assert push(source, target)[0] == "imported"
    (home / "runs/r/metrics.jsonl").write_bytes(b"")
    assert push(source, target) == ("unchanged", 0)
    log(target, "r", metrics={"loss": 1})
    assert push(source, target) == ("unchanged", 0)


def test_what_the_target_has_besides_is_left_there_and_nothing_is_sent_for_it(
    source: Client, target: Client, server: Running
) -> None:
    log(source, "r", **FULL)
    assert push(source, target)[0] == "imported"
    more = {"metrics": {"loss": 9, "step": 9}, "tags": {"theirs": 1}, "datasets": {"role": "theirs"}}
    log(target, "r", params={"theirs": 1}, artifacts={"theirs": b"1", "model.pkl": b"better"}, **more)
    log(target, "r", end={"status": "completed"})
    before, zips = everything(target), sent_zips(server.log)
    assert Push(source, target, overwrite=False).compare(["r"])[0] == ["r"]
    assert push(source, target) == ("unchanged", 0)
    assert (everything(target), sent_zips(server.log)) == (before, zips)


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
    ("here", "there", "told"),
    [
        ({"params": {"lr": 2}}, {"params": {"lr": 3}}, "param 'lr' is 3 here and 2 in the zip"),
        ({"metrics": {"loss": 1}}, {"metrics": {"loss": 2}}, "its points differ from line 1 of metrics.jsonl on"),
        ({"artifacts": {"a": b"1"}}, {"artifacts": {"a": b"2"}}, "artifact 'a' was given other bytes in both places"),
        ({"end": {"status": "failed"}}, {"end": {"status": "completed"}}, "status is"),
        ({"note": {"note": "a"}}, {"note": {"note": "b"}}, "the note is"),
        ({"tags": {"a": 1}}, {"tags": {"a": True}}, "tag 'a' is true here and 1 in the zip"),
    ],
)
def test_what_contradicts_itself_is_refused_and_named_and_nothing_is_changed(
    source: Client, target: Client, here: dict[str, Any], there: dict[str, Any], told: str
) -> None:
    log(source, "r", run={})
    push(source, target)
    log(source, "r", **here)
    log(target, "r", **there)
    before = everything(target)
    with pytest.raises(NotPushed, match=told) as fault:
        Push(source, target, overwrite=False).push("r", int)
    assert fault.value.error == "conflict"
    assert everything(target) == before


def test_bytes_that_were_given_twice_are_not_sent_to_be_refused(source: Client, target: Client) -> None:
    log(source, "r", run={}, artifacts={"a": b"1"})
    push(source, target)
    log(source, "r", artifacts={"a": b"2" * 300_000})
    log(target, "r", artifacts={"a": b"3"})
    sent: list[int] = []
    with pytest.raises(NotPushed, match="given other bytes in both places"):
        Push(source, target, overwrite=False).push("r", sent.append)
    assert sent == []


def test_overwrite_takes_tags_and_note_of_here(source: Client, target: Client) -> None:
    log(source, "r", run={"tags": {"a": 1}}, note={"note": "a"})
    push(source, target)
    log(source, "r", tags={"a": 2}, note={"note": "b"})
    log(target, "r", tags={"theirs": 1})
    assert push(source, target, overwrite=True)[0] == "updated"
    assert target.get("/api/tags/r") == {"a": 2, "theirs": 1}
    assert target.get("/api/runs/r")["note"] == "b"
    assert push(source, target, overwrite=True) == ("unchanged", 0)


def test_overwrite_takes_nothing_away_that_is_only_there(source: Client, target: Client) -> None:
    log(source, "r", run={"tags": {"a": 1}})
    push(source, target)
    log(target, "r", tags={"a": 2, "theirs": 1}, note={"note": "of the team"})
    assert push(source, target, overwrite=True)[0] == "updated"
    assert target.get("/api/tags/r") == {"a": 1, "theirs": 1}
    assert target.get("/api/runs/r")["note"] == "of the team"


# -- in parts, and while it changes


def test_large_run_goes_in_parts_each_of_which_is_true(
    source: Client, target: Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "PIECE_BYTES", 1000)
    contents = {f"{number}": bytes([number]) * 400 for number in range(5)} | {"large": b"l" * 5000}
    log(source, "r", run={}, params={"lr": 1}, metrics={"loss": 1}, artifacts=contents, end={"status": "completed"})
    seen: list[tuple[str, int]] = []

    class Watching(HttpClient):
        def ask(self, method: str, path: str, *arguments: Any, **named: Any) -> Answer:
            answer = super().ask(method, path, *arguments, **named)
            if method == "POST":
                answer.content()
                run = target.get("/api/runs/r")
                assert run["metrics"] == {"loss": 1} and run["params"] == {"lr": 1}
                seen.append((run["status"], len(run["artifacts"])))
                return target.ask(
                    "POST",
                    "/api/w/import",
                    body=target.ask("GET", "/api/runs/r/download").content(),
                    content_type=push_module.ZIP,
                )
            return answer

    with Watching(server.url) as watching:
        Push(source, watching, overwrite=False).push("r", int)
    assert seen == [("running", 2), ("running", 4), ("running", 5), ("completed", 6)]
    assert everything(target) == everything(source)
    monkeypatch.setattr(push_module, "_MAX_ARTIFACTS", 2)
    log(source, "many", run={}, artifacts={f"{number}": b"1" for number in range(5)})
    zips = sent_zips(server.log)
    push(source, target, "many")
    assert sent_zips(server.log) == zips + 3
    assert push(source, target) == ("unchanged", 0)


class Changing(FolderClient):
    """A store in which something happens just before bytes are asked for."""

    def __init__(self, data: Path, change: Callable[[Client], object], times: int) -> None:
        super().__init__(data, writes=True)
        self._change, self._times = change, times

    def ask(self, method: str, path: str, *arguments: Any, **named: Any) -> Answer:
        if (path.endswith("download") or "/files/" in path) and self._times > 0:
            self._times -= 1
            self._change(self)
        return super().ask(method, path, *arguments, **named)


@pytest.mark.parametrize("times", [1, 3])
def test_what_changes_while_it_is_sent_is_sent_anew(target: Client, home: Path, times: int) -> None:
    numbers = iter(range(1, 100))

    def change(client: Client) -> None:
        number = next(numbers)
        log(
            client, "r", metrics={"loss": number, "step": number}, artifacts={"last": b"%d" % number, f"{number}": b"n"}
        )

    with Changing(home, change, times) as source:
        FolderClient.ask(
            source, "POST", "/api/w/runs", body=b'{"experiment":"a","id":"r"}', content_type="application/json"
        )
        log(source, "r", metrics={"loss": 0}, artifacts={"last": b"0"})
        push(source, target)
        assert everything(target) == everything(source)


def test_one_that_never_keeps_still_is_given_up(target: Client, home: Path) -> None:
    numbers = iter(range(1, 100))
    with Changing(home, lambda client: log(client, "r", artifacts={"last": b"%d" % next(numbers)}), 99) as source:
        log(source, "r", run={}, artifacts={"last": b"0"})
        with pytest.raises(NotPushed, match="'last'"):
            Push(source, target, overwrite=False).push("r", int)
    assert target.get("/api/runs") == []


def test_run_that_is_gone_at_the_other_end_meanwhile_is_sent_whole(
    source: Client, target: Client, home: Path, server: Running
) -> None:
    log(source, "r", run={}, artifacts={"a": b"1", "b": b"2"})
    push(source, target)
    log(source, "r", artifacts={"b": b"3"})

    class Removing(HttpClient):
        def ask(self, method: str, path: str, *arguments: Any, **named: Any) -> Answer:
            if method == "POST" and sent_zips(server.log) == 1:
                target.ask("DELETE", "/api/w/runs/r").content()
            return super().ask(method, path, *arguments, **named)

    with Removing(server.url) as removing:
        Push(source, removing, overwrite=False).push("r", int)
    assert everything(target) == everything(source)


# -- damage


def test_what_is_not_there_after_it_was_sent_is_not_called_pushed(
    source: Client, target: Client, server: Running
) -> None:
    log(source, "r", run={}, artifacts={"a": b"1"})

    class Losing(HttpClient):
        def ask(self, method: str, path: str, *arguments: Any, **named: Any) -> Answer:
            answer = super().ask(method, path, *arguments, **named)
            if method == "POST":
                done = answer.content()
                target.ask("DELETE", "/api/w/runs/r").content()
                return Answer(200, {}, io.BytesIO(done))
            return answer

    with Losing(server.url) as losing, pytest.raises(NotPushed, match="does not have what was sent"):
        Push(source, losing, overwrite=False).push("r", int)


def test_bytes_that_are_damaged_where_they_come_from_are_not_sent(
    source: Client, target: Client, home: Path, server: Running
) -> None:
    log(source, "r", run={}, artifacts={"a": b"1" * 1000})
    (home / "runs/r/blobs/a").write_bytes(b"2" * 1000)
    with pytest.raises(NotPushed, match="damaged: the bytes of artifact 'a' do not match its sha256"):
        Push(source, target, overwrite=False).push("r", int)
    (home / "runs/r/blobs/a").unlink()
    with pytest.raises(NotPushed, match="no such artifact"):
        Push(source, target, overwrite=False).push("r", int)
    (home / "runs/r/metrics.jsonl").write_bytes(b"{damage\n")
    with pytest.raises(NotPushed, match="metrics.jsonl has 1 damaged line; `chachaml-lite verify --repair`"):
        Push(source, target, overwrite=False).push("r", int)
    assert target.get("/api/runs") == []
    # The server drops what came of a broken upload when it sees the end of its connection.
    eventually(lambda: not any("~" in name for _, _, names in os.walk(server.data / "runs") for name in names))


@pytest.mark.parametrize("bend", [(b"an artifact", b"an ARTIFACT"), (b'"loss"', b'"LOSS"')])
def test_bytes_that_are_bent_on_the_way_are_found_out(
    source: Client, target: Client, server: Running, bend: tuple[bytes, bytes]
) -> None:
    log(source, "r", run={}, metrics={"loss": 1}, artifacts={"a": b"an artifact of bytes"})
    refused = pytest.raises(NotPushed, match="bad request: the zip is not imported: .*CRC|sha256")
    with proxy(server.port, bend=bend) as bad, HttpClient(bad.url) as bending, refused:
        Push(source, bending, overwrite=False).push("r", int)
    assert target.get("/api/runs") == []
    assert push(source, target)[0] == "imported"
