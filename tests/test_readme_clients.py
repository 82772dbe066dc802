"""The clients and recipes of the manual: each runs as a reader would run it, and the run that it logged is checked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from support.commands import cli
from support.readme import find_blocks
from support.scripts import run_bash, run_python, set_host
from support.servers import PATIENCE_SECONDS, Server, environment

Tool = Callable[[str], str]


def get_json(server: Server, path: str) -> Any:
    answer = requests.get(server.url + path, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get_points(server: Server, run: str, key: str) -> list[tuple[int, float]]:
    series = get_json(server, f"/api/runs/{run}/metrics?key={key}").get(key, {"points": []})
    return [(point["step"], point["value"]) for point in series["points"]]


# -- clients

#: The section of each language in the manual.
LANGUAGES = {"python": "Python", "go": "Go", "js": "Node", "bash": "Bash"}


def run_program(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("language", ["python", "go", "js", "bash"])
def test_client_logs_a_complete_run(server: Server, tmp_path: Path, tool: Tool, language: str) -> None:
    (code,) = find_blocks(language, "clients", LANGUAGES[language])
    script = set_host(code, server.url)
    if language == "python":
        assert run_python(script, tmp_path) == ""
    elif language == "bash":
        for name in ("bash", "curl", "bc"):
            tool(name)
        run_bash(script, tmp_path)
    else:
        command = ["go", "run"] if language == "go" else ["node"]
        (tmp_path / f"client.{language}").write_text(script)
        run_program([tool(command[0]), *command[1:], f"client.{language}"], tmp_path)
    (entry,) = get_json(server, "/api/runs")
    run = get_json(server, f"/api/runs/{entry['id']}")
    assert (run["experiment"], run["status"]) == ("iris", "completed")
    assert run["name"] == f"from-{'node' if language == 'js' else language}"
    epochs = run["params"]["epochs"]
    assert run["params"] == {"lr": 0.01, "epochs": 100 if language == "python" else 3}
    logged_points = get_points(server, run["id"], "loss")
    assert [step for step, _ in logged_points] == list(range(epochs))
    assert [value for _, value in logged_points] == pytest.approx([1 / (step + 1) for step in range(epochs)])
    (artifact,) = run["artifacts"]
    download = requests.get(f"{server.url}/api/artifacts/{run['id']}/{artifact['name']}/download", timeout=60)
    assert (artifact["name"], download.content) == ("notes.txt", b"trained on a laptop")


@pytest.mark.parametrize("language", ["python", "go", "js", "bash"])
def test_client_without_the_token_prints_the_reason_and_fails(
    serve: Callable[..., Server], tmp_path: Path, tool: Tool, language: str
) -> None:
    server = serve("--token", "secret")
    (code,) = find_blocks(language, "clients", LANGUAGES[language])
    program = tmp_path / f"client.{language}"
    program.write_text(set_host(code, server.url))
    command = {"python": ["python3"], "go": ["go", "run"], "js": ["node"], "bash": ["bash", "-e"]}[language]
    result = subprocess.run(
        [tool(command[0]), *command[1:], str(program)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode != 0
    assert "401" in result.stderr or "token" in result.stderr


def test_train_py_logs_to_its_own_run_or_to_that_of_the_run_command(server: Server, tmp_path: Path) -> None:
    (code,) = find_blocks("python", "README", "Python")
    assert len([line for line in code.splitlines() if line]) == 10
    (tmp_path / "train.py").write_text(set_host(code, server.url))
    run_program([sys.executable, "train.py"], tmp_path)
    (own_run,) = get_json(server, "/api/runs?experiment=iris")
    assert (own_run["status"], own_run["params"]["epochs"], len(get_points(server, own_run["id"], "loss"))) == (
        "completed",
        100,
        100,
    )
    (tmp_path / "train.py").write_text(code)
    cli("run", "-e", "run", "--", sys.executable, "train.py", cwd=tmp_path, env={"CHACHAML_URL": server.url})
    (given_run,) = get_json(server, "/api/runs?experiment=run")
    assert (given_run["status"], len(get_points(server, given_run["id"], "loss"))) == ("completed", 100)
    assert len(get_json(server, "/api/runs")) == 2


# -- recipes


def find_recipe(word: str) -> str:
    """Return the one recipe that contains a word."""
    (script,) = [code for code in find_blocks("bash", "clients", "Shell scripts") if word in code]
    return script


def test_every_recipe_is_tested() -> None:
    words = ("trap", "loadavg", "x-ndjson", "--retry")
    assert find_blocks("bash", "clients", "Shell scripts") == [find_recipe(word) for word in words]


@pytest.mark.parametrize(("code", "status", "error"), [(0, "completed", None), (3, "failed", "exit code 3")])
def test_trap_ends_the_run_with_the_scripts_exit_code(
    server: Server, tmp_path: Path, tool: Tool, code: int, status: str, error: str | None
) -> None:
    train = tmp_path / "train.sh"
    train.write_text(f"#!/bin/sh\nexit {code}\n")
    train.chmod(0o755)
    script = set_host(find_recipe("trap"), server.url)
    tool("curl")
    result = subprocess.run(
        [tool("bash"), "-e"], input=script, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == code, result.stderr
    (run,) = get_json(server, "/api/runs?experiment=nightly")
    assert (run["status"], run["error"]) == (status, error)


@pytest.mark.parametrize("interruption", ["HUP", "INT", "TERM", "Ctrl-C", "timeout"])
@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_trap_ends_the_run_as_failed_when_its_script_is_interrupted(
    server: Server, tmp_path: Path, tool: Tool, shell: str, interruption: str
) -> None:
    tool("curl")
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    train = tmp_path / "train.sh"
    train.write_text("#!/bin/sh\necho > ready\nread line\n")
    train.chmod(0o755)
    (tmp_path / "nightly.sh").write_text(set_host(find_recipe("trap"), server.url))
    wrapper = ["timeout", "600"] if interruption == "timeout" else []
    with subprocess.Popen(
        [*wrapper, tool(shell), "nightly.sh"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        start_new_session=True,
        # Under nohup it is ignored, and a shell can't trap what was ignored at its start.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as process:
        ready.read_bytes()  # the training has begun
        number = signal.SIGINT if interruption == "Ctrl-C" else getattr(signal, f"SIG{interruption}", None)
        if interruption == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        elif number is None:
            process.send_signal(signal.SIGALRM)  # as `timeout` receives from its timer when the time is up
        else:
            process.send_signal(number)
            assert process.stdin
            process.stdin.close()  # a shell handles a signal once its current command has ended
        code = process.wait(PATIENCE_SECONDS)
    expected_code = 124 if interruption == "timeout" else 128 + (number or 0)
    assert code == expected_code
    (run,) = get_json(server, "/api/runs?experiment=nightly")
    logged_code = 128 + (number or signal.SIGTERM)
    assert (run["status"], run["error"]) == ("failed", f"exit code {logged_code}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder of programs that comes first on the PATH; its `sleep` takes 10 ms."""
    folder = tmp_path / "bin"
    folder.mkdir()
    add_program(folder, "sleep", "exec /bin/sleep 0.01")
    return folder


def add_program(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("has_gpu", [False, True], ids=["no GPU", "GPU"])
@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="this system has no /proc/loadavg")
def test_machine_load_is_logged_until_the_run_ends(
    server: Server, tmp_path: Path, path: Path, tool: Tool, has_gpu: bool
) -> None:
    for name in ("bash", "curl", "jq"):
        tool(name)
    add_program(path, "nvidia-smi", 'echo "37"; echo "99"' if has_gpu else "exit 9")
    run = requests.post(f"{server.url}/api/w/runs?format=id", json={"experiment": "iris"}, timeout=60).text.strip()
    training = """
until [ "$(curl -fsS "$HOST/api/runs/$RUN/metrics" | jq '.["system/load"].total // 0')" -ge 3 ]; do :; done
curl -fsS -X POST "$HOST/api/w/runs/$RUN/end"
wait
"""
    script = set_host(find_recipe("loadavg"), server.url)
    run_bash(script + training, tmp_path, CHACHAML_RUN_ID=run, PATH=f"{path}:{os.environ['PATH']}")
    logged_points = get_points(server, run, "system/load")
    assert [step for step, _ in logged_points] == list(range(len(logged_points)))
    assert len(logged_points) >= 3
    gpu = get_points(server, run, "system/gpu")
    assert [value for _, value in gpu] == ([37] * len(logged_points) if has_gpu else [])


def test_program_output_is_sent_in_one_request(server: Server, tmp_path: Path, tool: Tool) -> None:
    for name in ("bash", "curl", "jq"):
        tool(name)
    lines = [{"epoch": epoch, "loss": 1 / (epoch + 1), "accuracy": epoch / 10, "at": "now"} for epoch in range(5)]
    (tmp_path / "train.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = requests.post(f"{server.url}/api/w/runs?format=id", json={"experiment": "iris"}, timeout=60).text.strip()
    answer = run_bash(set_host(find_recipe("x-ndjson"), server.url), tmp_path, CHACHAML_RUN_ID=run)
    assert json.loads(answer)["logged"] == 10
    assert get_points(server, run, "loss") == [(epoch, 1 / (epoch + 1)) for epoch in range(5)]
    assert get_points(server, run, "accuracy") == [(epoch, epoch / 10) for epoch in range(5)]


def test_nan_in_program_output_is_kept_and_a_failing_jq_fails_the_script(
    server: Server, tmp_path: Path, tool: Tool
) -> None:
    for name in ("bash", "curl", "jq"):
        tool(name)
    run = requests.post(f"{server.url}/api/w/runs?format=id", json={"experiment": "iris"}, timeout=60).text.strip()
    script = set_host(find_recipe("x-ndjson"), server.url)
    (tmp_path / "train.log").write_text('{"epoch":1,"loss":NaN,"accuracy":0.5}\n')
    run_bash(script, tmp_path, CHACHAML_RUN_ID=run)
    assert [(step, str(value)) for step, value in get_points(server, run, "loss")] == [(1, "NaN")]
    (tmp_path / "train.log").unlink()
    result = subprocess.run(
        [tool("bash")],
        input=script,
        cwd=tmp_path,
        env=environment(CHACHAML_RUN_ID=run),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert json.loads(result.stdout)["logged"] == 0


class LossyHandler(BaseHTTPRequestHandler):
    """Forwards each request, but loses the first response to some paths: the server has carried out the request."""

    target = ""
    paths_to_lose: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Content-Type": self.headers["Content-Type"]}
        answer = requests.post(self.target + self.path, data=body, headers=headers, timeout=60)
        lost_paths = {part for part in self.paths_to_lose if self.path.endswith(part)}
        self.paths_to_lose.difference_update(lost_paths)
        if lost_paths:
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def lossy(server: Server) -> Iterator[str]:
    """The URL of a proxy in front of the server that loses responses."""
    handler = type("Handler", (LossyHandler,), {"target": server.url, "paths_to_lose": {"/runs", "/metrics", "/end"}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as front:
        thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{front.server_address[1]}"
        front.shutdown()
        thread.join()
    assert handler.paths_to_lose == set(), "no response was lost, so this proves nothing"  # type: ignore[attr-defined]


def test_requests_repeated_after_a_lost_response_log_one_run(
    server: Server, lossy: str, tmp_path: Path, tool: Tool
) -> None:
    for name in ("bash", "curl"):
        tool(name)
    run_bash(set_host(find_recipe("--retry"), lossy), tmp_path)
    (run,) = get_json(server, "/api/runs")
    assert (run["experiment"], run["status"]) == ("nightly", "completed")
    assert run["params"] == {"lr": 0.01}
    assert run["metrics"] == {"loss": 0.5}
    assert get_points(server, run["id"], "loss") == [(1, 0.5)] * 2, (
        "each point is kept, and charts show the last at a step"
    )


def test_refused_write_is_sent_once_and_its_reason_printed(server: Server, tmp_path: Path, tool: Tool) -> None:
    script = set_host(find_recipe("--retry"), server.url)
    run_bash(script, tmp_path)
    (run,) = get_json(server, "/api/runs")
    result = subprocess.run(
        [tool("bash")], input=script, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert result.returncode != 0
    assert "no such run" in result.stdout and "ended" in result.stdout
    attempts = [line for line in server.log.splitlines() if f"/runs/{run['id']}/params" in line]
    assert [" 404 " in line for line in attempts] == [False, True], "the second run of the script sends it once"
