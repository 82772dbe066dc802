"""The help and its examples, completion in a shell, the commands in the manual, and the version."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from support.commands import cli
from support.readme import PAGES, find_blocks
from support.scripts import run_bash, set_host
from support.servers import PATIENCE_SECONDS, Server, environment, run_server
from tensorboard.summary import Writer

from chachaml_lite import __version__
from chachaml_lite.cli import main
from chachaml_lite.client.base import OCTETS, build_path
from chachaml_lite.client.http import HttpClient

pytest_plugins = "support.mlflow_servers"

COMMANDS = sorted(main.commands)
#: Examples that can't run here, each with the test that runs it.
TESTED_ELSEWHERE: dict[str, str] = {}
#: The folder of `chachaml-lite`, for scripts that call it by name.
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the runs and models of the examples, on ./artifacts of a folder with a train.py."""
    folder = tmp_path_factory.mktemp("help")
    with run_server(folder / "artifacts", folder / "scratch") as server, HttpClient(server.url) as client:
        for run_id, experiment in (("one", "iris"), ("two", "digits"), ("odd", "$(touch /tmp/x) y")):
            client.post("/api/w/runs", {"experiment": experiment, "id": run_id})
            client.post(build_path("api", "w", "runs", run_id, "metrics"), {"accuracy": 0.95, "loss": 0.1})
            path = build_path("api", "w", "runs", run_id, "artifacts")
            for name in ("model.pkl", "checkpoints/1.pt"):
                client.ask("POST", path, [("name", name)], body=b"bytes", content_type=OCTETS).json()
            client.post(build_path("api", "w", "runs", run_id, "end"), {"status": "completed"})
        model = {"name": "iris-classifier", "run_id": "one", "artifact": "model.pkl", "stage": "production"}
        client.post("/api/w/models", model)
        for name, run_id in (("run.zip", "one"), ("more.zip", "two")):
            (folder / name).write_bytes(client.ask("GET", build_path("api", "runs", run_id, "download")).content())
        events = Writer(str(folder / "logs"))
        events.add_scalar("loss", 0.5, 1)
        events.close()
        (folder / "train.py").write_text("print('trained')\n")
        (folder / "Makefile").write_text("all:\n\t@true\n")
        yield server


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the examples push to, as https://tracker.example.org."""
    folder = tmp_path_factory.mktemp("team")
    with run_server(folder / "artifacts", folder / "scratch", "--token", "secret") as server:
        yield server


TEAM = "https://tracker.example.org"


def get_help(*names: str) -> str:
    return str(cli(*names, "--help").stdout)


def get_examples(name: str) -> list[str]:
    """Return the example calls in a command's help."""
    text = get_help(*([name] if name else []))
    _, heading, rest = text.partition("\n  Examples:\n")
    assert heading, f"{name or 'the group'} has no examples in its help"
    return [line.strip() for line in rest.splitlines() if line.strip()]


def put_on_path(**variables: str) -> dict[str, str]:
    return {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **variables}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_and_its_options_have_a_help_text(name: str) -> None:
    command = main.commands[name]
    assert command.help and command.get_short_help_str(60).endswith("."), "it must fit into the list of commands"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or isinstance(parameter.type, click.Choice), parameter.name
    assert f"  {name} " in get_help()


def test_help_lists_the_exit_codes_and_has_a_short_option() -> None:
    text = get_help()
    assert re.findall(r"^    (\d)  \w+", text, re.MULTILINE) == ["0", "1", "2", "3"]
    assert cli("-h").stdout == text
    assert cli(code=2).stderr == text


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_examples_in_the_help_run(
    request: pytest.FixtureRequest,
    server: Server,
    team: Server,
    tmp_path: Path,
    tool: Callable[[str], str],
    name: str,
) -> None:
    for program in ("bash", "jq", "make"):
        tool(program)
    variables = put_on_path(CHACHAML_URL=server.url, CHACHAML_RUN_ID="one", CHACHAML_PORT="0")
    variables["CHACHAML_TO_TOKEN"] = "secret"
    lines = get_examples(name)
    assert lines
    # Started only for the examples that use it, since that takes long.
    mlflow = request.getfixturevalue("mlflow").url if "--to mlflow" in str(lines) else ""
    for line in lines:
        assert line.startswith("chachaml-lite "), line
        script = line.replace("/tmp/", f"{tmp_path}/").replace(TEAM, team.url)
        script = script.replace("http://localhost:5000", mlflow)
        if name in TESTED_ELSEWHERE or "--from mlflow" in line:  # run by test_cli_import_mlflow, on its own stores
            continue
        if line.startswith("chachaml-lite serve"):
            run_serve_example(script, tmp_path, variables)
        else:
            run_bash(script, server.data.parent, **variables)


def run_serve_example(script: str, folder: Path, variables: dict[str, str]) -> None:
    """Run a command that starts a server until it prints its address."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {script}"], cwd=folder, env=environment(**variables), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert b" on http://localhost:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


# -- completion


def complete(shell: str, *words: str, **variables: str) -> list[str]:
    """Return a shell's completions of the last word, by click's protocol."""
    words_so_far = {"COMP_WORDS": " ".join(("chachaml-lite", *words)), "COMP_CWORD": str(len(words))}
    env = environment(_CHACHAML_LITE_COMPLETE=f"{shell}_complete", **words_so_far, **variables)
    process = subprocess.run(
        [str(BIN / "chachaml-lite")], env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert process.stderr == ""
    return [line.partition(",")[2] for line in process.stdout.splitlines() if line]


def test_bash_completion_of_commands_options_and_names(
    server: Server, tool: Callable[[str], str], tmp_path: Path
) -> None:
    tool("bash")
    script = """
eval "$(_CHACHAML_LITE_COMPLETE=bash_source chachaml-lite)"
complete -p chachaml-lite > /dev/null
complete_words() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "$(complete -p chachaml-lite | sed 's/.*-F \\([^ ]*\\).*/\\1/')" chachaml-lite
    echo "${COMPREPLY[@]}"
}
complete_words chachaml-lite ""
complete_words chachaml-lite sh
complete_words chachaml-lite runs --expe
complete_words chachaml-lite show o
complete_words chachaml-lite show latest : ir
complete_words chachaml-lite show latest :
complete_words chachaml-lite compare --url http : //127.0.0.1 : $PORT one production : i
complete_words chachaml-lite runs --status f
complete_words chachaml-lite runs --order-by metrics.a
complete_words chachaml-lite end one --status ""
"""
    lines = run_bash(script, tmp_path, **put_on_path(CHACHAML_URL=server.url, PORT=str(server.port))).splitlines()
    assert lines[0].split() == COMMANDS
    # Bash splits words at a colon, and replaces only the part behind it by a completion.
    by_colon = ["iris", "digits iris", "iris-classifier"]
    assert [" ".join(sorted(line.split())) for line in lines[1:]] == [
        *("show", "--experiment", "odd one"),
        *by_colon,
        *("failed", "metrics.accuracy", "completed failed"),
    ]


def test_completion_of_names_from_a_server_or_a_folder(server: Server) -> None:
    for variables in ({"CHACHAML_URL": server.url}, {"CHACHAML_DATA": str(server.data)}):
        assert complete("bash", "compare", "one", "tw", **variables) == ["two"]
        assert sorted(complete("bash", "runs", "-e", "''", **variables)) == ["digits", "iris"], (
            "the third experiment would run as code"
        )
    assert complete("bash", "push", TEAM, "one", "tw", CHACHAML_URL=server.url) == ["two"]
    assert complete("bash", "check", "one", "--baseline", "tw", CHACHAML_URL=server.url) == ["two"]
    assert complete("bash", "show", "t", CHACHAML_URL="http://localhost:1") == []


# -- the manual

TRAINING = """
import json, os, urllib.request
url = f"{os.environ['CHACHAML_URL']}/api/w/runs/{os.environ['CHACHAML_RUN_ID']}/metrics"
body = json.dumps({"accuracy": 0.95, "loss": 0.1}).encode()
urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}))
print("trained")
"""


def test_blocks_of_the_manual_run_in_sequence(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("bash")
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / "python").symlink_to(sys.executable)
    path = f"{tmp_path}{os.pathsep}{put_on_path()['PATH']}"
    first, second = find_blocks("bash", "cli", "")
    assert find_blocks("bash", "README", "A command as a run") == [first]
    # Set the folder from the start, since another program may listen on port 8080 here, and would be used.
    output = run_bash("export CHACHAML_DATA=artifacts\n" + first + second, tmp_path, PATH=path)
    assert output.startswith("trained\n")
    assert output.endswith("2 rules passed\ngood enough\n")
    (log,) = tmp_path.glob("artifacts/runs/*/blobs/log.txt")
    assert log.read_text() == "trained\n"


def test_blocks_of_the_manual_copy_runs_between_stores(
    server: Server, team: Server, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("bash", "curl", "jq"):
        tool(name)
    with HttpClient(server.url) as client:  # the block uses the newest run, which must not be one of the examples'
        client.post("/api/w/runs", {"experiment": "iris", "id": "newest"})
        client.post("/api/w/runs/newest/metrics", {"accuracy": 0.95, "loss": 0.1})
        path, query = "/api/w/runs/newest/artifacts", [("name", "model.pkl")]
        client.ask("POST", path, query, body=b"bytes", content_type=OCTETS).json()
        client.post("/api/w/runs/newest/end", {"status": "completed"})
    imports, pushes = find_blocks("bash", "cli", "Copy runs between stores")
    run_bash(set_host(imports, server.url), tmp_path, **put_on_path())
    (model,) = tmp_path.glob("artifacts/runs/*/blobs/model.pkl")
    assert model.read_bytes() == b"bytes"
    output = run_bash(pushes.replace(TEAM, team.url), tmp_path, **put_on_path())
    assert output.splitlines()[-1].startswith(
        ("1 imported, 0 updated, 0 unchanged", "0 imported, 0 updated, 1 unchanged")
    )
    with HttpClient(team.url, "secret") as client:
        assert client.get(build_path("api", "runs", model.parts[-3]))["metrics"] == {"accuracy": 0.95, "loss": 0.1}


def test_manual_lists_every_command() -> None:
    section = PAGES["cli"].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)", section, re.MULTILINE)) == COMMANDS
    assert "_CHACHAML_LITE_COMPLETE=bash_source chachaml-lite" in section


# -- the version


def test_version_is_defined_in_one_place(server: Server) -> None:
    assert cli("--version").stdout == f"chachaml-lite, version {__version__}\n"
    with HttpClient(server.url) as client:
        health: Any = client.get("/api/health")
        assert health["version"] == __version__
        assert client.get("/api/openapi.json")["info"]["version"] == __version__
    root = Path(__file__).resolve().parents[1]
    assert "version = attr: chachaml_lite.__version__" in (root / "setup.cfg").read_text()
    files_with_version = [
        path.relative_to(root).as_posix()
        for path in [*root.glob("*.*"), *root.glob("chachaml_lite/**/*.py"), *root.glob("chachaml_lite/**/*.json")]
        if path.is_file() and re.search(rf"\b{re.escape(__version__)}\b", path.read_text(errors="replace"))
    ]
    # The changelog and the note on upgrades name versions, including this one.
    assert set(files_with_version) - {"CHANGELOG.md", "README.md"} == {"chachaml_lite/__init__.py"}
