"""The command's help, whose examples run, completion in a shell, and one version."""

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
from support.readme import PAGES, blocks
from support.scripts import for_host, run_bash
from support.servers import PATIENCE_SECONDS, Running, environment, running
from tensorboard.summary import Writer

from chachaml_lite import __version__
from chachaml_lite.cli import main
from chachaml_lite.client.base import OCTETS, build_path
from chachaml_lite.client.http import HttpClient

pytest_plugins = "support.mlflow_servers"

COMMANDS = sorted(main.commands)
#: Examples that can't be run here, each with the place where such a call is.
ELSEWHERE: dict[str, str] = {}
#: Where `chachaml-lite` itself is, for scripts that call it by name.
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with what the examples speak of, on ./artifacts of a folder with a train.py."""
    folder = tmp_path_factory.mktemp("help")
    with running(folder / "artifacts", folder / "scratch") as started, HttpClient(started.url) as client:
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
        yield started


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server that runs are pushed to in examples, as https://tracker.example.org."""
    folder = tmp_path_factory.mktemp("team")
    with running(folder / "artifacts", folder / "scratch", "--token", "secret") as started:
        yield started


TEAM = "https://tracker.example.org"


def help_of(*names: str) -> str:
    return str(cli(*names, "--help").stdout)


def examples(name: str) -> list[str]:
    """The example calls in a command's help, as they stand."""
    text = help_of(*([name] if name else []))
    _, heading, rest = text.partition("\n  Examples:\n")
    assert heading, f"{name or 'the group'} has no examples in its help"
    return [line.strip() for line in rest.splitlines() if line.strip()]


def on_path(**variables: str) -> dict[str, str]:
    return {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **variables}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_what_each_option_is_for(name: str) -> None:
    command = main.commands[name]
    assert command.help and command.get_short_help_str(60).endswith("."), "it fits into the list of commands"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or isinstance(parameter.type, click.Choice), parameter.name
    assert f"  {name} " in help_of()


def test_help_tells_the_exit_codes_and_is_there_by_h_too() -> None:
    text = help_of()
    assert re.findall(r"^    (\d)  \w+", text, re.MULTILINE) == ["0", "1", "2", "3"]
    assert cli("-h").stdout == text
    assert cli(code=2).stderr == text


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_examples_in_the_help_run(
    request: pytest.FixtureRequest,
    server: Running,
    team: Running,
    tmp_path: Path,
    tool: Callable[[str], str],
    name: str,
) -> None:
    for program in ("bash", "jq", "make"):
        tool(program)
    variables = on_path(CHACHAML_URL=server.url, CHACHAML_RUN_ID="one", CHACHAML_PORT="0")
    variables["CHACHAML_TO_TOKEN"] = "secret"
    lines = examples(name)
    assert lines
    # Only where one is asked for: it takes long to start.
    mlflow = request.getfixturevalue("mlflow").url if "--to mlflow" in str(lines) else ""
    for line in lines:
        assert line.startswith("chachaml-lite "), line
        script = line.replace("/tmp/", f"{tmp_path}/").replace(TEAM, team.url)
        script = script.replace("http://localhost:5000", mlflow)
        if name in ELSEWHERE or "--from mlflow" in line:  # which test_cli_import_mlflow runs, on stores of its own
            continue
        if line.startswith("chachaml-lite serve"):
            serves(script, tmp_path, variables)
        else:
            run_bash(script, server.data.parent, **variables)


def serves(script: str, folder: Path, variables: dict[str, str]) -> None:
    """Run a server's command until it has said where it listens."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {script}"], cwd=folder, env=environment(**variables), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert b" on http://localhost:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


# -- completion


def completed(shell: str, *words: str, **variables: str) -> list[str]:
    """Return a shell's completions of the last word, by click's protocol."""
    given = {"COMP_WORDS": " ".join(("chachaml-lite", *words)), "COMP_CWORD": str(len(words))}
    env = environment(_CHACHAML_LITE_COMPLETE=f"{shell}_complete", **given, **variables)
    done = subprocess.run(
        [str(BIN / "chachaml-lite")], env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_bash_completes_commands_once_the_line_of_the_readme_is_in_its_profile(
    server: Running, tool: Callable[[str], str], tmp_path: Path
) -> None:
    tool("bash")
    script = """
eval "$(_CHACHAML_LITE_COMPLETE=bash_source chachaml-lite)"
complete -p chachaml-lite > /dev/null
completed() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "$(complete -p chachaml-lite | sed 's/.*-F \\([^ ]*\\).*/\\1/')" chachaml-lite
    echo "${COMPREPLY[@]}"
}
completed chachaml-lite ""
completed chachaml-lite sh
completed chachaml-lite runs --expe
completed chachaml-lite show o
completed chachaml-lite show latest : ir
completed chachaml-lite show latest :
completed chachaml-lite compare --url http : //127.0.0.1 : $PORT one production : i
completed chachaml-lite runs --status f
completed chachaml-lite runs --order-by metrics.a
completed chachaml-lite end one --status ""
"""
    lines = run_bash(script, tmp_path, **on_path(CHACHAML_URL=server.url, PORT=str(server.port))).splitlines()
    assert lines[0].split() == COMMANDS
    # Bash takes a colon for a word of its own, and puts what is offered in the place of the word behind it.
    by_colon = ["iris", "digits iris", "iris-classifier"]
    assert [" ".join(sorted(line.split())) for line in lines[1:]] == [
        *("show", "--experiment", "odd one"),
        *by_colon,
        *("failed", "metrics.accuracy", "completed failed"),
    ]


def test_names_are_completed_from_the_server_or_the_folder(server: Running) -> None:
    for variables in ({"CHACHAML_URL": server.url}, {"CHACHAML_DATA": str(server.data)}):
        assert completed("bash", "compare", "one", "tw", **variables) == ["two"]
        assert sorted(completed("bash", "runs", "-e", "''", **variables)) == ["digits", "iris"], (
            "the other would be code"
        )
    assert completed("bash", "push", TEAM, "one", "tw", CHACHAML_URL=server.url) == ["two"]
    assert completed("bash", "check", "one", "--baseline", "tw", CHACHAML_URL=server.url) == ["two"]
    assert completed("bash", "show", "t", CHACHAML_URL="http://localhost:1") == []


# -- the README

TRAINING = """
import json, os, urllib.request
url = f"{os.environ['CHACHAML_URL']}/api/w/runs/{os.environ['CHACHAML_RUN_ID']}/metrics"
body = json.dumps({"accuracy": 0.95, "loss": 0.1}).encode()
urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}))
print("trained")
"""


def test_blocks_of_the_manual_run_one_after_the_other(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("bash")
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / "python").symlink_to(sys.executable)
    path = f"{tmp_path}{os.pathsep}{on_path()['PATH']}"
    first, second = blocks("bash", "cli", "")
    assert blocks("bash", "README", "A command as a run") == [first]
    # The folder is named from the start on: something else may listen on port 8080 here, and would be asked.
    printed = run_bash("export CHACHAML_DATA=artifacts\n" + first + second, tmp_path, PATH=path)
    assert printed.startswith("trained\n")
    assert printed.endswith("2 rules passed\ngood enough\n")
    (log,) = tmp_path.glob("artifacts/runs/*/blobs/log.txt")
    assert log.read_text() == "trained\n"


def test_blocks_on_moving_runs_move_them(
    server: Running, team: Running, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("bash", "curl", "jq"):
        tool(name)
    with HttpClient(server.url) as client:  # the newest run, which the block asks for, is not one of the examples'
        client.post("/api/w/runs", {"experiment": "iris", "id": "newest"})
        client.post("/api/w/runs/newest/metrics", {"accuracy": 0.95, "loss": 0.1})
        path, query = "/api/w/runs/newest/artifacts", [("name", "model.pkl")]
        client.ask("POST", path, query, body=b"bytes", content_type=OCTETS).json()
        client.post("/api/w/runs/newest/end", {"status": "completed"})
    imports, pushes = blocks("bash", "cli", "Copy runs between stores")
    run_bash(for_host(imports, server.url), tmp_path, **on_path())
    (model,) = tmp_path.glob("artifacts/runs/*/blobs/model.pkl")
    assert model.read_bytes() == b"bytes"
    printed = run_bash(pushes.replace(TEAM, team.url), tmp_path, **on_path())
    assert printed.splitlines()[-1].startswith(
        ("1 imported, 0 updated, 0 unchanged", "0 imported, 0 updated, 1 unchanged")
    )
    with HttpClient(team.url, "secret") as client:
        assert client.get(build_path("api", "runs", model.parts[-3]))["metrics"] == {"accuracy": 0.95, "loss": 0.1}


def test_manual_has_every_command() -> None:
    section = PAGES["cli"].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)", section, re.MULTILINE)) == COMMANDS
    assert "_CHACHAML_LITE_COMPLETE=bash_source chachaml-lite" in section


# -- the version


def test_version_has_one_place(server: Running) -> None:
    assert cli("--version").stdout == f"chachaml-lite, version {__version__}\n"
    with HttpClient(server.url) as client:
        told: Any = client.get("/api/health")
        assert told["version"] == __version__
        assert client.get("/api/openapi.json")["info"]["version"] == __version__
    root = Path(__file__).resolve().parents[1]
    assert "version = attr: chachaml_lite.__version__" in (root / "setup.cfg").read_text()
    holders = [
        path.relative_to(root).as_posix()
        for path in [*root.glob("*.*"), *root.glob("chachaml_lite/**/*.py"), *root.glob("chachaml_lite/**/*.json")]
        if path.is_file() and re.search(rf"\b{re.escape(__version__)}\b", path.read_text(errors="replace"))
    ]
    # The changelog and the note on upgrades tell of versions, this one too.
    assert set(holders) - {"CHANGELOG.md", "README.md"} == {"chachaml_lite/__init__.py"}
