"""The README and the manual: every code block runs, and the tables agree with the program."""

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
from support.readme import PAGES, README, ROOT, Block, parse_blocks, read_table
from support.routes import native_rules
from support.scripts import DOCUMENTED_HOST, run_bash, set_host
from support.servers import Server, run_server

from chachaml_lite.cli import main

MODEL = b"any file will do\n"
SERVE = main.commands["serve"]
#: Pages and sections whose blocks other test modules run or check, and the names of those. A page stands for all of its
#: sections.
TESTED_ELSEWHERE = {
    ("README", "Python"): "test_readme_clients",
    ("README", "A command as a run"): "test_cli_help",
    ("README", "GitHub Actions"): "test_action_workflows, test_action_readme",
    ("clients", None): "test_readme_clients",
    ("cli", None): "test_cli_help",
    ("github-actions", None): "test_action_workflows, test_action_readme",
    ("container", None): "test_action_workflows, test_image",
    ("files", "Query the files"): "test_readme_engines",
    ("mlflow", "Change the URL"): "test_mlflow_docs",
    ("mlflow", "Export runs to an MLflow server"): "test_readme_engines",
    ("mlflow", "Bring old runs"): "test_cli_import_mlflow",
    ("reverse-proxy", None): "test_serve_proxy",
    ("provenance", None): "test_cli_run_environment",
    ("system-metrics", None): "test_cli_run_load",
    ("agents", None): "test_cli_mcp",
    ("tensorboard", None): "test_cli_import_tensorboard",
}


def classify(block: Block) -> str:
    """Return how a block is tested. Raises KeyError where no test knows it."""
    if {(block.page, None), (block.page, block.section)} & TESTED_ELSEWHERE.keys():
        return "elsewhere"
    if block.language == "bash":
        commands = {line.partition(" ")[0] for line in block.code.splitlines()}
        return "make" if commands == {"make"} else "install" if "pip" in commands else "curl"
    return {"text": "tree"}[block.language]


def list_blocks(name: str) -> list[str]:
    return [block.code for block in parse_blocks() if classify(block) == name]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server on ./artifacts of the folder in which the blocks run, as with `make run`."""
    with run_server(tmp_path / "artifacts", tmp_path / "scratch") as running_server:
        yield running_server


def get_json(server: Server, path: str) -> Any:
    answer = requests.get(server.url + path, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert sum(len(re.findall(r"^ *```", page, re.M)) for page in PAGES.values()) == 2 * len(parse_blocks())
    assert {classify(block) for block in parse_blocks()} == {"make", "curl", "tree", "install", "elsewhere"}
    sections = {(page, section) for page, section, *_ in parse_blocks()}
    assert {(page, section) for page, section in TESTED_ELSEWHERE if section} <= sections
    for module in {name for names in TESTED_ELSEWHERE.values() for name in names.split(", ")}:
        assert (ROOT / "tests" / f"{module}.py").is_file()


def test_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 145


def test_curl_blocks_log_a_run_and_put_a_model_into_production(
    server: Server, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("bash", "curl", "jq"):
        tool(name)
    first, look, *others = list_blocks("curl")
    output = run_bash(set_host(first + look, server.url), tmp_path)
    (run,) = get_json(server, "/api/runs")
    assert (run["experiment"], run["name"], run["status"]) == ("iris", "first", "completed")
    assert run["params"] == {"lr": 0.01, "epochs": 3}
    series = get_json(server, f"/api/runs/{run['id']}/metrics")
    assert [(point["step"], point["value"]) for point in series["loss"]["points"]] == [(0, 0.9), (1, 0.8), (2, 0.7)]
    (artifact,) = get_json(server, f"/api/runs/{run['id']}/artifacts")
    assert (artifact["name"], artifact["sha256"]) == ("model.pkl", hashlib.sha256(MODEL).hexdigest())
    for block in others:  # each stands alone: pasted into a new shell, after the quickstart
        block_output = run_bash(set_host(block, server.url), tmp_path)
        assert '"detail"' not in block_output, block_output
    (version,) = get_json(server, "/api/models/iris-classifier")["versions"]
    assert (version["version"], version["stage"]) == (1, "production")
    assert (tmp_path / "production.pkl").read_bytes() == MODEL
    assert (tmp_path / "loss.svg").read_bytes().startswith(b"<svg")
    assert '"status": "completed"' in output  # the output of jq
    assert (server.data / "runs" / run["id"] / "metrics.jsonl").read_text() in output
    assert '"error"' not in output

    folder = server.data / "runs" / run["id"]
    tree, manual_tree = list_blocks("tree")
    # The manual's tree also has files that few stores have.
    assert set(tree.splitlines()) <= set(manual_tree.splitlines())
    tree_names = {name.rstrip("/") for name in re.findall(r"^ *(\S+|<.*?>/)(?:  |$)", tree, re.MULTILINE)}
    file_names = {path.name for path in (*folder.iterdir(), *server.data.rglob("models/*/*"))}
    optional_names = {"experiments", "<name>.json"}  # created with the first description
    assert tree_names == {"artifacts", "runs", "<run id>", "models", "<model>"} | optional_names | file_names


def test_run_of_the_first_curl_block_is_on_the_pages_that_the_readme_names(
    server: Server, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("bash", "curl"):
        tool(name)
    run_bash(set_host(list_blocks("curl")[0], server.url), tmp_path)
    (run,) = get_json(server, "/api/runs")
    assert f"{DOCUMENTED_HOST}/runs" in README
    assert f'href="/runs/{run["id"]}"' in requests.get(f"{server.url}/runs", timeout=60).text
    page = requests.get(f"{server.url}/runs/{run['id']}", timeout=60).text
    assert all(word in page for word in ("lr", "0.01", "loss", "0.7", "model.pkl"))


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    names = {target for block in list_blocks("make") for target in block.split() if target != "make"}
    names |= set(re.findall(r"`make ([\w-]+)", README))
    assert names >= {"run", "test", "check"}
    assert names <= targets


def test_commands_of_the_installed_program_are_accepted() -> None:
    """test_packaging checks that `pip install .` provides these commands."""
    (block,) = list_blocks("install")
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
    rows = []
    for name, variable, default, meaning in read_table("settings", "option"):
        assert meaning
        rows.append((name.strip("`"), variable.strip("`"), default.strip("`") if default.startswith("`") else None))
    assert rows == options


def test_variable_of_a_repeatable_option_is_split_at_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "separated by spaces" in next(
        row[-1] for row in read_table("settings", "option") if "--allowed-host" in row[0]
    )
    monkeypatch.setenv("CHACHAML_ALLOWED_HOST", "a.example b.example")
    assert SERVE.make_context("serve", []).params["allowed_host"] == ("a.example", "b.example")


def test_each_promise_names_an_existing_test() -> None:
    promises = read_table("durability", "promise")
    assert len(promises) > 15
    for promise, test in promises:
        assert promise
        file, _, name = test.strip("`").partition("::")
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), test
    assert (ROOT / ".github/SECURITY.md").is_file()


@pytest.mark.parametrize("head", ["write", "read"])
def test_every_row_of_the_api_tables_has_a_response(head: str) -> None:
    assert all(row[-1] for row in read_table("api", head))


def test_every_route_is_in_the_manual_and_every_row_is_a_route(client: FlaskClient) -> None:
    routes = {
        f"{method} {re.sub('<.*?>', ':', rule.rule)}"
        for rule in native_rules(client.application)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static" and not rule.endpoint.startswith("writes.")  # the pages' forms, which are no API
    }
    documented_routes = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]*)", PAGES["api"])
    assert {re.sub(r":\w+", ":", route) for route in documented_routes} == routes
