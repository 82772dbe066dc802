"""The environment of a run (CONTRACT.md 2, `env`): stored, displayed, compared, queried, copied to other stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cmarkgfm
import pytest
from flask.testing import FlaskClient
from support.calls import LogRun
from support.commands import cli
from support.html_tables import Page
from support.servers import run_server
from support.zips import build_zip, run_files

from chachaml_lite.tracking.environment import MAX_BYTES, MISSING, flatten, value_at

ZIP = "application/zip"


def make_environment(commit: str = "c0ffee", **changes: Any) -> dict[str, Any]:
    return {
        "command": ["python", "train.py"],
        "git": {"commit": commit, "dirty": False},
        "cpu_count": 8,
        "a.dotted": {"key.too": "x"},
        **changes,
    }


def list_ids(client: FlaskClient, **query: str) -> list[str]:
    answer = client.get("/api/runs", query_string=query)
    assert answer.status_code == 200, answer.text
    return [run["id"] for run in answer.get_json()]


def test_environment_is_stored_unchanged_and_displayed(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run(id="with", env=make_environment(), end="completed")
    log_run(id="without")
    assert client.get("/api/runs/with").get_json()["env"] == make_environment()
    assert json.loads((data / "runs/with/meta.json").read_text())["env"] == make_environment()
    assert client.get("/api/runs/without").get_json()["env"] is None
    assert "env" not in json.loads((data / "runs/without/meta.json").read_text())
    assert "env" not in client.get("/api/runs").get_json()[0]
    assert [run["env"] for run in client.get("/api/runs?env=true").get_json()] == [None, make_environment()]
    page = Page(client.get("/runs/with").text)
    assert page.find_row("git.commit") == ["git.commit", "c0ffee"]
    assert page.find_row("command") == ["command", '["python", "train.py"]']
    assert page.find_row("a.dotted.key.too") == ["a.dotted.key.too", "x"]
    assert "Environment" not in client.get("/runs/without").text
    assert "| `git.commit` | `c0ffee` |" in client.get("/api/runs/with?format=md").text
    assert "git.commit        c0ffee" in client.get("/api/runs/with?format=txt").text


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ("x", "'env' must be an object"),
        ([1], "'env' must be an object"),
        ({"x": "y" * MAX_BYTES}, f"the limit is {MAX_BYTES}"),
        ({"x": "ü" * (MAX_BYTES // 2)}, f"the limit is {MAX_BYTES}"),
    ],
)
def test_invalid_environment_is_400_and_creates_no_run(client: FlaskClient, env: Any, reason: str) -> None:
    answer = client.post("/api/w/runs", json={"experiment": "iris", "env": env})
    assert answer.status_code == 400
    assert reason in answer.get_json()["detail"]
    assert list_ids(client) == []


def test_environment_of_the_maximum_length_is_accepted(client: FlaskClient, log_run: LogRun) -> None:
    env = {"x": "y" * (MAX_BYTES - len('{"x": ""}'))}
    assert client.get(f"/api/runs/{log_run(env=env)}").get_json()["env"] == env


def test_repeated_post_with_another_environment_keeps_the_first_one(client: FlaskClient) -> None:
    first = {"experiment": "iris", "id": "job", "env": make_environment("a")}
    for body in (first, {**first, "env": make_environment("b")}, {"experiment": "iris", "id": "job"}):
        answer = client.post("/api/w/runs", json=body)
        assert (answer.status_code, answer.get_json()["id"]) == (200, "job")
    assert client.get("/api/runs/job").get_json()["env"] == make_environment("a")


def test_runs_are_filtered_and_ordered_by_their_environment(client: FlaskClient, log_run: LogRun) -> None:
    log_run(id="a", env=make_environment("a1", cpu_count=8))
    log_run(id="b", env=make_environment("b2", cpu_count=16, git={"commit": "b2", "dirty": True}))
    log_run(id="none")
    log_run(id="text", env={"git": "none"})
    assert list_ids(client, q="env.git.commit = a1") == ["a"]
    assert list_ids(client, q='env.git.commit ~ "B"') == ["b"]
    assert list_ids(client, q="env.git.dirty = true") == ["b"]
    assert list_ids(client, q="env.cpu_count >= 16") == ["b"]
    assert list_ids(client, q="env.a.dotted.key.too = x and env.cpu_count < 10") == ["a"]
    assert list_ids(client, q='env.command ~ "train.py"') == ["b", "a"]
    assert list_ids(client, q="env.git = none") == ["text"]
    assert list_ids(client, q="env.git.commit != a1") == ["b"]
    assert list_ids(client, order_by="env.cpu_count desc")[:2] == ["b", "a"]
    assert list_ids(client, order_by="env.git.commit")[:2] == ["a", "b"]
    assert client.get("/api/runs?order_by=env.").status_code == 400


@pytest.mark.parametrize(
    "env",
    [
        make_environment(),
        {"": {"": {"a": 1}}},
        {"a": {"": 1}, "b": {"": {}}, "": 2},
        {"a.b": {"c": 1}, "a": {"b.c.d": 2, "e": {}}},
        {"none": None, "no": False, "list": [{"a": 1}], "empty": {}},
    ],
    ids=["usual", "empty keys", "an empty key at the end", "dots in keys", "values that are nothing"],
)
def test_value_at_returns_the_leaf_of_each_flattened_path(env: dict[str, Any]) -> None:
    leaves = flatten(env)
    assert {path: value_at(env, path) for path in leaves} == leaves
    for path in ("", ".", *leaves):
        for other in (f"{path}.", f".{path}", f"{path}.x"):
            assert other in leaves or value_at(env, other) is MISSING, other
    assert value_at(None, "a") is MISSING


def test_environments_are_compared_leaf_by_leaf(client: FlaskClient, log_run: LogRun) -> None:
    log_run(id="a", env=make_environment("a1", only="here"))
    log_run(id="b", env=make_environment("b2"))
    env = client.get("/api/compare?ids=a,b").get_json()["env"]
    assert env["differ"] == {"git.commit": ["a1", "b2"]}
    assert env["partial"] == {"only": ["here", None]}
    assert env["same"]["cpu_count"] == 8 and "git.dirty" in env["same"]
    page = Page(client.get("/compare?ids=a,b").text)
    assert page.find_row("git.commit")[1:] == ["a1", "b2"]
    assert not any(row[0] == "cpu_count" for row in page.rows)
    assert Page(client.get("/compare?ids=a,b&all=true").text).find_row("cpu_count")[1:] == ["8", "8"]
    text = client.get("/api/compare?ids=a,b&format=txt").text
    assert any(line.split() == ["env", "git.commit", "differ", "a1", "b2"] for line in text.splitlines())


def test_columns_may_be_keys_of_the_environment(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run(id="a", env=make_environment("a1"))
    log_run(id="b")
    page = Page(client.get("/runs?columns=env.git.commit,env.cpu_count").text)
    assert page.find_row("a")[-2:] == ["a1", "8"]
    lines = cli("runs", "--columns", "env.git.commit,status", "--data", str(data)).stdout.splitlines()
    assert lines[0].split() == ["id", "status", "git.commit"] or lines[0].split() == ["id", "git.commit", "status"]
    assert [line.split()[:2] for line in lines[1:3]] == [["b", "…"], ["a", "a1"]]


def test_environment_is_in_the_zip_and_survives_an_import(
    client: FlaskClient, log_run: LogRun, tmp_path: Path, data: Path
) -> None:
    log_run(id="r", env=make_environment(), end="completed")
    body = client.get("/api/runs/r/download").data
    (tmp_path / "r.zip").write_bytes(body)
    there = ("--data", str(tmp_path / "there"))
    cli("import", str(tmp_path / "r.zip"), *there)
    assert json.loads(cli("show", "r", "--json", *there).stdout)["env"] == make_environment()
    assert client.post("/api/w/import", data=body, content_type=ZIP).get_json()["unchanged"] == ["r"]
    assert cli("verify", "--data", str(data)).stdout.rstrip().endswith("all good")


def test_push_sends_the_environment_once(client: FlaskClient, log_run: LogRun, tmp_path: Path, data: Path) -> None:
    log_run(id="r", env=make_environment(), end="completed")
    with run_server(tmp_path / "there", tmp_path / "scratch") as there:
        first, second = (json.loads(cli("push", there.url, "--data", str(data), "--json").stdout) for _ in range(2))
        assert (first["imported"], second["unchanged"]) == (["r"], ["r"])
        assert json.loads(cli("show", "r", "--json", "--url", there.url).stdout)["env"] == make_environment()


def test_import_keeps_an_environment_missing_in_the_zip_and_refuses_another(client: FlaskClient) -> None:
    def import_run(query: str = "", **changes: Any) -> Any:
        return client.post(f"/api/w/import{query}", data=build_zip(run_files(**changes)), content_type=ZIP)

    assert import_run(env=make_environment("a")).status_code == 200
    without: list[dict[str, Any]] = [{}, {"env": None}]
    for changes in without:
        assert import_run(**changes).status_code == 200
        assert client.get("/api/runs/r").get_json()["env"] == make_environment("a")
    conflict = import_run(env=make_environment("b"))
    assert conflict.status_code == 409 and "env" in conflict.get_json()["detail"]
    assert import_run("?overwrite=true", env=make_environment("b")).status_code == 200
    assert client.get("/api/runs/r").get_json()["env"] == make_environment("b")
    for env in ("text", {"x": "y" * MAX_BYTES}):
        assert import_run(run_id="s", env=env).status_code == 400


def test_damaged_environment_is_reported_by_verify(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run(id="r", env=make_environment())
    path = data / "runs/r/meta.json"
    path.write_text(path.read_text().replace('"env": {', '"env": "x", "other": {'))
    assert "no good env" in cli("verify", "--data", str(data), code=1).stdout


def test_hostile_environment_is_displayed_as_text_on_pages_and_in_reports(client: FlaskClient, log_run: LogRun) -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    log_run(id="a", env={hostile: hostile, "list": [hostile], "`": "`|`"})
    log_run(id="b", env={hostile: "other"})
    report = client.get("/api/runs/a?format=md").text
    report_html = cmarkgfm.github_flavored_markdown_to_html(report)
    for text in (client.get("/runs/a").text, client.get("/compare?ids=a,b").text, report_html):
        assert "onerror" in text and "<img src=x" not in text
