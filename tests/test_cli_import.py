"""`chachaml-lite import` as a process: downloaded or hand-made zips, into a server's store or a folder."""

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
from support.servers import PATIENCE_SECONDS, Server, environment, free_port
from support.snapshots import snapshot
from support.zips import META, build_zip, run_files
from test_api_run_download import peak_bytes
from test_client import stranger
from test_client_push import FULL, log

from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import HttpClient

Serve = Callable[..., Server]


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Serve, data: Path) -> list[str]:
    """The target of an import: a server's store, or the same folder without a server."""
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def import_json(*arguments: str, code: int = 0, **variables: str) -> Any:
    """Import and return the JSON output."""
    output = json.loads(cli("import", *arguments, "--json", code=code, env=variables).stdout)
    assert output.keys() == {"ok", "imported", "updated", "unchanged", "failed"}
    assert output["ok"] == (code == 0)
    return output


def list_run_folders(data: Path) -> list[str]:
    return sorted(path.name for path in data.glob("runs/*"))


def write_file(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_downloaded_zip_is_imported_without_a_difference(place: list[str], data: Path, tmp_path: Path) -> None:
    with FolderClient(tmp_path / "home", writes=True) as home:
        log(home, "r", **FULL, end={"status": "completed"})
        zip_path = write_file(tmp_path, "run.zip", home.ask("GET", "/api/runs/r/download").content())
    assert import_json(zip_path, *place)["imported"] == ["r"]
    target_files, source_files = snapshot(data / "runs/r"), snapshot(tmp_path / "home/runs/r")
    for files in (target_files, source_files):
        files.pop("summary.json", None)
    assert target_files == source_files
    output = import_json(zip_path, *place)
    assert (output["imported"], output["unchanged"]) == ([], ["r"])
    result = cli("import", zip_path, *place)
    assert result.stdout == f"importing {zip_path} into {place[1]}\n0 imported, 0 updated, 1 unchanged\n"


def test_zips_made_by_hand_and_by_github_are_imported(
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
    assert import_json(*zips, *place)["imported"] == ["a", "b", "c"]
    assert list_run_folders(data) == [".incoming", "a", "b", "c"]


def build_zip_with_link() -> bytes:
    """Build a zip with a symbolic link in it."""
    buffer = io.BytesIO(build_zip(run_files()))
    with zipfile.ZipFile(buffer, "a") as archive:
        entry = zipfile.ZipInfo("r/link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


BAD: dict[str, tuple[bytes, str]] = {
    "slip.zip": (build_zip(run_files() | {"r/../../evil": b"x"}), r"\.\. segment"),
    "bomb.zip": (build_zip(run_files() | {"r/zeros": bytes(70_000_000)}), "200 times its own size"),
    "link.zip": (build_zip_with_link(), "is a link"),
    "text.zip": (b"no zip at all", "no zip file"),
    "empty.zip": (build_zip({}), "holds no run"),
    "name-\x1b[31m.zip": (build_zip(run_files(start_time="never")), "no good start_time"),
}


def test_invalid_zip_is_refused_by_name_and_the_others_are_imported(
    place: list[str], data: Path, tmp_path: Path
) -> None:
    good = [write_file(tmp_path, f"{name}.zip", build_zip(run_files(name))) for name in ("a", "b")]
    bad = [write_file(tmp_path, name, content) for name, (content, _) in BAD.items()]
    output = import_json(good[0], *bad, good[1], *place, code=1)
    assert output["imported"] == ["a", "b"]
    assert [each["file"] for each in output["failed"]] == bad
    for each, (_, message) in zip(output["failed"], BAD.values(), strict=True):
        assert (each["error"], each.keys()) == ("bad request", {"file", "error", "detail"})
        assert re.search(message, each["detail"])
    assert list_run_folders(data) == [".incoming", "a", "b"]
    assert not (tmp_path / "evil").exists()
    result = cli("import", *bad, *place, code=1)
    assert result.stdout.splitlines()[1:] == ["0 imported, 0 updated, 0 unchanged, 6 failed"]
    assert result.stderr.count("\nchachaml-lite: ") == 5
    assert "\x1b" not in result.stderr
    assert os.listdir(data / "runs/.incoming") == []


def test_conflicting_zip_is_refused_without_overwrite(place: list[str], tmp_path: Path) -> None:
    mine = write_file(tmp_path, "mine.zip", build_zip(run_files(tags={"a": 1})))
    theirs = write_file(tmp_path, "theirs.zip", build_zip(run_files(tags={"a": 2})))
    assert import_json(mine, *place)["imported"] == ["r"]
    output = import_json(theirs, *place, code=1)
    assert output["failed"][0]["error"] == "conflict"
    assert import_json(theirs, *place, "--overwrite")["updated"] == ["r"]


def test_zip_from_standard_input(place: list[str], tmp_path: Path) -> None:
    zip_path = write_file(tmp_path, "run.zip", build_zip(run_files() | {"r/large": os.urandom(3_000_000)}))
    script = 'cat "$0" | "$@"'
    for kind in ("imported", "unchanged"):
        command = ["sh", "-c", script, zip_path, *COMMAND, "import", "-", "--json", *place]
        result = subprocess.run(command, env=environment(), capture_output=True, timeout=PATIENCE_SECONDS)
        assert (result.returncode, result.stderr.decode()) == (0, f"importing stdin into {place[1]}\n")
        assert json.loads(result.stdout)[kind] == ["r"]
    with open(zip_path, "rb") as file:
        command = [*COMMAND, "import", "-", "--json", *place]
        result = subprocess.run(command, stdin=file, env=environment(), capture_output=True, timeout=PATIENCE_SECONDS)
    assert json.loads(result.stdout)["unchanged"] == ["r"]


def test_missing_file_or_folder_is_exit_code_2_and_nothing_is_imported(
    place: list[str], data: Path, tmp_path: Path
) -> None:
    good = write_file(tmp_path, "good.zip", build_zip(run_files()))
    for arguments, message in (
        ([good, str(tmp_path / "none.zip")], "none.zip' does not exist"),
        ([good, str(tmp_path)], "is a folder; to add a run's folder to a store, copy it into runs/"),
        ([], "Missing argument 'FILE...'"),
    ):
        result = cli("import", *arguments, *place, code=2)
        assert message in result.stderr
        assert result.stdout == ""
    assert not (data / "runs/r").exists()


def test_folder_owned_by_a_server_is_refused_and_the_server_imports(server: Server, tmp_path: Path) -> None:
    zip_path = write_file(tmp_path, "run.zip", build_zip(run_files()))
    result = cli("import", zip_path, "--data", str(server.data), code=3)
    assert re.fullmatch(r"chachaml-lite: another server owns this store.*\n", result.stderr)
    assert import_json(zip_path, CHACHAML_URL=server.url, CHACHAML_DATA="/nowhere")["imported"] == ["r"]


def test_exit_codes_for_refusals_and_unreachable_servers(serve: Serve, tmp_path: Path) -> None:
    server = serve("--token", "geheim", "--max-upload", "100000")
    zip_path = write_file(tmp_path, "run.zip", build_zip(run_files()))
    large = write_file(
        tmp_path, "large.zip", build_zip({"r/meta.json": json.dumps(META).encode(), "r/x": os.urandom(200_000)})
    )
    for token in ([], ["--token", "x"]):
        assert "unauthorized" in cli("import", zip_path, "--url", server.url, *token, code=2).stderr
    output = import_json(large, zip_path, "--url", server.url, code=1, CHACHAML_TOKEN="geheim")
    assert (output["imported"], output["failed"][0]["error"]) == (["r"], "body too large")
    result = cli("import", zip_path, "--url", f"http://localhost:{free_port()}", code=3)
    assert result.stderr.startswith("chachaml-lite: no server responds at")
    for status, body, code, message in (
        (404, b'{"error": "not found", "detail": "no such route"}', 2, "older than this"),
        (200, b'{"imported": 1}', 3, "a chachaml-lite server"),
    ):
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
        with stranger(head.encode() + body) as port:
            assert message in cli("import", zip_path, "--url", f"http://127.0.0.1:{port}", code=code).stderr


def test_large_zip_is_never_loaded_into_memory(server: Server, tmp_path: Path) -> None:
    zip_path = tmp_path / "run.zip"
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("r/meta.json", json.dumps(META))
        with archive.open("r/large.bin", "w") as file:
            for _ in range(200):
                file.write(bytes(1_000_000))
    command = [*COMMAND, "import", str(zip_path), "--url", server.url]
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
