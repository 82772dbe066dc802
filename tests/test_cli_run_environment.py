"""The environment that `chachaml-lite run` records, in real git repositories and virtual environments."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from support.commands import cli
from support.readme import find_blocks
from support.scripts import run_bash, set_host
from support.servers import PATIENCE_SECONDS, environment, run_server
from test_cli_help import put_on_path

from chachaml_lite.machine import environment as module
from chachaml_lite.sidecar.identity import read_environment

GIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(folder: Path, *arguments: str) -> str:
    process = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **GIT}, check=True, capture_output=True, text=True
    )
    return process.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, tool: Callable[[str], str]) -> Path:
    """A repository with one commit and a remote whose URL has credentials; and a folder `jobs`."""
    tool("git")
    folder = tmp_path / "repository"
    (folder / "jobs").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "jobs/train.py").write_text("print('first')\n")
    (folder / "other.txt").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    git(folder, "remote", "add", "other", "https://example.org/other.git")
    git(folder, "remote", "add", "origin", "https://ana:hunter2@example.org/repo.git")
    return folder


def record(folder: Path, data: Path, *command: str, options: Sequence[str] = (), **variables: Any) -> Any:
    """Run a command in a folder and return its run from the API."""
    cli("run", "-q", "--id", "r", "--data", str(data), *options, "--", *command, cwd=folder, env=variables)
    return json.loads(cli("show", "r", "--json", "--data", str(data)).stdout)


def read_artifact(data: Path, name: str) -> str:
    return (data / "runs/r/blobs" / name).read_text()


def get_artifact_names(run: Any) -> set[str]:
    return {each["name"] for each in run["artifacts"]}


def test_clean_tree_records_command_commit_python_and_machine(repository: Path, data: Path) -> None:
    run = record(repository / "jobs", data, sys.executable, "train.py", "--token", "hunter2", "--lr=0.1")
    env = run["env"]
    assert env["command"] == [sys.executable, "train.py", "--token", "***", "--lr=0.1"]
    assert env["directory"] == "jobs"
    assert env["git"] == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "trunk",
        "remote": "https://example.org/repo.git",
        "dirty": False,
    }
    assert env["python"]["version"] == platform.python_version()
    assert Path(env["python"]["executable"]).resolve() == Path(sys.executable).resolve()
    assert (env["host"], env["cpu_count"]) == (platform.node(), os.cpu_count())
    assert env["platform"] == platform.platform() and env["user"]
    assert get_artifact_names(run) == {"env/requirements.txt", "log.txt"}
    assert "hunter2" not in "".join(path.read_text() for path in data.rglob("*.json*"))


def test_uncommitted_changes_are_recorded_as_a_diff_that_applies(repository: Path, data: Path, tmp_path: Path) -> None:
    git(repository, "clone", "-q", ".", str(tmp_path / "clone"))
    (repository / "jobs/train.py").write_text("print('second')\n")
    (repository / "other.txt").write_text("two\n")
    git(repository, "add", "other.txt")
    (repository / "untracked.txt").write_text("not recorded\n")
    run = record(repository / "jobs", data, "sh", "-c", "echo print > train.py")  # its own change is not recorded
    assert run["env"]["git"]["dirty"] is True
    (tmp_path / "a.diff").write_text(read_artifact(data, "env/git.diff"))
    git(tmp_path / "clone", "apply", str(tmp_path / "a.diff"))
    assert (tmp_path / "clone/jobs/train.py").read_text() == "print('second')\n"
    assert (tmp_path / "clone/other.txt").read_text() == "two\n"
    assert not (tmp_path / "clone/untracked.txt").exists()


def test_untracked_files_do_not_make_a_tree_dirty(repository: Path, data: Path) -> None:
    (repository / "untracked.txt").write_text("x\n")
    run = record(repository, data, "true")
    assert run["env"]["git"]["dirty"] is False and run["env"]["directory"] == "."


def test_long_diff_is_truncated_at_a_line(repository: Path, data: Path) -> None:
    (repository / "other.txt").write_text("".join(f"line {number}\n" for number in range(200_000)))
    run = record(repository, data, "true")
    assert run["env"]["git"]["diff_cut"] is True
    diff = read_artifact(data, "env/git.diff")
    assert 990_000 < len(diff) <= module.MAX_DIFF_BYTES and diff.endswith("\n")


def test_detached_head_has_no_branch_and_new_repository_no_commit(repository: Path, data: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert "branch" not in record(repository, data, "true")["env"]["git"]
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q", "-b", "trunk")
    run = record(tmp_path / "new", tmp_path / "other-store", "true")
    assert run["env"]["git"] == {"branch": "trunk", "dirty": False}
    assert "env/git.diff" not in get_artifact_names(run)


def test_no_env_option_records_nothing(repository: Path, data: Path, tmp_path: Path) -> None:
    (repository / "other.txt").write_text("two\n")
    run = record(repository, data, "true", options=("--no-env",))
    assert run["env"] is None and get_artifact_names(run) == {"log.txt"}
    run = record(repository, tmp_path / "other-store", "true", CHACHAML_NO_ENV="1")
    assert run["env"] is None and get_artifact_names(run) == {"log.txt"}


def test_missing_repository_or_git_does_not_affect_the_rest(tmp_path: Path, data: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/true").symlink_to(shutil.which("true") or "")
    for store, variables in (
        (data, {"GIT_CEILING_DIRECTORIES": str(tmp_path)}),
        (tmp_path / "two", {"PATH": str(tmp_path / "bin")}),
    ):
        (tmp_path / "plain").mkdir(exist_ok=True)
        run = record(tmp_path / "plain", store, "true", **variables)
        assert not {"git", "directory"} & run["env"].keys()
        assert run["env"]["command"] == ["true"] and run["status"] == "completed"
    assert "python" not in run["env"] and get_artifact_names(run) == {"log.txt"}


@pytest.mark.parametrize("program", ["git", "python", "nvidia-smi"])
def test_hanging_program_is_omitted_and_not_waited_for(tmp_path: Path, data: Path, program: str) -> None:
    fake = tmp_path / "bin" / program
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexec sleep 600\n")
    fake.chmod(0o755)
    run = record(tmp_path, data, "true", PATH=f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    assert run["status"] == "completed" and run["env"]["command"] == ["true"]
    assert {"git": "git", "python": "python", "nvidia-smi": "gpus"}[program] not in run["env"]


def test_gpus_have_the_names_of_nvidia_smi(tmp_path: Path, data: Path) -> None:
    fake = tmp_path / "bin/nvidia-smi"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nprintf 'NVIDIA A100-SXM4-40GB, 535.104.05\\nNVIDIA H100, NVL, 535.104.05\\n'\n")
    fake.chmod(0o755)
    env = record(tmp_path, data, "true", PATH=f"{fake.parent}{os.pathsep}{os.environ['PATH']}")["env"]
    assert (env["gpus"], env["gpu_driver"]) == (["NVIDIA A100-SXM4-40GB", "NVIDIA H100, NVL"], "535.104.05")


def test_packages_are_those_of_the_commands_python_in_pips_format(tmp_path: Path, data: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=PATIENCE_SECONDS)
    packages = next(venv.glob("lib/python*/site-packages"))

    def install(name: str, version: str, **origin: Any) -> None:
        folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (folder / "RECORD").write_text("")
        if origin:
            (folder / "direct_url.json").write_text(json.dumps(origin))

    install("Zeta_pkg", "1.0")
    install("alpha", "2.0rc1")
    install("from-git", "3", url="https://ana:hunter2@host/x.git", vcs_info={"vcs": "git", "commit_id": "c0ffee"})
    install("from-wheel", "4", url="https://host/w.whl", archive_info={})
    run = record(tmp_path, data, str(venv / "bin/python"), "-c", "pass")
    assert run["env"]["python"]["executable"] == str(venv / "bin/python")
    requirements = read_artifact(data, "env/requirements.txt")
    assert requirements.splitlines() == [
        "alpha==2.0rc1",
        "from-git @ git+https://host/x.git@c0ffee",
        "from-wheel @ https://host/w.whl",
        "Zeta_pkg==1.0",
    ]
    # Compare with pip itself, which is installed in this test's environment.
    command = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), "freeze"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environment())
    if process.returncode == 0:  # pip may be missing here, too
        assert [line.replace("ana:hunter2@", "") for line in process.stdout.splitlines()] == requirements.splitlines()


def test_script_of_a_virtual_environment_records_its_python(tmp_path: Path, data: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    script = tmp_path / "venv/bin/torchrun"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    run = record(tmp_path, data, str(script))
    assert run["env"]["python"]["executable"] == str(tmp_path / "venv/bin/python")


def test_command_that_is_long_or_not_utf_8_is_truncated_or_replaced(tmp_path: Path, data: Path) -> None:
    words = ["true", "x" * 100_000, *(f"word-{number}" for number in range(20_000))]
    command = record(tmp_path, data, *words)["env"]["command"]
    assert command[0] == "true" and len(command[1]) == 2000 and command[-1] == "…"
    cli("run", "-q", "--id", "s", "--data", str(data), "--", "true", os.fsdecode(b"caf\xe9"))
    assert json.loads(cli("show", "s", "--json", "--data", str(data)).stdout)["env"]["command"] == ["true", "caf\ufffd"]


def test_resumed_run_keeps_its_first_environment(repository: Path, data: Path) -> None:
    before = record(repository, data, "true")["env"]
    cli("run", "-q", "--resume", "r", "--data", str(data), "--", "echo", "again", cwd=repository)
    assert json.loads(cli("show", "r", "--json", "--data", str(data)).stdout)["env"] == before


@pytest.fixture
def older_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server behind a proxy that refuses the field `env`, as older versions do."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    with run_server(tmp_path / "older", tmp_path / "older-scratch") as server:

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                content, status = (
                    b'{"error":"bad request","detail":"unknown field \'env\'; this endpoint takes ..."}',
                    400,
                )
                if not (self.path == "/api/w/runs" and b'"env"' in body):
                    response = requests.request(
                        self.command,
                        server.url + self.path,
                        data=body,
                        headers={"Content-Type": self.headers["Content-Type"] or ""},
                    )
                    content, status = response.content, response.status_code
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
            Thread(target=proxy.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{proxy.server_port}"
            proxy.shutdown()


def test_older_server_gets_the_run_without_its_environment(older_server: str) -> None:
    cli("run", "-q", "--id", "r", "--url", older_server, "--", "true")
    assert requests.get(f"{older_server}/api/runs/r", timeout=PATIENCE_SECONDS).json()["status"] == "completed"


def test_blocks_of_the_manual_run(repository: Path, tmp_path: Path, tool: Callable[[str], str]) -> None:
    for program in ("bash", "curl", "jq"):
        tool(program)
    run_it, ask, send = find_blocks("bash", "provenance")
    (repository / "train.py").write_text("print('trained')\n")
    (tmp_path / "python").symlink_to(sys.executable)
    variables = put_on_path(CHACHAML_DATA=str(tmp_path / "store"), GIT_CONFIG_GLOBAL=os.devnull)
    variables["PATH"] = f"{tmp_path}{os.pathsep}{variables['PATH']}"
    output = run_bash(run_it + ask, repository, **variables)
    commit = git(repository, "rev-parse", "HEAD")
    assert output.startswith("trained\n") and commit[:10] in output and output.endswith("1 run\n")
    with run_server(tmp_path / "served", tmp_path / "scratch") as server:
        assert run_bash(set_host(send, server.url), repository, **variables) == f"{commit}\n"


def test_server_does_not_import_the_machine_modules(tmp_path: Path) -> None:
    script = "import sys, chachaml_lite.app, chachaml_lite.server, chachaml_lite.commands.serve; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    modules = set(process.stdout.split())
    assert "chachaml_lite.server" in modules
    assert not {name for name in modules if re.match(r"psutil|pynvml|chachaml_lite\.machine", name)}


def test_run_of_a_ci_job_records_the_repository_of_its_workspace(repository: Path) -> None:
    env = read_environment(
        {"GITHUB_WORKSPACE": str(repository), "GITHUB_SHA": "f" * 40, "GITHUB_REPOSITORY": "org/other"}
    )
    assert env["git"]["commit"] == git(repository, "rev-parse", "HEAD")
    assert env["git"]["remote"] == "https://example.org/repo.git" and "command" not in env
