"""`chachaml-lite push` as a process: from a job's server to a laptop and on to a team, stopped, resumed, refused."""

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
from support.proxies import proxy, public, sent_zips
from support.servers import PATIENCE_SECONDS, Running, environment, free_port, running
from support.zips import META
from test_client import stranger
from test_client_push import log

from chachaml_lite.client.http import HttpClient
from chachaml_lite.commands import run_names

Serve = Callable[..., Running]
#: `push` with small pieces: a megabyte instead of 64.
SMALL = """
import runpy, sys
from chachaml_lite.client import push
push.PIECE_BYTES = 1_000_000
sys.argv[0] = "chachaml-lite"
runpy.run_module("chachaml_lite", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Running]:
    """The server of the store that runs come from."""
    with running(tmp_path / "home", tmp_path / "home-scratch") as started:
        yield started


@pytest.fixture
def filled(home: Running) -> Running:
    """The same, with a few runs."""
    with HttpClient(home.url) as client:
        for run_id, experiment, accuracy in (("one", "iris", 0.9), ("two", "iris", 0.5), ("three", "digits", 0.95)):
            parts = {"metrics": {"accuracy": accuracy}, "artifacts": {"m": run_id.encode()}}
            log(client, run_id, run={"experiment": experiment, "name": "☃"}, **parts, end={"status": "completed"})
    return home


def pushed(*arguments: str, code: int = 0, **variables: str) -> Any:
    """Return the JSON output of a push."""
    found = json.loads(cli("push", *arguments, "--json", code=code, env=variables).stdout)
    assert found.keys() - {"unreadable"} == {"ok", "imported", "updated", "unchanged", "failed", "bytes"}
    assert found["ok"] == (code == 0)
    return found


def runs_of(server: Running, token: str | None = None) -> dict[str, Any]:
    with HttpClient(server.url, token) as client:
        return {run["id"]: public(run) for run in client.get("/api/runs")}


def test_from_a_job_s_server_to_a_laptop_and_on_to_a_team(filled: Running, server: Running, tmp_path: Path) -> None:
    found = pushed(server.url, CHACHAML_URL=filled.url)
    assert (found["imported"], found["failed"]) == (["one", "two", "three"], [])
    assert runs_of(server) == runs_of(filled)
    assert pushed(server.url, "--url", filled.url)["unchanged"] == ["one", "two", "three"]
    assert sent_zips(server.log) == 3
    with running(tmp_path / "team", tmp_path / "team-scratch", "--token", "geheim ö") as team:
        # From the laptop's folder, while its server runs on it.
        done = cli("push", team.url, "--data", str(server.data), env={"CHACHAML_TO_TOKEN": "geheim ö"})
        assert done.stdout.splitlines()[-1].startswith("3 imported, 0 updated, 0 unchanged; ")
        assert "imported  three\n" in done.stdout
        assert done.stderr == ""
        assert runs_of(team, "geheim ö") == runs_of(filled)
        done = cli("push", team.url, "--data", str(server.data), "--to-token", "geheim ö")
        assert done.stdout.splitlines()[1:] == ["0 imported, 0 updated, 3 unchanged; 0 bytes sent"]


def test_runs_that_no_list_has_are_told_of_where_all_are_meant(filled: Running, server: Running) -> None:
    (filled.data / "runs/two/meta.json").write_text("{")
    found = pushed(server.url, "--url", filled.url, code=1)
    assert (found["imported"], found["unreadable"]) == (["one", "three"], 1)
    done = cli("push", server.url, "--url", filled.url, code=1)
    assert "1 run in runs/ can't be read and is left out; run `chachaml-lite verify`" in done.stderr
    assert "unreadable" not in pushed(server.url, "one", "--url", filled.url)


def test_damage_elsewhere_in_the_store_is_no_run_that_is_left_out(filled: Running, server: Running) -> None:
    (filled.data / "models/broken").mkdir(parents=True)
    (filled.data / "models/broken/history.jsonl").write_text("{")
    (filled.data / "runs/not a run").mkdir()
    (filled.data / "runs/two/metrics.jsonl").write_bytes(b"{damage\n")
    found = pushed(server.url, "--url", filled.url, code=1)
    assert (found["imported"], found["unreadable"]) == (["one", "three"], 0)
    assert [(each["id"], each["error"]) for each in found["failed"]] == [("two", "damaged")]


def test_runs_that_are_meant_are_pushed_and_no_others(filled: Running, server: Running) -> None:
    model = {"name": "best", "run_id": "three", "artifact": "m", "stage": "production"}
    with HttpClient(filled.url) as client:
        client.post("/api/w/models", model)
    chosen = [
        (["-q", "metrics.accuracy < 0.6"], ["two"], []),
        (["-e", "digits"], ["three"], []),
        (["-e", "iris", "--query", "metrics.accuracy > 0.6"], ["one"], []),
        (["latest:iris", "production:best", "two", "two"], [], ["two", "three"]),
        (["-e", "nosuch"], [], []),
    ]
    for options, imported, unchanged in chosen:
        found = pushed(server.url, "--url", filled.url, *options)
        assert (found["imported"], found["unchanged"]) == (imported, unchanged)


def test_without_a_source_the_runs_come_from_artifacts_and_where_that_is_missing_from_the_server_here(
    filled: Running, server: Running, tmp_path: Path
) -> None:
    (tmp_path / "artifacts").symlink_to(filled.data)
    (tmp_path / "empty").mkdir()
    script = "from chachaml_lite.commands import targets; "
    script += "targets.DEFAULT_URL = sys.argv.pop(1); from chachaml_lite.cli import main; main()"
    nowhere = f"http://localhost:{free_port()}"
    for folder, url, source in (
        (tmp_path, nowhere, "artifacts"),
        (tmp_path, filled.url, "artifacts"),
        (tmp_path / "empty", filled.url, filled.url),
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; {script}", url, "push", server.url, "--json"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.decode().startswith(f"pushing from {source} ")
        found = json.loads(done.stdout)
        assert sorted(found["imported"] + found["unchanged"]) == ["one", "three", "two"]


def test_more_runs_than_an_answer_has_are_all_pushed(serve: Serve, tmp_path: Path) -> None:
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
        done = subprocess.run(
            [sys.executable, "-c", small, "push", server.url, "--data", str(tmp_path / "many"), "--json"],
            env=environment(),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        assert json.loads(done.stdout)[kind] == ids  # the oldest first


# -- stopped, and resumed


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_push_that_is_killed_halfway_leaves_nothing_false_and_the_next_one_goes_on(
    home: Running, server: Running, how: str
) -> None:
    contents = {f"{number}": os.urandom(600_000) for number in range(8)}
    with HttpClient(home.url) as client:
        log(client, "r", run={}, metrics={"loss": 1}, artifacts=contents, end={"status": "completed"})
    with proxy(server.port, hold_after=3_000_000) as held:
        arguments = ["push", held.url, "--url", home.url]
        with subprocess.Popen(
            [sys.executable, "-c", SMALL, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert held.full.wait(PATIENCE_SECONDS)
            process.kill() if how == "kill" else process.send_signal(2)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, err) == (-9 if how == "kill" else -2, b"")
        assert out.decode() == f"pushing from {home.url} to {held.url}\n"
    with HttpClient(server.url) as client:
        run = client.get("/api/runs/r")
        assert (run["status"], run["metrics"]) == ("running", {"loss": 1})
        arrived = len(run["artifacts"])
    assert 0 < arrived < 8
    assert cli("verify", "--data", str(server.data)).stdout.endswith(": all good\n")
    found = pushed(server.url, "--url", home.url)
    assert (found["updated"], found["bytes"]) == (["r"], 600_000 * (8 - arrived))
    assert runs_of(server) == runs_of(home)
    assert cli("verify", "--data", str(server.data)).stdout.endswith(": all good\n")


def test_server_that_goes_away_is_3_and_said_with_how_far_it_came(filled: Running, server: Running) -> None:
    with HttpClient(filled.url) as client:
        log(client, "four", run={}, artifacts={"large": os.urandom(2_000_000)})
    with proxy(server.port, cut_after=1_000_000) as cut:
        done = cli("push", cut.url, "--url", filled.url, code=3)
        assert done.stderr.startswith(f"chachaml-lite: no server responds at {cut.url} (")
    assert done.stderr.endswith("; 3 of 4 runs are done; the next push continues from there\n")
    assert done.stdout.splitlines()[1] == "imported  one"
    with proxy(server.port, cut_after=1_000_000) as cut:
        found = pushed(cut.url, "--url", filled.url, code=3)
    assert (len(found["unchanged"]), found["imported"], found["failed"]) == (3, [], [])
    found = pushed(server.url, "--url", filled.url)
    assert (found["imported"], len(found["unchanged"])) == (["four"], 3)


# -- refused


def test_run_that_contradicts_is_named_and_the_others_are_pushed(filled: Running, server: Running) -> None:
    pushed(server.url, "--url", filled.url, "two")
    for client, note in ((HttpClient(filled.url), "mine"), (HttpClient(server.url), "theirs\x1b[31m")):
        with client:
            log(client, "two", note={"note": note})
    found = pushed(server.url, "--url", filled.url, code=1)
    assert (found["imported"], [each["id"] for each in found["failed"]]) == (["one", "three"], ["two"])
    assert (found["failed"][0]["error"], found["failed"][0].keys()) == ("conflict", {"id", "error", "detail"})
    done = cli("push", server.url, "--url", filled.url, code=1)
    assert done.stdout.splitlines()[1:] == ["0 imported, 0 updated, 2 unchanged, 1 failed; 0 bytes sent"]
    assert done.stderr.startswith("chachaml-lite: two: conflict: run two: the note is")
    assert "\x1b" not in done.stderr
    assert done.stderr.endswith("; add --overwrite to replace it\n")
    assert pushed(server.url, "--url", filled.url, "--overwrite")["updated"] == ["two"]


def test_what_is_larger_than_the_target_takes_is_refused_and_the_others_are_pushed(
    filled: Running, serve: Serve
) -> None:
    server = serve("--max-upload", "100000")
    with HttpClient(filled.url) as client:
        log(client, "large", run={}, artifacts={"m": os.urandom(200_000)})
    found = pushed(server.url, "--url", filled.url, code=1)
    assert (len(found["imported"]), [each["id"] for each in found["failed"]]) == (3, ["large"])
    assert "--max-upload" in found["failed"][0]["detail"]


def test_full_disk_ends_the_push_with_3_and_leaves_nothing(
    filled: Running, serve: Serve, tool: Callable[[str], str]
) -> None:
    server = serve(wrapper=[tool("prlimit"), "--fsize=1000000"])
    with HttpClient(filled.url) as client:
        log(client, "large", run={}, artifacts={"m": os.urandom(2_000_000)})
    done = cli("push", server.url, "--url", filled.url, code=3)
    assert f"chachaml-lite: {server.url}: disk full: " in done.stderr
    assert done.stderr.endswith("; 3 of 4 runs are done; the next push continues from there\n")
    assert runs_of(server).keys() == {"one", "two", "three"}
    assert os.listdir(server.data / "runs/.incoming") == []


def test_what_can_t_be_done_as_it_was_asked_is_2(filled: Running, serve: Serve, tmp_path: Path) -> None:
    server = serve("--token", "geheim")
    there = [server.url, "--to-token", "geheim"]
    told = {
        "there is no run 'nosuch'": [*there, "one", "nosuch"],
        "no completed run": [*there, "latest:nosuch"],
        "use either": [*there, "one", "-e", "iris"],
        "not the URL of a server": ["ftp://x"],
        "; set it with --to-token": [server.url],
        "unauthorized: it needs its token": [server.url, "--to-token", "x"],
        "'--query'": [*there, "-q", "metrics.accuracy >"],
        "Missing argument 'URL'": [],
    }
    for text, arguments in told.items():
        done = cli("push", *arguments, "--url", filled.url, code=2)
        assert text in done.stderr, done.stderr
        assert done.stdout in ("", f"pushing from {filled.url} to {server.url}\n")
    done = cli("push", filled.url, "--url", server.url, code=2)
    assert "unauthorized" in done.stderr
    assert sent_zips(server.log) == 0
    with running(server.data, tmp_path / "reads", "--read-only") as reader:
        done = cli("push", reader.url, "--url", filled.url, code=2)
        assert "forbidden: this server is read-only" in done.stderr


def test_who_does_not_answer_is_3(filled: Running, server: Running, tmp_path: Path) -> None:
    nobody = f"http://localhost:{free_port()}"
    for arguments in ([nobody, "--url", filled.url], [server.url, "--url", nobody]):
        assert f"no server responds at {nobody}" in cli("push", *arguments, code=3).stderr
    assert "there is no store in" in cli("push", server.url, "--data", str(tmp_path / "none"), code=3).stderr


@pytest.mark.parametrize(
    ("status", "answer", "code", "told"),
    [
        (404, b'{"error": "not found", "detail": "no such route"}', 2, "older than this command"),
        (404, b"<html>Not here</html>", 2, "a chachaml-lite server"),
        (200, b"<html>Here</html>", 3, "a chachaml-lite server"),
        (200, b"[1]", 3, "a chachaml-lite server"),
    ],
)
def test_server_that_takes_no_runs_is_said_so(
    filled: Running, status: int, answer: bytes, code: int, told: str
) -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n"
    with stranger(head.encode() + answer) as port:
        done = cli("push", f"http://127.0.0.1:{port}", "--url", filled.url, code=code)
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


# -- on a terminal


def test_on_a_terminal_there_is_a_bar(filled: Running, server: Running) -> None:
    with HttpClient(filled.url) as client:
        log(client, "large", run={}, artifacts={"m": os.urandom(3_000_000)})
    mine, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [*COMMAND, "push", server.url, "--url", filled.url],
            env=environment(TERM="xterm"),
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process:
            out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        os.set_blocking(mine, False)
        drawn = os.read(mine, 1_000_000).decode()
    finally:
        os.close(mine)
        os.close(theirs)
    assert process.returncode == 0, (out, drawn)
    assert b"4 imported, 0 updated, 0 unchanged; 3.0 MB sent\n" in out
    assert "pushing" in drawn and "100%" in drawn
