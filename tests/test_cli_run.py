"""`chachaml-lite run -- COMMAND`, with real commands: output, log, exit codes, signals, servers."""

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
from support.servers import PATIENCE_SECONDS, Server, environment, free_port, run_server, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server shared by the tests, whose runs have different ids."""
    folder = tmp_path_factory.mktemp("run")
    with run_server(folder / "store", folder / "scratch", "--token", "t") as server:
        yield server


@pytest.fixture
def env(server: Server, tmp_path: Path) -> dict[str, str]:
    """An environment in which `run` finds the server, and puts temporary files where the test can list them."""
    (tmp_path / "tmp").mkdir()
    return {"CHACHAML_URL": server.url, "CHACHAML_TOKEN": "t", "TMPDIR": str(tmp_path / "tmp")}


def python_command(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def run_command(
    env: Mapping[str, str], *arguments: str, code: int = 0, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run `chachaml-lite run` with these arguments to its end. AssertionError for another exit code."""
    process = subprocess.run(
        [*COMMAND, "run", *arguments],
        input=stdin,
        capture_output=True,
        env=environment(**env),
        cwd=cwd,
        timeout=PATIENCE_SECONDS,
    )
    assert process.returncode == code, (process.returncode, process.stdout[-500:], process.stderr[-2000:])
    assert b"Traceback" not in process.stderr, process.stderr
    return process


@contextmanager
def start_command(env: Mapping[str, str], *arguments: str, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start `chachaml-lite run` with these arguments; the process is killed at the end of the block."""
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    with subprocess.Popen([*COMMAND, "run", *arguments], env=environment(**env), bufsize=0, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def fetch(server: Server, path: str) -> requests.Response:
    response = requests.get(server.url + path, headers={"Authorization": "Bearer t"}, timeout=PATIENCE_SECONDS)
    assert response.status_code == 200, response.text
    return response


def fetch_run(server: Server, run_id: str) -> Any:
    return fetch(server, f"/api/runs/{run_id}").json()


def fetch_log(server: Server, run_id: str) -> bytes:
    return fetch(server, f"/api/artifacts/{run_id}/log.txt/download").content


# -- output, passed through and logged


def test_input_and_outputs_are_passed_through_unchanged_and_logged(server: Server, env: dict[str, str]) -> None:
    script = """
import os, sys
content = sys.stdin.buffer.read()
os.write(1, b"first\\n"); os.write(2, b"oops \\xff\\x00\\n"); os.write(1, content); os.write(2, b"last, without an end")
"""
    content = bytes(range(256)) * 100
    process = run_command(env, "--id", "bytes", "--", *python_command(script), stdin=content)
    assert process.stdout == b"first\n" + content
    last_line = f"chachaml-lite: run bytes completed: {server.url}/runs/bytes\n".encode()
    assert process.stderr == b"oops \xff\x00\n" + b"last, without an end" + last_line
    log = fetch_log(server, "bytes")
    assert sorted(log) == sorted(b"first\n" + content + b"oops \xff\x00\n" + b"last, without an end")
    run = fetch_run(server, "bytes")
    assert (run["status"], run["error"]) == ("completed", None)
    assert os.listdir(env["TMPDIR"]) == []


def test_log_has_both_outputs_in_the_order_of_printing(server: Server, env: dict[str, str]) -> None:
    # Each line is printed only after the previous one has been passed on.
    script = "import sys\nfor n in range(6):\n    print(n, file=sys.stderr if n % 2 else sys.stdout)\n    input()"
    with start_command(env, "-q", "--id", "order", "--", *python_command(script)) as process:
        assert process.stdin and process.stdout and process.stderr
        for number in range(6):
            stream = process.stderr if number % 2 else process.stdout
            assert stream.readline() == f"{number}\n".encode(), "Python's output is not buffered, by PYTHONUNBUFFERED"
            process.stdin.write(b"\n")
        assert process.wait(PATIENCE_SECONDS) == 0
    assert fetch_log(server, "order") == b"0\n1\n2\n3\n4\n5\n"


def test_long_output_is_logged_in_full_in_bounded_memory(server: Server, env: dict[str, str]) -> None:
    script = "import os\npiece = bytes(range(256)) * 4096\nfor _ in range(100):\n    os.write(1, piece)"
    # Measured by a small process: the peak of a child includes the memory of the parent that it was forked from.
    measure = """
import os, subprocess, sys
_, status, usage = os.wait4(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid, 0)
print(status, usage.ru_maxrss)
"""
    command = [*python_command(measure), *COMMAND, "run", "--id", "long", "--", *python_command(script)]
    process = subprocess.run(command, env=environment(**env), capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    status, memory = map(int, process.stdout.split())
    assert status == 0
    (log,) = [each for each in fetch_run(server, "long")["artifacts"] if each["name"] == "log.txt"]
    assert log["size"] == 100 * 256 * 4096
    unit = 1 if sys.platform == "darwin" else 1024
    assert memory * unit < 70_000_000, "of 105 MB of output"


@pytest.mark.parametrize("options", [["--experiment", "e"], ["-e", "e", "--"]])
def test_options_after_the_command_are_passed_to_it(server: Server, env: dict[str, str], options: list[str]) -> None:
    assert run_command(env, "-q", *options, "echo", "--name", "x", "-q", "--help").stdout == b"--name x -q --help\n"


# -- the run


def test_options_set_the_fields_of_the_run_that_the_command_logs_to(server: Server, env: dict[str, str]) -> None:
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
    assert run_command(env, *options, "--parent", "p1", "--", *python_command(script)).stdout == b"200\n"
    run = fetch_run(server, "options")
    assert (run["experiment"], run["name"], run["parent_run_id"]) == ("größe", "a name", "p1")
    assert run["tags"] == {"author": "J. Doe", "x": "1=2"}
    assert run["params"] == {"lr": 0.01, "epochs": 3, "opt": "adam", "deep": True}
    assert run["metrics"] == {"loss": 0.5}


def test_nested_run_is_a_child_and_the_folder_names_the_experiment(
    server: Server, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "my project").mkdir()
    inner = [*COMMAND, "run", "-q", "--id", "inner", "--", "true"]
    run_command(env, "-q", "--id", "outer", "--", *inner, cwd=tmp_path / "my project")
    run = fetch_run(server, "outer")
    assert (run["experiment"], [child["id"] for child in run["children"]]) == ("my project", ["inner"])


def test_command_behind_a_proxy_reaches_the_server_on_this_machine(server: Server, env: dict[str, str]) -> None:
    script = 'curl -fsS "$CHACHAML_URL/api/health" && echo "$no_proxy $NO_PROXY"'
    proxies = {"http_proxy": "http://127.0.0.1:1", "NO_PROXY": "intra.example.org, localhost"}
    output = run_command({**env, **proxies}, "-q", "--", "sh", "-c", script).stdout.decode()
    value = "intra.example.org,localhost,127.0.0.1,::1"
    assert output.endswith(f"{value} {value}\n")
    output_without_proxy = run_command(env, "-q", "--", "sh", "-c", 'echo "${no_proxy-none}"', code=0).stdout
    assert output_without_proxy == b"none\n" or "no_proxy" in os.environ


# -- the end


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
def test_exit_code_and_status_are_those_of_the_command(
    server: Server, env: dict[str, str], script: str, code: int, error: str | None
) -> None:
    run_id = re.sub(r"\W+", "-", script)
    run_command(env, "--id", run_id, "--", "sh", "-c", script, code=code)
    run = fetch_run(server, run_id)
    assert (run["status"], run["error"]) == ("failed" if code else "completed", error)


def test_command_that_cannot_be_started_is_127_or_126_and_its_run_fails(
    server: Server, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "no-program").write_text("#!/bin/sh\n")
    (tmp_path / "garbage").write_bytes(b"\x01\x02\x03")
    (tmp_path / "garbage").chmod(0o755)
    cases = [("no-such-program", 127), (str(tmp_path / "no-program"), 126), (str(tmp_path / "garbage"), 126)]
    for number, (name, code) in enumerate([*cases, (str(tmp_path), 126)]):
        process = run_command(env, "--id", f"none-{number}", "--", name, code=code)
        run = fetch_run(server, f"none-{number}")
        assert run["status"] == "failed"
        assert run["error"].startswith(name)
        assert f"chachaml-lite: {name}: ".encode() in process.stderr


def test_background_process_of_the_command_is_not_waited_for(server: Server, env: dict[str, str]) -> None:
    process = run_command(env, "--id", "left", "--", "sh", "-c", "sleep 1000 & echo $!; exit 4", code=4)
    with suppress(ProcessLookupError):
        os.kill(int(process.stdout), signal.SIGKILL)
    assert b"left running" in process.stderr
    assert fetch_log(server, "left") == process.stdout
    # Endless output of a background process isn't waited for either, and the command's own output is complete.
    script = "while :; do echo y; done & echo $! >&2; head -c 60000 /dev/zero | tr '\\0' x >&2"
    chatty = run_command(env, "-q", "--id", "chatty", "--", "sh", "-c", script)
    pid, _, output = chatty.stderr.partition(b"\n")
    assert output.startswith(b"x" * 60000)
    with suppress(ProcessLookupError):  # the closed pipe has ended it
        os.kill(int(pid), signal.SIGKILL)


def test_closed_stdout_ends_the_command_by_sigpipe(server: Server, env: dict[str, str]) -> None:
    with start_command(env, "-q", "--id", "pipe", "--", "yes") as process:
        assert process.stdout
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGPIPE
    assert fetch_run(server, "pipe")["error"] == "killed by SIGPIPE"


def test_log_is_stored_even_without_stdout_and_stderr(server: Server, env: dict[str, str]) -> None:
    command = [*COMMAND, "run", "--id", "mute", "--", "sh", "-c", "echo out; echo err >&2"]
    subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], env=environment(**env), check=True, timeout=60)
    assert sorted(fetch_log(server, "mute").split()) == [b"err", b"out"]


# -- signals

_PRINT_SIGNALS = """
import signal, sys
def print_name(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2"):
    signal.signal(getattr(signal, "SIG" + name), print_name)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_signals_are_passed_to_the_command(server: Server, env: dict[str, str]) -> None:
    def reset_sighup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have started these tests

    # In its own session there is no terminal that could have sent the signal to both processes.
    settings = {"start_new_session": True, "preexec_fn": reset_sighup}
    with start_command(env, "-q", "--id", "signals", "--", *python_command(_PRINT_SIGNALS), **settings) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM"):
            process.send_signal(getattr(signal, name))
            assert process.stdout.readline() == name.encode() + b"\n"
        assert process.wait(PATIENCE_SECONDS) == 7
    assert fetch_run(server, "signals")["error"] == "exit code 7"


def test_signal_ignored_by_nohup_stays_ignored(server: Server, env: dict[str, str]) -> None:
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


def test_ctrl_c_in_a_terminal_reaches_the_command_once(server: Server, env: dict[str, str]) -> None:
    # The count is printed after the next typed line is read, when every signal that Ctrl-C has sent must have arrived.
    script = """
import signal
count = 0
def count_signal(number, frame):
    global count
    count += 1
    if count == 1:
        print("interrupted", flush=True)
signal.signal(signal.SIGINT, count_signal)
print("ready", flush=True)
input()
print("count", count, flush=True)
"""
    command = [*COMMAND, "run", "--id", "terminal", "--", *python_command(script)]
    terminal, seat = os.openpty()
    # At a Ctrl-C the kernel discards what is in the terminal's queue, which could be the command's output about it.
    settings = termios.tcgetattr(seat)
    settings[3] |= termios.NOFLSH
    termios.tcsetattr(seat, termios.TCSANOW, settings)
    name = os.ttyname(seat)
    # The first process of a session to open a terminal makes it the session's controlling terminal.
    opening = ["sh", "-c", f'exec "$@" <{name} >{name} 2>&1', "sh", *command]
    with (
        closing(os.fdopen(terminal, "r+b", buffering=0)) as keyboard,
        subprocess.Popen(opening, env=environment(**env), start_new_session=True) as process,
    ):

        def read_until(word: bytes) -> bytes:
            output = b""
            while word not in output:
                output += keyboard.read(1000)
            return output

        read_until(b"ready")
        keyboard.write(b"\x03")
        read_until(b"interrupted")
        keyboard.write(b"\n")
        assert b"count 1\r\n" in read_until(b"completed")
        assert process.wait(PATIENCE_SECONDS) == 0
    os.close(seat)


def test_truncated_log_does_not_end_the_command(server: Server, env: dict[str, str]) -> None:
    # This limits the size of files. The command's output is a pipe, and the server is another process.
    script = "i=0; while [ $i -lt 5000 ]; do echo 'a line of twenty b'; i=$((i + 1)); done; exit 6"
    command = [*COMMAND, "run", "-q", "--id", "full", "--", "sh", "-c", script]
    process = subprocess.run(
        ["bash", "-c", 'ulimit -f 50; exec "$@"', "bash", *command], env=environment(**env), capture_output=True
    )
    assert (process.returncode, len(process.stdout)) == (6, 5000 * 19)
    assert b"the end of the output is missing from log.txt" in process.stderr
    assert fetch_log(server, "full") == process.stdout[: 50 * 1024]
    assert fetch_run(server, "full")["error"] == "exit code 6"


def test_command_that_closes_its_outputs_is_waited_for_and_gets_signals(server: Server, env: dict[str, str]) -> None:
    script = 'trap "exit 9" TERM; echo ready; exec >&- 2>&-; while :; do read line; done'
    with start_command(env, "-q", "--id", "silent", "--", "bash", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 9


# -- the server


def test_command_is_not_started_without_the_named_server(tmp_path: Path) -> None:
    touch = ["--", "touch", str(tmp_path / "started")]
    result = cli("run", "--url", f"http://localhost:{free_port()}", *touch, code=3)
    assert "no server responds" in result.stderr
    cli("run", *touch, code=3, env={"CHACHAML_URL": f"http://localhost:{free_port()}"})
    cli("run", "--param", "x", *touch, code=2)
    cli("run", "--tag", "x=1", "--tag", "x=2", *touch, code=2)
    cli("run", "--data", str(tmp_path), code=2)
    assert not (tmp_path / "started").exists()


def test_command_is_not_started_if_the_server_refuses_the_run(server: Server, env: dict[str, str]) -> None:
    touch = ["--", "touch", f"{env['TMPDIR']}/started"]
    assert b"unauthorized" in run_command({**env, "CHACHAML_TOKEN": "x"}, *touch, code=2).stderr
    run_command(env, "--id", "no/id", *touch, code=2)
    run_command(env, "-q", "--id", "ended", "--", "true")
    assert b"has ended" in run_command(env, "--id", "ended", *touch, code=2).stderr
    run_command(env, "--id", "bad-param", "--param", "\n=1", *touch, code=2)
    assert fetch_run(server, "bad-param")["status"] == "failed"
    assert os.listdir(env["TMPDIR"]) == []


def test_data_option_serves_the_folder_until_the_command_ends(tmp_path: Path) -> None:
    data = tmp_path / "my store"
    script = """
import os, urllib.request
url = f"{os.environ['CHACHAML_URL']}/api/runs/{os.environ['CHACHAML_RUN_ID']}"
print(b'"status": "running"' in urllib.request.urlopen(url).read())
"""
    result = cli("run", "--data", str(data), "--id", "own", "--", *python_command(script))
    assert result.stdout == "True\n"
    first, last = result.stderr.splitlines()
    assert re.fullmatch(r"chachaml-lite: run own, in .*; while it runs, see http://127\.0\.0\.1:\d+/runs/own", first)
    assert last == f"chachaml-lite: run own completed: chachaml-lite show own --data '{data}'"
    run = json.loads(cli("show", "own", "--json", "--data", str(data)).stdout)
    assert (run["status"], run["artifacts"][-1]["name"]) == ("completed", "log.txt")
    assert (data / "runs/own/blobs/log.txt").read_text() == "True\n"


def test_default_without_a_server_is_the_artifacts_folder(tmp_path: Path) -> None:
    with suppress(OSError), closing(socket.create_connection(("localhost", 8080), 1)):
        pytest.skip("something listens on port 8080, and would get the run")
    assert cli("run", "--experiment", "iris", "--id", "one", "--", "echo", "hi", cwd=tmp_path).stdout == "hi\n"
    assert (tmp_path / "artifacts/runs/one/blobs/log.txt").read_text() == "hi\n"
    cli("run", "--id", "two", "--", "true", cwd=tmp_path, env={"CHACHAML_DATA": "elsewhere"})
    assert (tmp_path / "elsewhere/runs/two/meta.json").exists()


def test_folder_owned_by_another_server_is_exit_code_3_with_advice(server: Server, tmp_path: Path) -> None:
    result = cli("run", "--data", str(server.data), "--", "touch", str(tmp_path / "started"), code=3)
    assert re.search(rf"another server owns this store \(process \d+, {server.url}\): .*--url", result.stderr)
    assert not (tmp_path / "started").exists()


def test_server_lost_midway_leaves_the_command_running_and_keeps_its_log(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with run_server(tmp_path / "store", tmp_path / "scratch") as server:
        env = {"CHACHAML_URL": server.url, "TMPDIR": str(tmp_path / "tmp")}
        script = "echo ready; read line; echo $line; exit 5"
        with start_command(env, "--id", "alone", "--", "sh", "-c", script) as process:
            assert process.stdin and process.stdout and process.stderr
            assert process.stdout.readline() == b"ready\n"
            server.kill()
            process.stdin.write(b"on\n")
            assert process.stdout.readline() == b"on\n"
            messages = process.stderr.read().decode()
            assert process.wait(PATIENCE_SECONDS) == 5
    (log,) = (tmp_path / "tmp").iterdir()
    assert log.read_text() == "ready\non\n"
    assert messages.count("no server responds") == 1
    assert str(log) in messages
    assert f"{server.url}/api/w/runs/alone/end?exit_code=5" in messages


def test_log_is_kept_in_a_file_if_the_command_ends_its_run_itself(server: Server, env: dict[str, str]) -> None:
    script = 'curl -sf -X POST "$CHACHAML_URL/api/w/runs/$CHACHAML_RUN_ID/end" -H "Authorization: Bearer t"; exit $1'
    process = run_command(env, "--id", "itself", "--", "sh", "-c", script, "sh", "0")
    assert b"log.txt was not stored" in process.stderr
    failing_process = run_command(env, "--id", "itself-6", "--", "sh", "-c", script, "sh", "6", code=6)
    assert b"cannot end the run" in failing_process.stderr
    assert len(os.listdir(env["TMPDIR"])) == 2


def test_signal_during_the_upload_of_the_log_ends_the_upload_only(env: dict[str, str], tmp_path: Path) -> None:
    # The server is stopped once the run has started, so that the upload can't continue.
    script = "import os, sys; print(os.getpid(), file=sys.stderr); sys.stdout.write('x' * 30_000_000)"
    with run_server(tmp_path / "store", tmp_path / "scratch") as server:
        variables = {"CHACHAML_URL": server.url, "TMPDIR": env["TMPDIR"]}
        with start_command(
            variables, "--no-env", "--id", "slow", "--", *python_command(script), stdout=subprocess.DEVNULL
        ) as process:
            assert process.stderr
            child = int(process.stderr.readline())
            server.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: not exists(child))
            stderr = process.stderr

            def responds_to_signal() -> bool:
                process.send_signal(signal.SIGTERM)
                return bool(select.select([stderr], [], [], 0)[0])

            wait_until(responds_to_signal)
            line = process.stderr.readline()
            server.process.send_signal(signal.SIGCONT)
            assert b"because of a signal" in line
            assert process.wait(PATIENCE_SECONDS) == 0
        run = requests.get(f"{server.url}/api/runs/slow", timeout=60).json()
    assert (run["status"], run["artifacts"]) == ("completed", [])
    (log,) = Path(env["TMPDIR"]).iterdir()
    assert log.stat().st_size > 30_000_000


def exists(pid: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_folder_name_that_is_not_utf_8_becomes_a_valid_experiment(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system accepts only names in UTF-8")
    assert cli("run", "--id", "r", "--data", str(tmp_path / "store"), "--", "echo", "hi", cwd=folder).stdout == "hi\n"
    assert json.loads((tmp_path / "store/runs/r/meta.json").read_text())["experiment"] == "caf\ufffd"
