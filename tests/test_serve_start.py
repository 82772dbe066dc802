"""Starting: where the server listens, what it prints, its settings, and one clear line when it can't."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support.calls import OCTETS
from support.disks import mount_read_only
from support.servers import PATIENCE_SECONDS, Server, await_ready, environment
from support.tools import unavailable

from chachaml_lite.commands.serve import serve as serve_command

Serve = Callable[..., Server]


def run_serve(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`chachaml-lite serve`, when it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "chachaml_lite", "serve", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment(**variables),
        check=False,
    )


def is_one_line_error(result: subprocess.CompletedProcess[str], *parts: str) -> bool:
    """Whether a start ended with exit code 1 and one line on stderr that holds all of `parts`."""
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert result.stderr.startswith("chachaml-lite: ") and result.stderr.count("\n") == 1, result.stderr
    return all(part in result.stderr for part in parts)


# -- where it listens, and what it says


def test_localhost_listens_on_ipv4_and_ipv6(server: Server) -> None:
    hosts = ["127.0.0.1", "localhost", *(["[::1]"] if has_ipv6() else [])]
    for host in hosts:
        assert requests.get(f"http://{host}:{server.port}/api/health").json()["ok"] is True
    assert server.url == f"http://localhost:{server.port}"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]"])
def test_single_family_host_listens_on_that_family_only(serve: Serve, host: str) -> None:
    if ":" in host and not has_ipv6():
        unavailable("this machine has no IPv6")
    server = serve("--host", host)
    assert requests.get(f"{server.url}/api/health").json()["ok"] is True
    other = (socket.AF_INET6, "::1") if host == "127.0.0.1" else (socket.AF_INET, "127.0.0.1")
    with socket.socket(other[0]) as probe:
        assert probe.connect_ex((other[1], server.port)) != 0


def test_startup_line_reports_url_folder_and_number_of_runs(serve: Serve, data: Path) -> None:
    for runs in ("0 runs", "1 run", "2 runs"):
        server = serve()
        assert re.fullmatch(
            rf"chachaml-lite \S+ on {re.escape(server.url)}, data in {re.escape(str(data))} \({runs}\)\n", server.log
        )
        requests.post(f"{server.url}/api/w/runs", json={"experiment": "e"})
        assert server.stop() == 0


def test_ready_file_is_written_atomically_with_the_url(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    assert (tmp_path / "server-1/ready").read_text() == server.url + "\n"
    assert sorted(path.name for path in (tmp_path / "server-1").iterdir()) == ["ready", "server.log"]


def test_data_folder_is_created_for_its_owner_only(serve: Serve, data: Path) -> None:
    serve()
    assert data.stat().st_mode & 0o777 == 0o700


# -- settings


def test_help_names_every_option_with_its_variable_and_default() -> None:
    result = run_serve("--help")
    assert result.returncode == 0, result
    text = " ".join(result.stdout.split())
    for option in serve_command.params:
        assert option.opts[0] in text and (option.name == "help" or f"CHACHAML_{(option.name or '').upper()}" in text)
    for part in ("default: localhost", "default: 8080", "default: artifacts", "default: everysec", "Examples:"):
        assert part in text
    top = subprocess.run([sys.executable, "-m", "chachaml_lite", "--help"], capture_output=True, text=True, check=True)
    assert "serve" in top.stdout and "curl" in top.stdout


SETTINGS: dict[str, tuple[str, Callable[[Server], bool]]] = {
    "host": ("127.0.0.1", lambda server: server.url.startswith("http://127.0.0.1:")),
    "token": ("secret", lambda server: requests.get(f"{server.url}/api/runs").status_code == 401),
    "allowed_host": (
        "one.example two.example",
        lambda server: (
            {get_status(server, host) for host in ("one.example", "two.example")} == {200}
            and get_status(server, "three.example") == 403
        ),
    ),
    "public_url": (
        "https://tracker.example.org/",
        lambda server: (
            get_status(server, "tracker.example.org") == 200
            and "HOST=https://tracker.example.org\n" in requests.get(server.url).text
            and f" on {server.url}, for others https://tracker.example.org, data in " in server.log
        ),
    ),
    "url_prefix": (
        "tracker/",
        lambda server: (
            server.url.endswith("/tracker")
            and f"HOST={server.url}\n" in requests.get(server.url).text
            and requests.get(f"{server.url}/", headers={"Accept": "text/html"}).url == f"{server.url}/runs"
            and f" on {server.url}, data in " in server.log
        ),
    ),
    "fsync": ("no", lambda server: requests.get(f"{server.url}/api/health").ok),
    "max_upload": ("3", lambda server: upload(server, b"123") == 200 and upload(server, b"1234") == 413),
    "max_json": ("99", lambda server: create_run(server, 50) == 200 and create_run(server, 99) == 413),
    "series_cache": ("0", lambda server: requests.get(f"{server.url}/api/health").ok),
    "read_only": ("1", lambda server: create_run(server, 1) == 403),
    "quiet": ("1", lambda server: requests.get(f"{server.url}/api/health").ok and "GET" not in server.log),
}


def get_status(server: Server, host: str) -> int:
    return requests.get(f"{server.url}/api/runs", headers={"Host": host}).status_code


def create_run(server: Server, size: int) -> int:
    return requests.post(f"{server.url}/api/w/runs", json={"experiment": "e" * size}).status_code


def upload(server: Server, content: bytes) -> int:
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    url = f"{server.url}/api/w/runs/r/artifacts?name={len(content)}"
    return requests.post(url, data=content, headers={"Content-Type": OCTETS}).status_code


def count_threads(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_option_is_an_environment_variable_too(serve: Serve, data: Path, name: str) -> None:
    value, works = SETTINGS[name]
    data.mkdir()  # a server that only reads makes none
    assert works(serve(**{f"CHACHAML_{name.upper()}": value}))


def test_other_options_are_environment_variables_too(serve: Serve, tmp_path: Path) -> None:
    ready, log_file = tmp_path / "ready", tmp_path / "log"
    variables = {"PORT": "0", "DATA": str(tmp_path / "here"), "READY_FILE": str(ready), "THREADS": "9"}
    # An address of this machine's own, which is none of the names that need no token.
    variables.update(HOST="127.0.0.2", NO_TOKEN="1", NO_MLFLOW="1")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "chachaml_lite", "serve"],
            stdout=log,
            stderr=log,
            env=environment(**{f"CHACHAML_{name}": value for name, value in variables.items()}),
        )
    server = Server(await_ready(process, ready, log_file), tmp_path / "here", process, log_file)
    try:
        assert server.url.startswith("http://127.0.0.2:")
        assert requests.post(f"{server.url}/api/w/runs", json={"experiment": "e"}).status_code == 200
        assert len(list((tmp_path / "here/runs").iterdir())) == 2
        assert requests.get(f"{server.url}/api/3.0/mlflow/server-info").status_code == 404
        assert "warning: anyone who can reach 127.0.0.2 can read and write" in server.log
        assert count_threads(server) == count_threads(serve("--threads", "1")) + 8
    finally:
        assert server.stop() == 0
    tested_options = {*SETTINGS, "port", "data", "ready_file", "threads", "no_token", "no_mlflow", "token_file"}
    assert tested_options == {option.name for option in serve_command.params}


def test_token_file_keeps_the_token_out_of_the_process_list(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("geheim\n")
    right, wrong = {"Authorization": "Bearer geheim"}, {"Authorization": "Bearer other"}
    starts: list[tuple[list[str], dict[str, str]]] = [
        (["--token-file", str(file)], {}),
        ([], {"CHACHAML_TOKEN_FILE": str(file)}),
        (["--token-file", str(file)], {"CHACHAML_TOKEN": "other"}),  # which is there for curl
    ]
    for options, variables in starts:
        server = serve(*options, forks=False, **variables)
        assert requests.get(f"{server.url}/api/runs", headers=right).status_code == 200
        assert requests.get(f"{server.url}/api/runs", headers=wrong).status_code == 401
        assert "geheim" not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert "warning" not in server.log
        server.stop()


def test_token_option_warns_that_the_process_list_shows_it(serve: Serve, tmp_path: Path) -> None:
    for options, variables, is_warned in (
        (["--token", "secret"], {}, True),
        (["--token", "secret"], {"CHACHAML_TOKEN_FILE": "/dev/null"}, True),
        ([], {"CHACHAML_TOKEN": "secret"}, False),
    ):
        server = serve(*options, **variables)
        assert requests.get(f"{server.url}/api/runs").status_code == 401
        assert ("list of processes; use --token-file" in server.log) == is_warned
        server.stop()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--port", "70000"], "--port"),
        (["--port", "http"], "--port"),
        (["--fsync", "sometimes"], "always"),
        (["--threads", "0"], "--threads"),
        (["--max-upload", "-1"], "--max-upload"),
        (["--token", " "], "token is empty"),
        (["--token-file", "/dev/null"], "token is empty"),
        (["--token-file", "/no/such/file"], "--token-file"),
        (["--token-file", "/dev/null", "--token", "x"], "use one of them"),
        (["--public-url", "tracker.example.org"], "must be a URL"),
        (["--public-url", "ftp://tracker.example.org"], "must be a URL"),
        (["--public-url", "https://"], "must be a URL"),
        (["--public-url", "https://me@tracker.example.org"], "must be a URL"),
        (["--public-url", "https://tracker.example.org:http"], "--public-url"),
        (["--public-url", "https://tracker.example.org/?a=b"], "must be a URL"),
        (["--public-url", "https://tracker.example.org/a b"], "must have a path such as /tracker"),
        (["--public-url", "https://tracker.example.org/a/../b"], "must have a path such as /tracker"),
        (["--url-prefix", "/tracker?a"], "must have a path such as /tracker"),
        (["--url-prefix", "/größe"], "must have a path such as /tracker"),
        (["--url-prefix", "https://tracker.example.org/tracker"], "must have a path such as /tracker"),
        (["--url-prefix", "/a", "--public-url", "https://tracker.example.org/b"], "the path of --public-url is /b"),
        (
            ["--url-prefix", "/a", "--public-url", "https://tracker.example.org"],
            "--public-url https://tracker.example.org/a",
        ),
        (["--host", "0.0.0.0"], "--token"),
        (["--host", "::"], "CHACHAML_TOKEN"),
        (["--host", "192.0.2.1"], "--no-token"),
        (["--nonsense"], "--nonsense"),
        (["surplus"], "surplus"),
    ],
)
def test_usage_error_is_explained_and_exits_with_2(data: Path, options: list[str], part: str) -> None:
    result = run_serve("--data", str(data), *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert part in result.stderr and "Traceback" not in result.stderr
    assert not data.exists()


# -- what can't be served


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_port_in_use_is_reported_in_one_line(data: Path, address: str) -> None:
    if ":" in address and not has_ipv6():
        unavailable("this machine has no IPv6")
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        listener.bind((address, 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        assert is_one_line_error(
            run_serve("--port", port, "--data", str(data)), f"port {port} is in use", 'make run ARGS="--port 18523"'
        )
    assert not data.exists()


def test_second_server_on_a_store_reports_the_first_in_one_line(server: Server, data: Path) -> None:
    result = run_serve("--port", "0", "--data", str(data))
    assert is_one_line_error(result, "another server", str(server.process.pid), "another folder")
    assert requests.get(f"{server.url}/api/health").json()["ok"] is True
    link = data.with_name("link")
    link.symlink_to(data)
    assert is_one_line_error(run_serve("--port", "0", "--data", str(link)), "another server")


def test_store_is_unlocked_after_a_stop_and_after_a_kill(serve: Serve) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        serve().stop(number)
    assert requests.get(f"{serve().url}/api/health").json()["ok"] is True


@pytest.mark.parametrize("inside", ["", "/store", "/runs"])
def test_file_at_the_data_folder_path_is_reported_in_one_line(data: Path, inside: str) -> None:
    if inside == "/runs":
        data.mkdir()
        (data / "runs").write_text("a file")
        folder = data
    else:
        data.write_text("a file")
        folder = Path(f"{data}{inside}")
    assert is_one_line_error(run_serve("--port", "0", "--data", str(folder)), "can't be used")


@pytest.mark.parametrize("has_store", [True, False])
def test_unwritable_data_folder_is_reported_in_one_line(serve: Serve, data: Path, has_store: bool) -> None:
    if has_store:
        assert serve().stop() == 0
    data.mkdir(exist_ok=True)
    try:
        mounting = mount_read_only(data)
        mounting.__enter__()
    except OSError as fault:
        unavailable(f"nothing can be mounted: {fault}")
    try:
        assert is_one_line_error(
            run_serve("--port", "0", "--data", str(data)), "Read-only file system", "--data", "--read-only"
        )
    finally:
        mounting.__exit__(None, None, None)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.0.0.1", "a..b", "192.0.2.1", "\u00e4" * 70])
def test_foreign_host_is_reported_in_one_line(data: Path, host: str) -> None:
    result = run_serve("--host", host, "--port", "0", "--data", str(data), CHACHAML_TOKEN="t")
    assert is_one_line_error(result, "--host")


def test_unwritable_ready_file_is_reported_in_one_line(data: Path, tmp_path: Path) -> None:
    result = run_serve("--port", "0", "--data", str(data), "--ready-file", str(tmp_path / "none/ready"))
    assert result.returncode == 1, result
    assert result.stderr.count("\n") == 1 and "--ready-file" in result.stderr
    assert (data / ".lock").read_bytes() == b""  # given back
