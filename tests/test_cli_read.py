"""The commands that read, as processes: from a server or from the folder, with the same output."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import COMMAND, cli
from support.servers import PATIENCE_SECONDS, Server, environment, free_port, run_server
from support.snapshots import snapshot
from test_client import stranger

from chachaml_lite.client.base import OCTETS, build_path
from chachaml_lite.client.http import HttpClient

#: Valid as a name, and valid as a tag.
HOSTILE, WORSE = "::error::\u202ered", "::error::\x1b[31mred\u202e\n::error::x"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a few runs and models; read-only for the tests."""
    folder = tmp_path_factory.mktemp("read")
    with run_server(folder / "artifacts", folder / "scratch") as server, HttpClient(server.url) as client:
        for run_id, accuracy, status in (("a1", 0.8, "completed"), ("a2", 0.9, "completed"), ("a3", 0.1, "failed")):
            fields = {"experiment": "iris", "id": run_id, "name": f"n-{run_id}", "created_by": "maria"}
            client.post("/api/w/runs", {**fields, "tags": {"os": "linux", "n": run_id}, "parent_run_id": "p"})
            under = ("api", "w", "runs", run_id)
            client.post(build_path(*under, "params"), {"lr": 0.01 if run_id == "a1" else 0.1, "epochs": 3})
            points = [{"accuracy": accuracy / 2, "step": 0}, {"accuracy": accuracy, "step": 1}]
            client.ask(
                "POST", build_path(*under, "metrics"), body=json.dumps(points).encode(), content_type="application/json"
            )
            artifacts = build_path(*under, "artifacts")
            client.ask("POST", artifacts, [("name", "m")], body=run_id.encode(), content_type=OCTETS).json()
            client.post(build_path(*under, "end"), {"status": status})
        model = {"name": "iris-classifier", "run_id": "a1", "artifact": "m", "stage": "production"}
        client.post("/api/w/models", model)
        client.post("/api/w/models", {"name": "staged", "run_id": "a1", "artifact": "m", "stage": "staging"})
        client.post("/api/w/runs", {"experiment": HOSTILE, "id": "h1", "name": HOSTILE, "tags": {HOSTILE: WORSE}})
        client.post("/api/w/runs", {"experiment": "größe", "id": "u1", "name": "日本"})
        yield server


@pytest.fixture(params=["--url", "--data"])
def target(request: pytest.FixtureRequest, server: Server) -> list[str]:
    return [request.param, server.url if request.param == "--url" else str(server.data)]


# -- runs


def test_runs_are_an_aligned_table_newest_first(target: list[str]) -> None:
    lines = cli("runs", "--experiment", "iris", *target).stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["id", "a3", "a2", "a1"]
    assert lines[0].index("status") - 2 <= lines[1].index("✗ failed") <= lines[0].index("status")
    assert lines[-2] == "3 runs"


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ("-e iris --status completed", "a2 a1"),
        ("--tag os=linux --tag n=a2", "a2"),
        ("--param lr=0.1 --param epochs=3", "a3 a2"),
        ("-e iris --order-by 'metrics.accuracy desc' --limit 2", "a2 a1"),
        ("-e iris --limit 1 --offset 1", "a2"),
        ("-q 'metrics.accuracy > 0.5 and params.lr <= 0.01'", "a1"),
        ("--name n-a3 --created-by maria --parent p", "a3"),
        ("-e größe", "u1"),
        ("--tag n=", ""),
    ],
)
def test_runs_accepts_the_filters_of_the_api(target: list[str], options: str, ids: str) -> None:
    runs = json.loads(cli("runs", "--json", *target, *shlex.split(options)).stdout)
    assert [run["id"] for run in runs] == ids.split()


def test_table_of_runs_fits_the_terminal_and_prefers_columns_that_differ(server: Server) -> None:
    def get_heading(*options: str, **variables: str) -> list[str]:
        output = cli("runs", "-e", "iris", "--url", server.url, *options, env=variables).stdout
        return str(output).splitlines()[0].split()

    narrow = get_heading(COLUMNS="42")
    assert {"id", "status", "accuracy", "lr"} <= set(narrow) and "epochs" not in narrow, "all have the same epochs"
    assert {"epochs", "os"} <= set(get_heading(COLUMNS="200"))
    assert {"epochs", "os", "n", "parent"} <= set(get_heading("--wide", COLUMNS="60"))
    assert get_heading("--columns", "metrics.accuracy,params.lr,duration", COLUMNS="20") == [
        "id",
        "accuracy",
        "lr",
        "took",
    ]
    error = cli("runs", "--url", server.url, "--columns", "params.lr,nosuch", code=2).stderr
    assert "--columns: 'nosuch' is unknown" in error


def test_error_of_a_failed_run_is_in_the_table(serve: Callable[..., Server]) -> None:
    server = serve()
    with HttpClient(server.url) as client:
        for run_id in ("good", "bad"):
            client.post("/api/w/runs", {"experiment": "iris", "id": run_id, "name": "a name of twenty ch"})
            path = build_path("api", "w", "runs", run_id)
            client.post(path + "/params", {f"p{number}": f"{run_id} {number}" for number in range(8)})
        client.post(build_path("api", "w", "runs", "bad", "end"), {"status": "failed", "error": "out of memory"})
    assert "out of memory" in cli("runs", "--url", server.url, env={"COLUMNS": "80"}).stdout
    assert "\n1 of 2 runs; the next are at --offset 1\n" in cli("runs", "--limit", "1", "--url", server.url).stdout


# -- show, compare, report


def test_show_compare_and_report_print_the_same_as_the_api(target: list[str], server: Server) -> None:
    output = cli("show", "a2", *target).stdout
    assert re.search(r"^accuracy +0\.45 +0\.9 +0\.45 +0\.9 +2", output, re.MULTILINE)
    assert json.loads(cli("show", "latest:iris", "--json", *target).stdout)["id"] == "a2"
    comparison = cli("compare", "a1", "latest:iris", "production:iris-classifier", *target).stdout
    assert "lr" in comparison
    as_json = json.loads(cli("compare", "a1", "a2", "--json", *target).stdout)
    assert as_json["params"]["differ"] == {"lr": [0.01, 0.1]}
    assert cli("report", "a2", *target).stdout.startswith("## ✅ `n-a2` completed\n")
    assert cli("report", "a2", "--format", "txt", *target).stdout.startswith("n-a2  completed\n")
    assert json.loads(cli("report", "a2", "--format", "json", *target).stdout)["id"] == "a2"


def test_report_of_an_experiment_lists_its_runs(target: list[str]) -> None:
    text = cli("report", "iris", *target).stdout
    assert text.startswith("## `iris`\n\n| id |")
    assert text.endswith("3 runs\n")
    assert cli("report", "größe", "--format", "txt", *target).stdout.startswith("größe\n\nid ")
    report = json.loads(cli("report", "iris", "--json", *target).stdout)
    assert (report["experiment"]["name"], report["experiment"]["runs"]) == ("iris", 3)
    assert [run["id"] for run in report["runs"]] == ["a3", "a2", "a1"]


# -- check


def test_passed_check_is_exit_code_0_and_lists_each_rule(target: list[str]) -> None:
    rules = ["--rule", "accuracy >= 0.9", "--rule", "accuracy>=baseline+0.05"]
    result = cli("check", "latest:iris", *rules, "--baseline", "production:iris-classifier", *target)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["passed", "accuracy", ">=", "0.9", "0.9", "0.9"]
    assert lines[2][:3] == ["passed", "accuracy>=baseline+0.05", "0.9"]
    assert float(lines[2][3]) == pytest.approx(0.85)
    assert result.stdout.endswith("2 rules passed\n")
    assert json.loads(cli("check", "a2", *rules[:2], "--json", *target).stdout)["passed"] is True


def test_failed_check_is_exit_code_1_and_lists_each_rule(target: list[str]) -> None:
    rules = ["--rule", "accuracy>=0.9", "--rule", "accuracy<=0.8", "--rule", "loss<=1"]
    result = cli("check", "a1", *rules, *target, code=1)
    marks = [line.split()[:2] for line in result.stdout.splitlines()[1:4]]
    assert marks == [["FAILED", "accuracy>=0.9"], ["passed", "accuracy<=0.8"], ["FAILED", "loss<=1"]]
    assert result.stdout.endswith("2 of 3 rules failed\n")
    assert result.stderr == ""
    report = json.loads(cli("check", "a1", *rules, "--json", *target, code=1).stdout)
    assert [rule["passed"] for rule in report["rules"]] == [False, True, False]


# -- errors


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("show nosuch", 2, "no such run"),
        ("show latest:nosuch", 2, "no completed run"),
        ("show production:nosuch", 2, "no such model"),
        ("show production:staged", 2, "no version in production"),
        ("report nosuch", 2, "no run and no experiment 'nosuch'"),
        ("report a/b", 2, "no run and no experiment 'a/b'"),
        ("compare a1", 2, ""),
        ("compare a1 nosuch", 2, "no such run"),
        ("check a1 --rule accuracy=>1", 2, "rule"),
        ("check a1 --rule accuracy>=baseline", 2, "baseline"),
        ("check nosuch --rule accuracy>=1", 2, "no such run"),
        ("check a1", 2, "--rule"),
        ("runs --limit 0", 2, "limit"),
        ("runs --tag os", 2, "KEY=VALUE"),
        ("runs -q 'metrics.accuracy >'", 2, ""),
        ("runs --nosuch", 2, "--nosuch"),
        ("show", 2, "RUN"),
        ("nosuch", 2, "nosuch"),
    ],
)
def test_usage_error_or_unknown_run_is_exit_code_2(server: Server, arguments: str, code: int, message: str) -> None:
    result = cli(*shlex.split(arguments), code=code, env={"CHACHAML_URL": server.url})
    assert result.stdout == ""
    assert message in result.stderr


def test_unreachable_server_or_missing_store_is_exit_code_3(server: Server, tmp_path: Path) -> None:
    for options in (["--url", f"http://localhost:{free_port()}"], ["--data", str(tmp_path / "none")]):
        for command in (["runs"], ["show", "a"], ["check", "a", "--rule", "a>=1"], ["report", "x"]):
            result = cli(*command, *options, code=3)
            assert result.stdout == ""
            assert re.fullmatch(r"chachaml-lite: (no server responds at|there is no store in) .*\n", result.stderr)
    for url in ("ftp://x", "http://x/?y"):
        assert "URL" in cli("runs", "--url", url, code=2).stderr


def test_option_overrides_variables_and_url_overrides_data(server: Server, tmp_path: Path) -> None:
    nowhere = {"CHACHAML_URL": f"http://localhost:{free_port()}", "CHACHAML_DATA": str(tmp_path / "none")}
    assert "a2" in cli("runs", "--url", server.url, env=nowhere).stdout
    assert "a2" in cli("runs", "--data", str(server.data), env=nowhere).stdout
    assert "no server responds" in cli("runs", code=3, env=nowhere).stderr
    assert "a2" in cli("runs", env={"CHACHAML_URL": server.url, "CHACHAML_DATA": str(tmp_path)}).stdout
    assert "a2" in cli("runs", env={"CHACHAML_DATA": str(server.data)}).stdout
    assert "one of them" in cli("runs", "--url", server.url, "--data", str(server.data), code=2).stderr


def test_token_is_sent_and_a_wrong_one_is_exit_code_2(serve: Callable[..., Server]) -> None:
    server = serve("--token", "geheim ö")
    for options in ([], ["--token", "x"]):
        assert "unauthorized" in cli("runs", "--url", server.url, *options, code=2).stderr
    assert "no runs here" in cli("runs", "--url", server.url, "--token", "geheim ö").stdout
    assert "no runs here" in cli("runs", env={"CHACHAML_URL": server.url, "CHACHAML_TOKEN": "geheim ö"}).stdout


def test_reading_a_folder_changes_nothing_and_its_server_keeps_working(server: Server) -> None:
    before = snapshot(server.data)
    cli("runs", "--data", str(server.data))
    cli("report", "iris", "--data", str(server.data))
    assert snapshot(server.data) == before
    with HttpClient(server.url) as client:
        assert client.get("/api/health")["runs"] == 5


# -- terminals, pipes, locales


def test_terminal_escapes_in_names_are_printed_escaped(server: Server) -> None:
    for arguments in (["runs"], ["show", "h1"], ["compare", "h1", "a1"], ["report", "h1"], ["report", HOSTILE]):
        for extra in ([], *([["--format", "txt"], ["--json"]] if arguments[0] == "report" else [["--json"]])):
            output = cli(*arguments, *extra, "--url", server.url).stdout
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|^::", output, re.MULTILINE), (arguments, extra)
    for arguments in (["show", WORSE], ["show", "latest:" + WORSE], ["show", "production:" + HOSTILE]):
        error = cli(*arguments, "--url", server.url, code=2).stderr
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|^::", error, re.MULTILINE), error


def test_closed_stdout_ends_the_command_without_a_message(server: Server) -> None:
    # Its standard output is a pipe whose reading end is closed.
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "runs", "--url", server.url]
    result = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env=environment(), timeout=PATIENCE_SECONDS
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (-13, b"")
    result_without_stdout = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, env=environment(), timeout=PATIENCE_SECONDS
    )
    assert (result_without_stdout.returncode, result_without_stdout.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_a_one_line_error(server: Server) -> None:
    command = ["sh", "-c", 'exec "$@" > /dev/full', "sh", *COMMAND, "runs", "--url", server.url]
    result = subprocess.run(command, capture_output=True, env=environment(), timeout=PATIENCE_SECONDS)
    assert result.returncode == 1, result
    assert result.stderr.startswith(b"chachaml-lite: cannot write the output")
    assert result.stderr.count(b"\n") == 1


def test_locale_without_unicode_escapes_text_and_keeps_json_in_utf_8(server: Server) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    result = cli("runs", "--url", server.url, env=ascii_only)
    assert r"\u65e5\u672c" in result.stdout
    assert json.loads(cli("show", "u1", "--json", "--url", server.url, env=ascii_only).stdout)["name"] == "日本"
    latin = {"PYTHONIOENCODING": "latin-1"}
    assert (
        "gr\\xf6\\xdfe" in cli("runs", "--url", server.url, env=latin).stdout
    )  # the bytes that `cli` can't decode, as escapes


@pytest.mark.parametrize(
    "word", ["a1/metrics", "a1/artifacts", "a1/download", "../runs", "", "latest:", "production:", "a1?format=md", "."]
)
def test_invalid_id_never_reaches_another_route(server: Server, word: str) -> None:
    for command in (["show", word], ["check", word, "--rule", "a>1"], ["compare", "a1", word]):
        result = cli(*command, "--url", server.url, code=2)
        assert result.stdout == ""
        assert "no run" in result.stderr or "lacks a name" in result.stderr


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"\x1b]0;PWNED\x07<html>hello</html>"),
        ("text/plain", b"caf\xe9 \xff"),
        ("application/json", b"{\xff}"),
        ("application/json", b"\x1b]0;PWNED\x07<html>"),
    ],
)
def test_response_of_another_kind_of_server_is_exit_code_3_and_not_printed(kind: str, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind.encode(), len(body))
    for command in (["runs"], ["runs", "--json"], ["show", "a1"], ["compare", "a1", "a2"], ["report", "a1"]):
        with stranger(head + body) as port:
            result = cli(*command, "--url", f"http://127.0.0.1:{port}", code=3)
        assert result.stdout == ""
        assert "a chachaml-lite server" in result.stderr
        assert "\x1b" not in result.stderr


def test_terminal_escapes_in_a_text_response_are_printed_escaped() -> None:
    body = b"\x1b]0;PWNED\x07hello\nworld\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
    with stranger(head + body) as port:
        assert cli("show", "a1", "--url", f"http://127.0.0.1:{port}").stdout == "\\x1b]0;PWNED\\x07hello\nworld\n"
