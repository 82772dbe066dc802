"""The README: each block of code in it runs, and its tables say what the program has."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import requests
from flask.testing import FlaskClient
from support.readme import README, ROOT, all_blocks
from support.routes import native_rules
from support.scripts import DOCUMENTED_HOST, for_host, run_bash
from support.servers import Running, running

from chachaml_lite.cli import main

MODEL = b"any file will do\n"
SERVE = main.commands["serve"]
#: Sections of which the blocks don't go on where those of others stopped: what they are, to the tests that run them.
SECTIONS_OF_THEIR_OWN = {
    "From Python": "client",  # test_readme_clients
    "From shell scripts": "recipe",
    "The command line": "command line",  # test_cli_help
    "From one store to another": "command line",
    "In GitHub Actions": "workflow",  # test_action_workflows, test_action_readme
    "In a container": "workflow",
    "Query the files": "query",  # test_readme_engines
    "When one machine is no longer enough": "export",
}


def kind(section: str, language: str, code: str) -> str:
    """What a block is to tests: each kind is run, or checked, in its own way. KeyError for any other."""
    if section in SECTIONS_OF_THEIR_OWN:
        return SECTIONS_OF_THEIR_OWN[section]
    if language == "bash":
        commands = {line.partition(" ")[0] for line in code.splitlines()}
        return "make" if commands == {"make"} else "install" if "pip" in commands else "curl"
    return {"text": "tree"}[language]


def blocks(wanted: str) -> list[str]:
    return [code for section, language, code in all_blocks() if kind(section, language, code) == wanted]


def table(head: str) -> list[list[str]]:
    """The cells of the table whose first heading is `head`."""
    (found,) = re.findall(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server on ./artifacts of the folder in which the blocks run, as with `make run`."""
    with running(tmp_path / "artifacts", tmp_path / "scratch") as started:
        yield started


def read(server: Running, path: str) -> Any:
    answer = requests.get(server.url + path, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert README.count("```") == 2 * len(all_blocks())
    kinds = {kind(*block) for block in all_blocks()}
    assert kinds == {"make", "curl", "tree", "install", *SECTIONS_OF_THEIR_OWN.values()}


def test_the_curl_blocks_log_a_run_and_put_a_model_into_production(
    server: Running, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("bash", "curl", "jq"):
        tool(name)
    first, look, *others = blocks("curl")
    printed = run_bash(for_host(first + look, server.url), tmp_path)
    (run,) = read(server, "/api/runs")
    assert (run["experiment"], run["name"], run["status"]) == ("iris", "first", "completed")
    assert run["params"] == {"lr": 0.01, "epochs": 3}
    series = read(server, f"/api/runs/{run['id']}/metrics")
    assert [(point["step"], point["value"]) for point in series["loss"]["points"]] == [(0, 0.9), (1, 0.8), (2, 0.7)]
    (artifact,) = read(server, f"/api/runs/{run['id']}/artifacts")
    assert (artifact["name"], artifact["sha256"]) == ("model.pkl", hashlib.sha256(MODEL).hexdigest())
    for block in others:  # each stands alone: pasted into a new shell, with what the quickstart has logged
        told = run_bash(for_host(block, server.url), tmp_path)
        assert '"detail"' not in told, told
    (version,) = read(server, "/api/models/iris-classifier")["versions"]
    assert (version["version"], version["stage"]) == (1, "production")
    assert (tmp_path / "production.pkl").read_bytes() == MODEL
    assert (tmp_path / "loss.svg").read_bytes().startswith(b"<svg")
    assert '"status": "completed"' in printed  # what jq was asked for
    assert (server.data / "runs" / run["id"] / "metrics.jsonl").read_text() in printed
    assert '"error"' not in printed

    folder = server.data / "runs" / run["id"]
    (tree,) = blocks("tree")
    drawn = {name.rstrip("/") for name in re.findall(r"^ *(\S+|<.*?>/)(?:  |$)", tree, re.MULTILINE)}
    made = {path.name for path in (*folder.iterdir(), *server.data.rglob("models/*/*"))}
    described = {"experiments", "<name>.json"}  # made with the first description
    assert drawn == {"artifacts", "runs", "<run id>", "models", "<model>"} | described | made


def test_the_run_of_the_first_curl_block_is_on_the_pages_that_the_readme_names(
    server: Running, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("bash", "curl"):
        tool(name)
    run_bash(for_host(blocks("curl")[0], server.url), tmp_path)
    (run,) = read(server, "/api/runs")
    assert f"{DOCUMENTED_HOST}/runs" in README
    assert f'href="/runs/{run["id"]}"' in requests.get(f"{server.url}/runs", timeout=60).text
    page = requests.get(f"{server.url}/runs/{run['id']}", timeout=60).text
    assert all(word in page for word in ("lr", "0.01", "loss", "0.7", "model.pkl"))


def test_each_make_target_of_the_readme_is_one() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for block in blocks("make") for target in block.split() if target != "make"}
    named |= set(re.findall(r"`make ([\w-]+)", README))
    assert named >= {"run", "test", "check"}
    assert named <= targets


def test_the_commands_of_the_installed_program_are_accepted() -> None:
    """That `pip install .` gives these commands is for test_packaging to show."""
    (block,) = blocks("install")
    install, serve, module = map(shlex.split, block.splitlines())
    assert install == ["pip", "install", "."]
    assert serve[:2] == ["chachaml-lite", "serve"]
    assert SERVE.make_context("serve", serve[2:]).params["port"] == 9000
    assert module == ["python", "-m", "chachaml_lite", "--version"]


def test_every_option_of_serve_is_in_the_table_with_its_variable_and_default() -> None:
    context = click.Context(SERVE)
    options = []
    for option in SERVE.params:
        default = option.get_default(context)
        has_one = isinstance(default, (str, int, Path)) and not isinstance(default, bool)
        options.append((option.opts[0], option.envvar, str(default) if has_one else None))
    written = []
    for name, variable, default, meaning in table("option"):
        assert meaning
        written.append((name.strip("`"), variable.strip("`"), default.strip("`") if default.startswith("`") else None))
    assert written == options


def test_the_variable_of_an_option_that_may_be_repeated_is_split_at_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "separated by spaces" in next(row[-1] for row in table("option") if "--allowed-host" in row[0])
    monkeypatch.setenv("CHACHAML_ALLOWED_HOST", "a.example b.example")
    assert SERVE.make_context("serve", []).params["allowed_host"] == ("a.example", "b.example")


def test_each_promise_names_a_test_that_there_is() -> None:
    promises = table("promise")
    assert len(promises) > 15
    for promise, named in promises:
        assert promise
        file, _, name = named.strip("`").partition("::")
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), named
    assert (ROOT / ".github/SECURITY.md").is_file()


@pytest.mark.parametrize("head", ["write", "read"])
def test_every_row_of_the_api_tables_has_its_answer(head: str) -> None:
    assert all(row[-1] for row in table(head))


def test_every_route_is_in_the_readme_and_every_row_is_a_route(client: FlaskClient) -> None:
    routes = {
        f"{method} {re.sub('<.*?>', ':', rule.rule)}"
        for rule in native_rules(client.application)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }
    written = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]*)", README)
    assert {re.sub(r":\w+", ":", route) for route in written} == routes
