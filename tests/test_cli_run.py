"""`chachaml-lite run -- COMMAND`, with real commands: what they print, how they end, what reaches them and is kept."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from support.commands import COMMAND, cli
from support.servers import PATIENCE_SECONDS, Running, environment, eventually, free_port, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for all tests whose runs are told apart by their ids."""
    folder = tmp_path_factory.mktemp("run")
    with running(folder / "store", folder / "scratch", "--token", "t") as started:
        yield started


@pytest.fixture
def env(server: Running, tmp_path: Path) -> dict[str, str]:
    """An environment in which `run` finds the server, and puts temporary files where the test sees them."""
    (tmp_path / "tmp").mkdir()
    return {"CHACHAML_URL": server.url, "CHACHAML_TOKEN": "t", "TMPDIR": str(tmp_path / "tmp")}


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def ran(
    env: Mapping[str, str], *arguments: str, code: int = 0, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """`chachaml-lite run` with these arguments, to its end. AssertionError for another exit code."""
    done = subprocess.run(
        [*COMMAND, "run", *arguments],
        input=stdin,
        capture_output=True,
        env=environment(**env),
        cwd=cwd,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == code, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    assert b"Traceback" not in done.stderr, done.stderr
    return done


@contextmanager
def started(env: Mapping[str, str], *arguments: str, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`chachaml-lite run` with these arguments, going on."""
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    with subprocess.Popen([*COMMAND, "run", *arguments], env=environment(**env), bufsize=0, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def get(server: Running, path: str) -> requests.Response:
    answer = requests.get(server.url + path, headers={"Authorization": "Bearer t"}, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200, answer.text
    return answer


def run_of(server: Running, run_id: str) -> Any:
    return get(server, f"/api/runs/{run_id}").json()


def log_of(server: Running, run_id: str) -> bytes:
    return get(server, f"/api/artifacts/{run_id}/log.txt/download").content


# -- what is passed through, and kept


def test_both_outputs_and_the_input_are_passed_through_as_they_are_and_kept(
    server: Running, env: dict[str, str]
) -> None:
    script = """
import os, sys
given = sys.stdin.buffer.read()
os.write(1, b"first\\n"); os.write(2, b"oops \\xff\\x00\\n"); os.write(1, given); os.write(2, b"last, without an end")
"""
    given = bytes(range(256)) * 100
    done = ran(env, "--id", "bytes", "--", *python(script), stdin=given)
    assert done.stdout == b"first\n" + given
    told = f"chachaml-lite: run bytes completed: {server.url}/runs/bytes\n".encode()
    assert done.stderr == b"oops \xff\x00\n" + b"last, without an end" + told
    log = log_of(server, "bytes")
    assert sorted(log) == sorted(b"first\n" + given + b"oops \xff\x00\n" + b"last, without an end")
    run = run_of(server, "bytes")
    assert (run["status"], run["error"]) == ("completed", None)
    assert os.listdir(env["TMPDIR"]) == []


def test_log_is_in_the_order_in_which_it_was_printed(server: Running, env: dict[str, str]) -> None:
    # Each line is printed once the one before has come through.
    script = "import sys\nfor n in range(6):\n    print(n, file=sys.stderr if n % 2 else sys.stdout)\n    input()"
    with started(env, "-q", "--id", "order", "--", *python(script)) as process:
        assert process.stdin and process.stdout and process.stderr
        for number in range(6):
            stream = process.stderr if number % 2 else process.stdout
            assert stream.readline() == f"{number}\n".encode(), "Python's output comes at once, by PYTHONUNBUFFERED"
            process.stdin.write(b"\n")
        assert process.wait(PATIENCE_SECONDS) == 0
    assert log_of(server, "order") == b"0\n1\n2\n3\n4\n5\n"


def test_long_output_costs_no_memory_and_is_whole(server: Running, env: dict[str, str]) -> None:
    script = "import os\npiece = bytes(range(256)) * 4096\nfor _ in range(100):\n    os.write(1, piece)"
    # Measured by a process that is small itself: what its parent has counts as a process's own.
    measure = """
import os, subprocess, sys
_, status, usage = os.wait4(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid, 0)
print(status, usage.ru_maxrss)
"""
    command = [*python(measure), *COMMAND, "run", "--id", "long", "--", *python(script)]
    done = subprocess.run(command, env=environment(**env), capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    status, memory = map(int, done.stdout.split())
    assert status == 0
    (log,) = [each for each in run_of(server, "long")["artifacts"] if each["name"] == "log.txt"]
    assert log["size"] == 100 * 256 * 4096
    unit = 1 if sys.platform == "darwin" else 1024
    assert memory * unit < 70_000_000, "of 105 MB of output"


@pytest.mark.parametrize("options", [["--experiment", "e"], ["-e", "e", "--"]])
def test_what_follows_the_command_is_its_own(server: Running, env: dict[str, str], options: list[str]) -> None:
    assert ran(env, "-q", *options, "echo", "--name", "x", "-q", "--help").stdout == b"--name x -q --help\n"


# -- the run


def test_run_is_as_the_options_say_and_the_command_logs_to_it(server: Running, env: dict[str, str]) -> None:
    script = """
import json, os, urllib.request
url, run, token = (os.environ["CHACHAML_" + name] for name in ("URL", "RUN_ID", "TOKEN"))
request = urllib.request.Request(f"{url}/api/w/runs/{run}/metrics", json.dumps({"loss": 0.5}).encode())
request.add_header("Content-Type", "application/json")
request.add_header("Authorization", f"Bearer {token}")
print(urllib.request.urlopen(request).status)
"""
    params = ["--param", "lr=0.01", "--param", "epochs=3", "--param", "opt=adam", "--param", "deep=true"]
    options = [
        "-e",
        "größe",
        "--name",
        "a name",
        "--id",
        "options",
        "--tag",
        "author=J. Doe",
        "--tag",
        "x=1=2",
        *params,
    ]
    assert ran(env, *options, "--parent", "p1", "--", *python(script)).stdout == b"200\n"
    run = run_of(server, "options")
    assert (run["experiment"], run["name"], run["parent_run_id"]) == ("größe", "a name", "p1")
    assert run["tags"] == {"author": "J. Doe", "x": "1=2"}
    assert run["params"] == {"lr": 0.01, "epochs": 3, "opt": "adam", "deep": True}
    assert run["metrics"] == {"loss": 0.5}


def test_run_within_a_run_is_its_child_and_the_folder_names_the_experiment(
    server: Running, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "my project").mkdir()
    inner = [*COMMAND, "run", "-q", "--id", "inner", "--", "true"]
    ran(env, "-q", "--id", "outer", "--", *inner, cwd=tmp_path / "my project")
    run = run_of(server, "outer")
    assert (run["experiment"], [child["id"] for child in run["children"]]) == ("my project", ["inner"])


def test_command_behind_a_proxy_reaches_the_server_on_this_machine(server: Running, env: dict[str, str]) -> None:
    script = 'curl -fsS "$CHACHAML_URL/api/health" && echo "$no_proxy $NO_PROXY"'
    proxies = {"http_proxy": "http://127.0.0.1:1", "NO_PROXY": "intra.example.org, localhost"}
    printed = ran({**env, **proxies}, "-q", "--", "sh", "-c", script).stdout.decode()
    value = "intra.example.org,localhost,127.0.0.1,::1"
    assert printed.endswith(f"{value} {value}\n")
    untouched = ran(env, "-q", "--", "sh", "-c", 'echo "${no_proxy-none}"', code=0).stdout
    assert untouched == b"none\n" or "no_proxy" in os.environ


# -- how it ends


@pytest.mark.parametrize(
    ("script", "code", "error"),
    [
        ("exit 0", 0, None),
        ("exit 3", 3, "exit code 3"),
        ("exit 255", 255, "exit code 255"),
        ("kill -KILL $$", 137, "killed by SIGKILL"),
        ("kill -TERM $$", 143, "killed by SIGTERM"),
        ("exit 130", 130, "exit code 130"),
        ("kill -INT $$", -signal.SIGINT, "killed by SIGINT"),  # $? is 130, and a shell's loop ends
    ],
)
def test_it_ends_as_its_command_does(
    server: Running, env: dict[str, str], script: str, code: int, error: str | None
) -> None:
    run_id = re.sub(r"\W+", "-", script)
    ran(env, "--id", run_id, "--", "sh", "-c", script, code=code)
    run = run_of(server, run_id)
    assert (run["status"], run["error"]) == ("failed" if code else "completed", error)


def test_command_that_can_t_be_run_is_127_or_126_and_its_run_has_failed(
    server: Running, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "no-program").write_text("#!/bin/sh\n")
    (tmp_path / "garbage").write_bytes(b"\x01\x02\x03")
    (tmp_path / "garbage").chmod(0o755)
    cases = [("no-such-program", 127), (str(tmp_path / "no-program"), 126), (str(tmp_path / "garbage"), 126)]
    for number, (name, code) in enumerate([*cases, (str(tmp_path), 126)]):
        done = ran(env, "--id", f"none-{number}", "--", name, code=code)
        run = run_of(server, f"none-{number}")
        assert run["status"] == "failed"
        assert run["error"].startswith(name)
        assert f"chachaml-lite: {name}: ".encode() in done.stderr


def test_what_the_command_left_running_is_not_waited_for(server: Running, env: dict[str, str]) -> None:
    done = ran(env, "--id", "left", "--", "sh", "-c", "sleep 1000 & echo $!; exit 4", code=4)
    with suppress(ProcessLookupError):
        os.kill(int(done.stdout), signal.SIGKILL)
    assert b"left running" in done.stderr
    assert log_of(server, "left") == done.stdout
    # Output without an end doesn't keep it either, and what the command itself printed is whole.
    script = "while :; do echo y; done & echo $! >&2; head -c 60000 /dev/zero | tr '\\0' x >&2"
    chatty = ran(env, "-q", "--id", "chatty", "--", "sh", "-c", script)
    pid, _, printed = chatty.stderr.partition(b"\n")
    assert printed.startswith(b"x" * 60000)
    with suppress(ProcessLookupError):  # its pipe was closed, and that ended it
        os.kill(int(pid), signal.SIGKILL)


def test_reader_that_has_enough_ends_the_command_as_it_would_without_us(server: Running, env: dict[str, str]) -> None:
    with started(env, "-q", "--id", "pipe", "--", "yes") as process:
        assert process.stdout
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGPIPE
    assert run_of(server, "pipe")["error"] == "killed by SIGPIPE"


def test_without_outputs_of_its_own_it_still_keeps_the_log(server: Running, env: dict[str, str]) -> None:
    command = [*COMMAND, "run", "--id", "mute", "--", "sh", "-c", "echo out; echo err >&2"]
    subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], env=environment(**env), check=True, timeout=60)
    assert sorted(log_of(server, "mute").split()) == [b"err", b"out"]


# -- signals

_TELLS = """
import signal, sys
def tell(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2"):
    signal.signal(getattr(signal, "SIG" + name), tell)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_signals_reach_the_command_which_decides_what_they_mean(server: Running, env: dict[str, str]) -> None:
    def hear_all() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have started these tests

    # In a session of its own there is no terminal that could have sent them to both.
    settings = {"start_new_session": True, "preexec_fn": hear_all}
    with started(env, "-q", "--id", "signals", "--", *python(_TELLS), **settings) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM"):
            process.send_signal(getattr(signal, name))
            assert process.stdout.readline() == name.encode() + b"\n"
        assert process.wait(PATIENCE_SECONDS) == 7
    assert run_of(server, "signals")["error"] == "exit code 7"


def test_what_nohup_has_ignored_stays_ignored(server: Running, env: dict[str, str]) -> None:
    script = 'trap "" HUP; exec "$@"'
    inner = [*COMMAND, "run", "-q", "--id", "nohup", "--", "sh", "-c", "echo ready; read line; echo $line"]
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", *inner],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(**env),
        bufsize=0,
    )
    with process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        process.stdin.write(b"done\n")
        assert process.stdout.readline() == b"done\n"
    assert process.returncode == 0


def test_ctrl_c_in_a_terminal_reaches_the_command_once(server: Running, env: dict[str, str]) -> None:
    # The second line is printed once all that Ctrl-C has sent must have arrived: at the answer to what is typed next.
    script = """
import signal
count = 0
def tell(number, frame):
    global count
    count += 1
    if count == 1:
        print("interrupted", flush=True)
signal.signal(signal.SIGINT, tell)
print("ready", flush=True)
input()
print("count", count, flush=True)
"""
    command = [*COMMAND, "run", "--id", "terminal", "--", *python(script)]
    terminal, seat = os.openpty()
    # At a Ctrl-C the kernel drops what is in the terminal, which could be the command's output about it.
    settings = termios.tcgetattr(seat)
    settings[3] |= termios.NOFLSH
    termios.tcsetattr(seat, termios.TCSANOW, settings)
    name = os.ttyname(seat)
    # The first to open a terminal in a session that has none makes it the session's.
    opening = ["sh", "-c", f'exec "$@" <{name} >{name} 2>&1', "sh", *command]
    with (
        closing(os.fdopen(terminal, "r+b", buffering=0)) as typed,
        subprocess.Popen(opening, env=environment(**env), start_new_session=True) as process,
    ):

        def seen_until(word: bytes) -> bytes:
            seen = b""
            while word not in seen:
                seen += typed.read(1000)
            return seen

        seen_until(b"ready")
        typed.write(b"\x03")
        seen_until(b"interrupted")
        typed.write(b"\n")
        assert b"count 1\r\n" in seen_until(b"completed")
        assert process.wait(PATIENCE_SECONDS) == 0
    os.close(seat)


def test_log_that_can_t_grow_any_more_does_not_end_the_command(server: Running, env: dict[str, str]) -> None:
    # A limit on files; the command's output is none, and the server is another process.
    script = "i=0; while [ $i -lt 5000 ]; do echo 'a line of twenty b'; i=$((i + 1)); done; exit 6"
    command = [*COMMAND, "run", "-q", "--id", "full", "--", "sh", "-c", script]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 50; exec "$@"', "bash", *command], env=environment(**env), capture_output=True
    )
    assert (done.returncode, len(done.stdout)) == (6, 5000 * 19)
    assert b"the end of the output is missing from log.txt" in done.stderr
    assert log_of(server, "full") == done.stdout[: 50 * 1024]
    assert run_of(server, "full")["error"] == "exit code 6"


def test_command_that_closes_its_outputs_is_still_waited_for_and_gets_signals(
    server: Running, env: dict[str, str]
) -> None:
    script = 'trap "exit 9" TERM; echo ready; exec >&- 2>&-; while :; do read line; done'
    with started(env, "-q", "--id", "silent", "--", "bash", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 9


# -- the server


def test_without_a_server_that_was_named_the_command_is_not_started(tmp_path: Path) -> None:
    touch = ["--", "touch", str(tmp_path / "started")]
    done = cli("run", "--url", f"http://localhost:{free_port()}", *touch, code=3)
    assert "no server responds" in done.stderr
    cli("run", *touch, code=3, env={"CHACHAML_URL": f"http://localhost:{free_port()}"})
    cli("run", "--param", "x", *touch, code=2)
    cli("run", "--tag", "x=1", "--tag", "x=2", *touch, code=2)
    cli("run", "--data", str(tmp_path), code=2)
    assert not (tmp_path / "started").exists()


def test_what_the_server_refuses_is_2_and_the_command_is_not_started(server: Running, env: dict[str, str]) -> None:
    touch = ["--", "touch", f"{env['TMPDIR']}/started"]
    assert b"unauthorized" in ran({**env, "CHACHAML_TOKEN": "x"}, *touch, code=2).stderr
    ran(env, "--id", "no/id", *touch, code=2)
    ran(env, "-q", "--id", "ended", "--", "true")
    assert b"has ended" in ran(env, "--id", "ended", *touch, code=2).stderr
    ran(env, "--id", "bad-param", "--param", "\n=1", *touch, code=2)
    assert run_of(server, "bad-param")["status"] == "failed"
    assert os.listdir(env["TMPDIR"]) == []


def test_with_a_folder_it_serves_the_store_itself_as_long_as_the_command_lasts(tmp_path: Path) -> None:
    data = tmp_path / "my store"
    script = """
import os, urllib.request
url = f"{os.environ['CHACHAML_URL']}/api/runs/{os.environ['CHACHAML_RUN_ID']}"
print(b'"status": "running"' in urllib.request.urlopen(url).read())
"""
    done = cli("run", "--data", str(data), "--id", "own", "--", *python(script))
    assert done.stdout == "True\n"
    first, last = done.stderr.splitlines()
    assert re.fullmatch(r"chachaml-lite: run own, in .*; while it runs, see http://127\.0\.0\.1:\d+/runs/own", first)
    assert last == f"chachaml-lite: run own completed: chachaml-lite show own --data '{data}'"
    shown = json.loads(cli("show", "own", "--json", "--data", str(data)).stdout)
    assert (shown["status"], shown["artifacts"][-1]["name"]) == ("completed", "log.txt")
    assert (data / "runs/own/blobs/log.txt").read_text() == "True\n"


def test_where_nothing_is_named_and_no_server_runs_it_writes_into_artifacts(tmp_path: Path) -> None:
    with suppress(OSError), closing(socket.create_connection(("localhost", 8080), 1)):
        pytest.skip("something listens on port 8080, which would be asked")
    assert cli("run", "--experiment", "iris", "--id", "one", "--", "echo", "hi", cwd=tmp_path).stdout == "hi\n"
    assert (tmp_path / "artifacts/runs/one/blobs/log.txt").read_text() == "hi\n"
    cli("run", "--id", "two", "--", "true", cwd=tmp_path, env={"CHACHAML_DATA": "elsewhere"})
    assert (tmp_path / "elsewhere/runs/two/meta.json").exists()


def test_folder_that_another_server_owns_is_3_with_what_to_do(server: Running, tmp_path: Path) -> None:
    done = cli("run", "--data", str(server.data), "--", "touch", str(tmp_path / "started"), code=3)
    assert re.search(rf"another server owns this store \(process \d+, {server.url}\): .*--url", done.stderr)
    assert not (tmp_path / "started").exists()


def test_when_the_server_goes_away_the_command_goes_on_and_its_log_is_kept(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with running(tmp_path / "store", tmp_path / "scratch") as server:
        env = {"CHACHAML_URL": server.url, "TMPDIR": str(tmp_path / "tmp")}
        script = "echo ready; read line; echo $line; exit 5"
        with started(env, "--id", "alone", "--", "sh", "-c", script) as process:
            assert process.stdin and process.stdout and process.stderr
            assert process.stdout.readline() == b"ready\n"
            server.kill()
            process.stdin.write(b"on\n")
            assert process.stdout.readline() == b"on\n"
            told = process.stderr.read().decode()
            assert process.wait(PATIENCE_SECONDS) == 5
    (log,) = (tmp_path / "tmp").iterdir()
    assert log.read_text() == "ready\non\n"
    assert told.count("no server responds") == 1
    assert str(log) in told
    assert f"{server.url}/api/w/runs/alone/end?exit_code=5" in told


def test_command_that_ends_its_run_itself_is_told_where_its_log_is(server: Running, env: dict[str, str]) -> None:
    script = 'curl -sf -X POST "$CHACHAML_URL/api/w/runs/$CHACHAML_RUN_ID/end" -H "Authorization: Bearer t"; exit $1'
    done = ran(env, "--id", "itself", "--", "sh", "-c", script, "sh", "0")
    assert b"log.txt was not stored" in done.stderr
    other = ran(env, "--id", "itself-6", "--", "sh", "-c", script, "sh", "6", code=6)
    assert b"cannot end the run" in other.stderr
    assert len(os.listdir(env["TMPDIR"])) == 2


def test_signal_during_the_upload_of_the_log_ends_that_and_not_the_run(env: dict[str, str], tmp_path: Path) -> None:
    # The server takes the start of the run, and is then stopped: the upload can't get on.
    script = "import os, sys; print(os.getpid(), file=sys.stderr); sys.stdout.write('x' * 30_000_000)"
    with running(tmp_path / "store", tmp_path / "scratch") as server:
        own = {"CHACHAML_URL": server.url, "TMPDIR": env["TMPDIR"]}
        with started(own, "--id", "slow", "--", *python(script), stdout=subprocess.DEVNULL) as process:
            assert process.stderr
            child = int(process.stderr.readline())
            server.process.send_signal(signal.SIGSTOP)
            eventually(lambda: not is_there(child))
            telling = process.stderr

            def told() -> bool:
                process.send_signal(signal.SIGTERM)
                return bool(select.select([telling], [], [], 0)[0])

            eventually(told)
            line = process.stderr.readline()
            server.process.send_signal(signal.SIGCONT)
            assert b"because of a signal" in line
            assert process.wait(PATIENCE_SECONDS) == 0
        run = requests.get(f"{server.url}/api/runs/slow", timeout=60).json()
    assert (run["status"], run["artifacts"]) == ("completed", [])
    (log,) = Path(env["TMPDIR"]).iterdir()
    assert log.stat().st_size > 30_000_000


def is_there(pid: int) -> bool:
    """Whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_run_in_a_folder_whose_name_is_not_utf_8_has_an_experiment(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert cli("run", "--id", "r", "--data", str(tmp_path / "store"), "--", "echo", "hi", cwd=folder).stdout == "hi\n"
    assert json.loads((tmp_path / "store/runs/r/meta.json").read_text())["experiment"] == "caf\ufffd"
