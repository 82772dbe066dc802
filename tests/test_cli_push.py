"""`chachaml-lite push` as a process: between servers and from a folder; interrupted, resumed, refused."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import COMMAND, cli
from support.proxies import count_sent_zips, omit_write_time, start_proxy
from support.servers import PATIENCE_SECONDS, Server, environment, free_port, run_server
from support.zips import META
from test_client import stranger
from test_client_push import log

from chachaml_lite.client.http import HttpClient
from chachaml_lite.commands import run_names

Serve = Callable[..., Server]
#: `push` in pieces of 1 MB instead of 64 MB.
SMALL = """
import runpy, sys
from chachaml_lite.client import push
push.PIECE_BYTES = 1_000_000
sys.argv[0] = "chachaml-lite"
runpy.run_module("chachaml_lite", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Server]:
    """The server that runs are pushed from."""
    with run_server(tmp_path / "home", tmp_path / "home-scratch") as server:
        yield server


@pytest.fixture
def source_with_runs(source: Server) -> Server:
    """The same server, with three runs."""
    with HttpClient(source.url) as client:
        for run_id, experiment, accuracy in (("one", "iris", 0.9), ("two", "iris", 0.5), ("three", "digits", 0.95)):
            parts = {"metrics": {"accuracy": accuracy}, "artifacts": {"m": run_id.encode()}}
            log(client, run_id, run={"experiment": experiment, "name": "☃"}, **parts, end={"status": "completed"})
    return source


def push_json(*arguments: str, code: int = 0, **variables: str) -> Any:
    """Push and return the JSON output."""
    output = json.loads(cli("push", *arguments, "--json", code=code, env=variables).stdout)
    assert output.keys() - {"unreadable"} == {"ok", "imported", "updated", "unchanged", "failed", "bytes"}
    assert output["ok"] == (code == 0)
    return output


def load_runs(server: Server, token: str | None = None) -> dict[str, Any]:
    with HttpClient(server.url, token) as client:
        return {run["id"]: omit_write_time(run) for run in client.get("/api/runs")}


def test_push_to_a_laptop_and_from_its_folder_to_a_team(
    source_with_runs: Server, server: Server, tmp_path: Path
) -> None:
    output = push_json(server.url, CHACHAML_URL=source_with_runs.url)
    assert (output["imported"], output["failed"]) == (["one", "two", "three"], [])
    assert load_runs(server) == load_runs(source_with_runs)
    assert push_json(server.url, "--url", source_with_runs.url)["unchanged"] == ["one", "two", "three"]
    assert count_sent_zips(server.log) == 3
    with run_server(tmp_path / "team", tmp_path / "team-scratch", "--token", "geheim ö") as team:
        # From the laptop's folder, while a server runs on it.
        result = cli("push", team.url, "--data", str(server.data), env={"CHACHAML_TO_TOKEN": "geheim ö"})
        assert result.stdout.splitlines()[-1].startswith("3 imported, 0 updated, 0 unchanged; ")
        assert "imported  three\n" in result.stdout
        assert result.stderr == ""
        assert load_runs(team, "geheim ö") == load_runs(source_with_runs)
        result = cli("push", team.url, "--data", str(server.data), "--to-token", "geheim ö")
        assert result.stdout.splitlines()[1:] == ["0 imported, 0 updated, 3 unchanged; 0 bytes sent"]


def test_unreadable_run_is_reported_if_all_runs_are_pushed(source_with_runs: Server, server: Server) -> None:
    (source_with_runs.data / "runs/two/meta.json").write_text("{")
    output = push_json(server.url, "--url", source_with_runs.url, code=1)
    assert (output["imported"], output["unreadable"]) == (["one", "three"], 1)
    result = cli("push", server.url, "--url", source_with_runs.url, code=1)
    assert "1 run in runs/ can't be read and is left out; run `chachaml-lite verify`" in result.stderr
    assert "unreadable" not in push_json(server.url, "one", "--url", source_with_runs.url)


def test_damage_outside_of_run_metadata_is_not_counted_as_an_unreadable_run(
    source_with_runs: Server, server: Server
) -> None:
    (source_with_runs.data / "models/broken").mkdir(parents=True)
    (source_with_runs.data / "models/broken/history.jsonl").write_text("{")
    (source_with_runs.data / "runs/not a run").mkdir()
    (source_with_runs.data / "runs/two/metrics.jsonl").write_bytes(b"{damage\n")
    output = push_json(server.url, "--url", source_with_runs.url, code=1)
    assert (output["imported"], output["unreadable"]) == (["one", "three"], 0)
    assert [(each["id"], each["error"]) for each in output["failed"]] == [("two", "damaged")]


def test_push_of_selected_runs_sends_no_others(source_with_runs: Server, server: Server) -> None:
    model = {"name": "best", "run_id": "three", "artifact": "m", "stage": "production"}
    with HttpClient(source_with_runs.url) as client:
        client.post("/api/w/models", model)
    cases = [
        (["-q", "metrics.accuracy < 0.6"], ["two"], []),
        (["-e", "digits"], ["three"], []),
        (["-e", "iris", "--query", "metrics.accuracy > 0.6"], ["one"], []),
        (["latest:iris", "production:best", "two", "two"], [], ["two", "three"]),
        (["-e", "nosuch"], [], []),
    ]
    for options, imported, unchanged in cases:
        output = push_json(server.url, "--url", source_with_runs.url, *options)
        assert (output["imported"], output["unchanged"]) == (imported, unchanged)


def test_default_source_is_the_artifacts_folder_or_else_the_local_server(
    source_with_runs: Server, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "artifacts").symlink_to(source_with_runs.data)
    (tmp_path / "empty").mkdir()
    script = "from chachaml_lite.commands import targets; "
    script += "targets.DEFAULT_URL = sys.argv.pop(1); from chachaml_lite.cli import main; main()"
    nowhere = f"http://localhost:{free_port()}"
    for folder, url, source in (
        (tmp_path, nowhere, "artifacts"),
        (tmp_path, source_with_runs.url, "artifacts"),
        (tmp_path / "empty", source_with_runs.url, source_with_runs.url),
    ):
        result = subprocess.run(
            [sys.executable, "-c", f"import sys; {script}", url, "push", server.url, "--json"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )
        assert result.returncode == 0, result.stderr
        assert result.stderr.decode().startswith(f"pushing from {source} ")
        output = json.loads(result.stdout)
        assert sorted(output["imported"] + output["unchanged"]) == ["one", "three", "two"]


def test_runs_beyond_one_page_are_all_pushed(serve: Serve, tmp_path: Path) -> None:
    ids: list[str] = []
    for number in range(25):
        folder = tmp_path / f"many/runs/run-{number:02}"
        folder.mkdir(parents=True)
        start = META["start_time"] - number
        (folder / "meta.json").write_text(json.dumps({**META, "id": folder.name, "start_time": start}))
        ids.insert(0, folder.name)
    server = serve("--fsync", "no")
    small = "import sys; from chachaml_lite.commands import run_names; from chachaml_lite.client import push; "
    small += "run_names._PAGE_RUNS = 10; push._URL_CHARACTERS = 50; from chachaml_lite.cli import main; main()"
    assert run_names._PAGE_RUNS == 1000
    for kind in ("imported", "unchanged"):
        result = subprocess.run(
            [sys.executable, "-c", small, "push", server.url, "--data", str(tmp_path / "many"), "--json"],
            env=environment(),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        assert json.loads(result.stdout)[kind] == ids  # oldest first


# -- interrupted and resumed


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_killed_push_leaves_a_valid_store_and_the_next_one_continues(source: Server, server: Server, how: str) -> None:
    contents = {f"{number}": os.urandom(600_000) for number in range(8)}
    with HttpClient(source.url) as client:
        log(client, "r", run={}, metrics={"loss": 1}, artifacts=contents, end={"status": "completed"})
    with start_proxy(server.port, hold_after=3_000_000) as stalled_proxy:
        arguments = ["push", stalled_proxy.url, "--url", source.url]
        with subprocess.Popen(
            [sys.executable, "-c", SMALL, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert stalled_proxy.limit_reached.wait(PATIENCE_SECONDS)
            process.kill() if how == "kill" else process.send_signal(2)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, err) == (-9 if how == "kill" else -2, b"")
        assert out.decode() == f"pushing from {source.url} to {stalled_proxy.url}\n"
    with HttpClient(server.url) as client:
        run = client.get("/api/runs/r")
        assert (run["status"], run["metrics"]) == ("running", {"loss": 1})
        arrived = len(run["artifacts"])
    assert 0 < arrived < 8
    assert cli("verify", "--data", str(server.data)).stdout.endswith(": all good\n")
    output = push_json(server.url, "--url", source.url)
    assert (output["updated"], output["bytes"]) == (["r"], 600_000 * (8 - arrived))
    assert load_runs(server) == load_runs(source)
    assert cli("verify", "--data", str(server.data)).stdout.endswith(": all good\n")


def test_server_lost_midway_is_exit_code_3_with_the_progress(source_with_runs: Server, server: Server) -> None:
    with HttpClient(source_with_runs.url) as client:
        log(client, "four", run={}, artifacts={"large": os.urandom(2_000_000)})
    with start_proxy(server.port, cut_after=1_000_000) as broken_proxy:
        result = cli("push", broken_proxy.url, "--url", source_with_runs.url, code=3)
        assert result.stderr.startswith(f"chachaml-lite: no server responds at {broken_proxy.url} (")
    assert result.stderr.endswith("; 3 of 4 runs are done; the next push continues from there\n")
    assert result.stdout.splitlines()[1] == "imported  one"
    with start_proxy(server.port, cut_after=1_000_000) as broken_proxy:
        output = push_json(broken_proxy.url, "--url", source_with_runs.url, code=3)
    assert (len(output["unchanged"]), output["imported"], output["failed"]) == (3, [], [])
    output = push_json(server.url, "--url", source_with_runs.url)
    assert (output["imported"], len(output["unchanged"])) == (["four"], 3)


# -- refused


def test_conflicting_run_is_named_and_the_others_are_pushed(source_with_runs: Server, server: Server) -> None:
    push_json(server.url, "--url", source_with_runs.url, "two")
    for client, note in ((HttpClient(source_with_runs.url), "mine"), (HttpClient(server.url), "theirs\x1b[31m")):
        with client:
            log(client, "two", note={"note": note})
    output = push_json(server.url, "--url", source_with_runs.url, code=1)
    assert (output["imported"], [each["id"] for each in output["failed"]]) == (["one", "three"], ["two"])
    assert (output["failed"][0]["error"], output["failed"][0].keys()) == ("conflict", {"id", "error", "detail"})
    result = cli("push", server.url, "--url", source_with_runs.url, code=1)
    assert result.stdout.splitlines()[1:] == ["0 imported, 0 updated, 2 unchanged, 1 failed; 0 bytes sent"]
    assert result.stderr.startswith("chachaml-lite: two: conflict: run two: the note is")
    assert "\x1b" not in result.stderr
    assert result.stderr.endswith("; add --overwrite to replace it\n")
    assert push_json(server.url, "--url", source_with_runs.url, "--overwrite")["updated"] == ["two"]


def test_run_over_the_targets_limit_is_refused_and_the_others_are_pushed(
    source_with_runs: Server, serve: Serve
) -> None:
    server = serve("--max-upload", "100000")
    with HttpClient(source_with_runs.url) as client:
        log(client, "large", run={}, artifacts={"m": os.urandom(200_000)})
    output = push_json(server.url, "--url", source_with_runs.url, code=1)
    assert (len(output["imported"]), [each["id"] for each in output["failed"]]) == (3, ["large"])
    assert "--max-upload" in output["failed"][0]["detail"]


def test_full_disk_of_the_target_is_exit_code_3_and_leaves_no_partial_run(
    source_with_runs: Server, serve: Serve, tool: Callable[[str], str]
) -> None:
    server = serve(wrapper=[tool("prlimit"), "--fsize=1000000"])
    with HttpClient(source_with_runs.url) as client:
        log(client, "large", run={}, artifacts={"m": os.urandom(2_000_000)})
    result = cli("push", server.url, "--url", source_with_runs.url, code=3)
    assert f"chachaml-lite: {server.url}: disk full: " in result.stderr
    assert result.stderr.endswith("; 3 of 4 runs are done; the next push continues from there\n")
    assert load_runs(server).keys() == {"one", "two", "three"}
    assert os.listdir(server.data / "runs/.incoming") == []


def test_usage_error_or_refused_access_is_exit_code_2(source_with_runs: Server, serve: Serve, tmp_path: Path) -> None:
    server = serve("--token", "geheim")
    there = [server.url, "--to-token", "geheim"]
    arguments_by_message = {
        "there is no run 'nosuch'": [*there, "one", "nosuch"],
        "no completed run": [*there, "latest:nosuch"],
        "use either": [*there, "one", "-e", "iris"],
        "not the URL of a server": ["ftp://x"],
        "; set it with --to-token": [server.url],
        "unauthorized: it needs its token": [server.url, "--to-token", "x"],
        "'--query'": [*there, "-q", "metrics.accuracy >"],
        "Missing argument 'URL'": [],
    }
    for message, arguments in arguments_by_message.items():
        result = cli("push", *arguments, "--url", source_with_runs.url, code=2)
        assert message in result.stderr, result.stderr
        assert result.stdout in ("", f"pushing from {source_with_runs.url} to {server.url}\n")
    result = cli("push", source_with_runs.url, "--url", server.url, code=2)
    assert "unauthorized" in result.stderr
    assert count_sent_zips(server.log) == 0
    with run_server(server.data, tmp_path / "reads", "--read-only") as reader:
        result = cli("push", reader.url, "--url", source_with_runs.url, code=2)
        assert "forbidden: this server is read-only" in result.stderr


def test_unreachable_source_or_target_is_exit_code_3(source_with_runs: Server, server: Server, tmp_path: Path) -> None:
    nobody = f"http://localhost:{free_port()}"
    for arguments in ([nobody, "--url", source_with_runs.url], [server.url, "--url", nobody]):
        assert f"no server responds at {nobody}" in cli("push", *arguments, code=3).stderr
    assert "there is no store in" in cli("push", server.url, "--data", str(tmp_path / "none"), code=3).stderr


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (404, b'{"error": "not found", "detail": "no such route"}', 2, "older than this command"),
        (404, b"<html>Not here</html>", 2, "a chachaml-lite server"),
        (200, b"<html>Here</html>", 3, "a chachaml-lite server"),
        (200, b"[1]", 3, "a chachaml-lite server"),
    ],
)
def test_target_without_the_import_api_error_says_so(
    source_with_runs: Server, status: int, body: bytes, code: int, message: str
) -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
    with stranger(head.encode() + body) as port:
        result = cli("push", f"http://127.0.0.1:{port}", "--url", source_with_runs.url, code=code)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


# -- on a terminal


def test_progress_bar_on_a_terminal(source_with_runs: Server, server: Server) -> None:
    with HttpClient(source_with_runs.url) as client:
        log(client, "large", run={}, artifacts={"m": os.urandom(3_000_000)})
    terminal, stderr = pty.openpty()
    try:
        with subprocess.Popen(
            [*COMMAND, "push", server.url, "--url", source_with_runs.url],
            env=environment(TERM="xterm"),
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process:
            out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        os.set_blocking(terminal, False)
        terminal_output = os.read(terminal, 1_000_000).decode()
    finally:
        os.close(terminal)
        os.close(stderr)
    assert process.returncode == 0, (out, terminal_output)
    assert b"4 imported, 0 updated, 0 unchanged; 3.0 MB sent\n" in out
    assert "pushing" in terminal_output and "100%" in terminal_output
