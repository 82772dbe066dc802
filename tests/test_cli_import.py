"""`chachaml-lite import` as a process: zips that were downloaded or made by hand, into a server's store or a folder."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import COMMAND, cli
from support.servers import PATIENCE_SECONDS, Running, environment, free_port
from support.snapshots import files_of
from support.zips import META, run_files, stream_zip
from test_api_run_download import peak_bytes
from test_client import stranger
from test_client_push import FULL, log

from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import HttpClient

Serve = Callable[..., Running]


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Serve, data: Path) -> list[str]:
    """The target of an import: a server's store, or the same folder without a server."""
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def imported(*arguments: str, code: int = 0, **variables: str) -> Any:
    """Return the JSON output of an import."""
    found = json.loads(cli("import", *arguments, "--json", code=code, env=variables).stdout)
    assert found.keys() == {"ok", "imported", "updated", "unchanged", "failed"}
    assert found["ok"] == (code == 0)
    return found


def runs_in(data: Path) -> list[str]:
    return sorted(path.name for path in data.glob("runs/*"))


def put(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_zip_that_was_downloaded_is_that_run(place: list[str], data: Path, tmp_path: Path) -> None:
    with FolderClient(tmp_path / "home", writes=True) as home:
        log(home, "r", **FULL, end={"status": "completed"})
        zipped = put(tmp_path, "run.zip", home.ask("GET", "/api/runs/r/download").content())
    assert imported(zipped, *place)["imported"] == ["r"]
    there, here = files_of(data / "runs/r"), files_of(tmp_path / "home/runs/r")
    for files in (there, here):
        files.pop("summary.json", None)
    assert there == here
    found = imported(zipped, *place)
    assert (found["imported"], found["unchanged"]) == ([], ["r"])
    done = cli("import", zipped, *place)
    assert done.stdout == f"importing {zipped} into {place[1]}\n0 imported, 0 updated, 1 unchanged\n"


def test_zips_made_by_hand_and_by_github_are_taken(
    place: list[str], data: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    with FolderClient(tmp_path / "home", writes=True) as home:
        for run_id in ("a", "b", "c"):
            log(home, run_id, run={}, metrics={"loss": 1}, artifacts={"m": b"1"})
    runs = tmp_path / "home/runs"
    subprocess.run([tool("zip"), "-qr", tmp_path / "two.zip", "a", "b"], cwd=runs, check=True, timeout=PATIENCE_SECONDS)
    with zipfile.ZipFile(tmp_path / "github.zip", "w", zipfile.ZIP_DEFLATED) as archive:  # no folders, deflated
        for path in sorted((runs / "c").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(runs))
    zips = [str(tmp_path / name) for name in ("two.zip", "github.zip")]
    assert imported(*zips, *place)["imported"] == ["a", "b", "c"]
    assert runs_in(data) == [".incoming", "a", "b", "c"]


def link() -> bytes:
    """A zip in which there is a symbolic link."""
    made = io.BytesIO(stream_zip(run_files()))
    with zipfile.ZipFile(made, "a") as archive:
        entry = zipfile.ZipInfo("r/link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return made.getvalue()


BAD: dict[str, tuple[bytes, str]] = {
    "slip.zip": (stream_zip(run_files() | {"r/../../evil": b"x"}), r"\.\. segment"),
    "bomb.zip": (stream_zip(run_files() | {"r/zeros": bytes(70_000_000)}), "200 times its own size"),
    "link.zip": (link(), "is a link"),
    "text.zip": (b"no zip at all", "no zip file"),
    "empty.zip": (stream_zip({}), "holds no run"),
    "name-\x1b[31m.zip": (stream_zip(run_files(start_time="never")), "no good start_time"),
}


def test_what_is_bent_is_refused_by_name_and_the_others_are_imported(
    place: list[str], data: Path, tmp_path: Path
) -> None:
    good = [put(tmp_path, f"{name}.zip", stream_zip(run_files(name))) for name in ("a", "b")]
    bad = [put(tmp_path, name, content) for name, (content, _) in BAD.items()]
    found = imported(good[0], *bad, good[1], *place, code=1)
    assert found["imported"] == ["a", "b"]
    assert [each["file"] for each in found["failed"]] == bad
    for each, (_, told) in zip(found["failed"], BAD.values(), strict=True):
        assert (each["error"], each.keys()) == ("bad request", {"file", "error", "detail"})
        assert re.search(told, each["detail"])
    assert runs_in(data) == [".incoming", "a", "b"]
    assert not (tmp_path / "evil").exists()
    done = cli("import", *bad, *place, code=1)
    assert done.stdout.splitlines()[1:] == ["0 imported, 0 updated, 0 unchanged, 6 failed"]
    assert done.stderr.count("\nchachaml-lite: ") == 5
    assert "\x1b" not in done.stderr
    assert os.listdir(data / "runs/.incoming") == []


def test_what_contradicts_is_refused_and_overwrite_takes_what_may_be_taken(place: list[str], tmp_path: Path) -> None:
    mine = put(tmp_path, "mine.zip", stream_zip(run_files(tags={"a": 1})))
    theirs = put(tmp_path, "theirs.zip", stream_zip(run_files(tags={"a": 2})))
    assert imported(mine, *place)["imported"] == ["r"]
    found = imported(theirs, *place, code=1)
    assert found["failed"][0]["error"] == "conflict"
    assert imported(theirs, *place, "--overwrite")["updated"] == ["r"]


def test_zip_comes_from_standard_input_too(place: list[str], tmp_path: Path) -> None:
    zipped = put(tmp_path, "run.zip", stream_zip(run_files() | {"r/large": os.urandom(3_000_000)}))
    script = 'cat "$0" | "$@"'
    for kind in ("imported", "unchanged"):
        command = ["sh", "-c", script, zipped, *COMMAND, "import", "-", "--json", *place]
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=PATIENCE_SECONDS)
        assert (done.returncode, done.stderr.decode()) == (0, f"importing stdin into {place[1]}\n")
        assert json.loads(done.stdout)[kind] == ["r"]
    with open(zipped, "rb") as file:
        command = [*COMMAND, "import", "-", "--json", *place]
        done = subprocess.run(command, stdin=file, env=environment(), capture_output=True, timeout=PATIENCE_SECONDS)
    assert json.loads(done.stdout)["unchanged"] == ["r"]


def test_files_that_are_not_there_and_folders_are_2_and_nothing_is_imported(
    place: list[str], data: Path, tmp_path: Path
) -> None:
    good = put(tmp_path, "good.zip", stream_zip(run_files()))
    for arguments, told in (
        ([good, str(tmp_path / "none.zip")], "none.zip' does not exist"),
        ([good, str(tmp_path)], "is a folder; to add a run's folder to a store, copy it into runs/"),
        ([], "Missing argument 'FILE...'"),
    ):
        done = cli("import", *arguments, *place, code=2)
        assert told in done.stderr
        assert done.stdout == ""
    assert not (data / "runs/r").exists()


def test_folder_that_a_server_owns_is_not_written_to(server: Running, tmp_path: Path) -> None:
    zipped = put(tmp_path, "run.zip", stream_zip(run_files()))
    done = cli("import", zipped, "--data", str(server.data), code=3)
    assert re.fullmatch(r"chachaml-lite: another server owns this store.*\n", done.stderr)
    assert imported(zipped, CHACHAML_URL=server.url, CHACHAML_DATA="/nowhere")["imported"] == ["r"]


def test_token_that_is_wrong_is_2_and_nobody_is_3(serve: Serve, tmp_path: Path) -> None:
    server = serve("--token", "geheim", "--max-upload", "100000")
    zipped = put(tmp_path, "run.zip", stream_zip(run_files()))
    large = put(
        tmp_path, "large.zip", stream_zip({"r/meta.json": json.dumps(META).encode(), "r/x": os.urandom(200_000)})
    )
    for token in ([], ["--token", "x"]):
        assert "unauthorized" in cli("import", zipped, "--url", server.url, *token, code=2).stderr
    found = imported(large, zipped, "--url", server.url, code=1, CHACHAML_TOKEN="geheim")
    assert (found["imported"], found["failed"][0]["error"]) == (["r"], "body too large")
    done = cli("import", zipped, "--url", f"http://localhost:{free_port()}", code=3)
    assert done.stderr.startswith("chachaml-lite: no server responds at")
    for status, answer, code, told in (
        (404, b'{"error": "not found", "detail": "no such route"}', 2, "older than this"),
        (200, b'{"imported": 1}', 3, "a chachaml-lite server"),
    ):
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n"
        with stranger(head.encode() + answer) as port:
            assert told in cli("import", zipped, "--url", f"http://127.0.0.1:{port}", code=code).stderr


def test_large_zip_is_never_in_memory(server: Running, tmp_path: Path) -> None:
    zipped = tmp_path / "run.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("r/meta.json", json.dumps(META))
        with archive.open("r/large.bin", "w") as file:
            for _ in range(200):
                file.write(bytes(1_000_000))
    command = [*COMMAND, "import", str(zipped), "--url", server.url]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout
        peak = 0
        while process.poll() is None:
            try:
                peak = max(peak, peak_bytes(process.pid))
            except (FileNotFoundError, StopIteration):
                break
        assert process.wait(PATIENCE_SECONDS) == 0
    assert 0 < peak < 100_000_000
    with HttpClient(server.url) as client:
        assert client.get("/api/runs/r")["id"] == "r"
