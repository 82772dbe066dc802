"""Id prefixes as arguments, run names as column headings, and messages that name options instead of HTTP terms."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import cli
from support.servers import Server, free_port, run_server

from chachaml_lite.client.base import OCTETS
from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import HttpClient

IDS = ("20261130-101010-123-aaaaaa", "20261130-101010-123-bbbbbb", "20261201-000000-000-cccccc")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with runs whose ids share prefixes, two with the same name, and one in the trash."""
    folder = tmp_path_factory.mktemp("names")
    with run_server(folder / "artifacts", folder / "scratch") as server, HttpClient(server.url) as client:
        for run_id, name in (
            *zip(IDS, ("base", "base", "tuned"), strict=True),
            ("job", None),
            ("job-2", None),
            ("iris-1", None),
            ("trashed-1", None),
        ):
            fields = {"experiment": "iris", "id": run_id, "name": name}
            client.post("/api/w/runs", {key: value for key, value in fields.items() if value})
            client.post(f"/api/w/runs/{run_id}/params", {"lr": 0.1 if run_id == IDS[0] else 0.2})
            client.post(f"/api/w/runs/{run_id}/metrics", {"accuracy": 0.5})
        client.ask("POST", "/api/w/runs/trashed-1/trash").json()
        yield server


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, server: Server) -> list[str]:
    return [request.param, server.url if request.param == "--url" else str(server.data)]


@pytest.mark.parametrize(
    ("word", "run_id"),
    [
        ("20261201", IDS[2]),
        ("20261130-101010-123-a", IDS[0]),
        ("job", "job"),
        ("job-", "job-2"),
        ("tra", "trashed-1"),
        (IDS[1], IDS[1]),
    ],
)
def test_unique_id_prefix_names_the_run_and_an_exact_id_wins(place: list[str], word: str, run_id: str) -> None:
    assert json.loads(cli("show", word, "--json", *place).stdout)["id"] == run_id


def test_ambiguous_prefix_error_lists_the_candidates(place: list[str]) -> None:
    for command in (
        ["show", "2026"],
        ["compare", IDS[0], "2026"],
        ["check", "2026", "--rule", "accuracy>0"],
        ["report", "2026"],
    ):
        result = cli(*command, *place, code=2)
        assert result.stdout == "" and result.stderr.count("\n") == 1
        assert f"{IDS[0]} (base)" in result.stderr and f"{IDS[2]} (tuned)" in result.stderr
    assert "several runs begin with jo: job-2, job\n" in cli("show", "jo", *place, code=2).stderr


def test_long_list_of_candidates_is_truncated(data: Path) -> None:
    with FolderClient(data, writes=True) as client:
        for number in range(12):
            client.post("/api/w/runs", {"experiment": "iris", "id": f"x{number:02}"})
    assert cli("show", "x", "--data", str(data), code=2).stderr.endswith("x02, and more\n")


def test_check_report_compare_and_push_accept_prefixes(place: list[str], tmp_path: Path) -> None:
    cli("check", "20261201", "--rule", "accuracy>=baseline", "--baseline", "job-", *place)
    assert cli("report", "20261201", "--format", "txt", *place).stdout.startswith("tuned  running\n")
    assert cli("compare", "20261201", "job-", *place).stdout
    with run_server(tmp_path / "other", tmp_path / "scratch") as other:
        output = json.loads(cli("push", other.url, "20261201", *place, "--json").stdout)
    assert output["imported"] == [IDS[2]]


def test_experiment_wins_over_an_id_prefix(place: list[str]) -> None:
    assert cli("report", "iris", *place).stdout.startswith("## `iris`\n")
    assert cli("report", "iris-", "--format", "txt", *place).stdout.startswith("iris-1  running\n")
    assert "no run and no experiment 'nosuch'" in cli("report", "nosuch", *place, code=2).stderr


def test_deleting_commands_require_complete_ids(data: Path) -> None:
    with FolderClient(data, writes=True) as client:
        for run_id in ("first-run", "second-run"):
            client.post("/api/w/runs", {"experiment": "iris", "id": run_id})
    at = ("--data", str(data))
    assert "no such run" in cli("delete", "first", *at, code=1).stderr
    cli("delete", "first-run", *at)
    assert "not in the trash" in cli("trash", "remove", "first", *at, code=1).stderr
    assert (data / "runs/first-run").is_dir()
    assert cli("trash", "restore", "first", *at).stdout == "1 restored\n"
    cli("delete", "first-run", *at)
    cli("trash", "remove", "first-run", *at)
    assert not (data / "runs/first-run").exists()


# -- headings


def test_compare_headings_are_names_with_part_of_the_id_if_ambiguous(place: list[str]) -> None:
    head = cli("compare", IDS[0], IDS[1], IDS[2], *place).stdout.splitlines()[0]
    assert re.split(r"  +", head) == ["kind", "key", "group", "…aaaa base", "…bbbb base", "tuned"]
    assert re.split(r"  +", cli("compare", "job", "job-2", *place).stdout.splitlines()[0])[3:] == ["job", "job-2"]


def test_compare_headings_are_ids_if_truncated_names_are_equal(data: Path) -> None:
    with FolderClient(data, writes=True) as client:
        for run_id in ("a", "b"):
            client.post("/api/w/runs", {"experiment": "iris", "id": run_id, "name": "x" * 60 + run_id})
            client.post(f"/api/w/runs/{run_id}/params", {"lr": run_id})
    assert cli("compare", "a", "b", "--data", str(data)).stdout.splitlines()[0].split()[3:] == ["a", "b"]


# -- links


def test_links_are_printed_for_a_server_and_not_for_a_folder(server: Server, tmp_path: Path) -> None:
    commands = (
        ["runs"],
        ["show", "job"],
        ["compare", "job", "job-2"],
        ["report", "job"],
        ["report", "job", "--format", "txt"],
    )
    for command in (*commands, ["trash", "list"], ["runs", "-e", "none"]):
        assert "http" not in cli(*command, "--data", str(server.data)).stdout, command
    assert f"{server.url}/runs/job\n" in cli("show", "job", "--url", server.url).stdout
    with run_server(tmp_path / "team", tmp_path / "scratch") as team:
        result = cli("push", team.url, "job", "--data", str(server.data))
        assert set(re.findall(r"https?://\S+", result.stdout + result.stderr)) == {team.url}
        (team.data / "runs/job/params.json").write_text('{"lr": 9}')
        conflict = cli("push", team.url, "job", "--data", str(server.data), code=1)
        assert set(re.findall(r"https?://\S+", conflict.stdout + conflict.stderr)) == {team.url}
    FolderClient(tmp_path / "empty", writes=True).close()
    assert cli("trash", "list", "--data", str(tmp_path / "empty")).stdout == "no runs here\n"


# -- messages

#: HTTP terms for things that are options on the command line.
HTTP_TERMS = re.compile(
    r"overwrite=true|&baseline|order_by|\bq,|\bheader\b|Authorization|(GET|POST) /|offset=|%2B|in a URL"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show nosuch", "`chachaml-lite runs` lists them"),
        ("show production:nosuch", "no model is called 'nosuch'"),
        ("check job --rule 'accuracy>=baseline'", "--baseline RUN"),
        ("check job --rule 'accuracy=>1'", "--rule"),
        ("check job --rule 'accuracy>1' --baseline x:y", ""),
        ("runs --order-by nosuch", "--order-by"),
        ("runs -q 'metrics.loss >'", "--query"),
        ("runs -q 'nosuch = 1'", "--query"),
        ("push http://localhost:1 -q 'a >'", "--query"),
        ("runs --limit 0", "--limit"),
        ("runs --limit 1001", "--limit"),
        ("runs --offset -1", "--offset"),
        ("runs --status nosuch", "--status"),
        ("end job-2 --status nosuch", "--status"),
        ("end trashed-1", "`chachaml-lite trash restore ID`"),
    ],
)
def test_message_names_options_instead_of_http_terms(server: Server, arguments: str, message: str) -> None:
    result = cli(*shlex.split(arguments), code=2, env={"CHACHAML_URL": server.url})
    assert message in result.stderr
    assert not HTTP_TERMS.search(result.stderr), result.stderr


def test_message_about_a_token_names_its_option(serve: Callable[..., Server]) -> None:
    server = serve("--token", "geheim")
    for command in (
        ["runs"],
        ["show", "x"],
        ["end", "x"],
        ["export", "--to", "mlflow", "--tracking-uri", "http://localhost:1"],
    ):
        result = cli(*command, "--url", server.url, code=2)
        assert "--token or CHACHAML_TOKEN" in result.stderr and not HTTP_TERMS.search(result.stderr), result.stderr
    result = cli("push", server.url, "--url", server.url, code=2)
    assert "--token" in result.stderr and not HTTP_TERMS.search(result.stderr)
    with HttpClient(server.url, "geheim") as client:
        client.post("/api/w/runs", {"experiment": "iris", "id": "x"})
    result = cli("push", server.url, "--url", server.url, "--token", "geheim", code=2)
    assert "--to-token" in result.stderr and not HTTP_TERMS.search(result.stderr)


def test_message_about_a_conflict_names_the_overwrite_option(server: Server, tmp_path: Path) -> None:
    with (
        run_server(tmp_path / "other", tmp_path / "scratch") as other,
        HttpClient(server.url) as here,
        HttpClient(other.url) as there,
    ):
        cli("push", other.url, "job", "--url", server.url)
        there.post("/api/w/runs/job/tags", {"os": "linux"})
        here.post("/api/w/runs/job/tags", {"os": "macos"})
        result = cli("push", other.url, "job", "--url", server.url, code=1)
        assert "; add --overwrite to replace it" in result.stderr and not HTTP_TERMS.search(result.stderr)
        content = here.ask("GET", "/api/runs/job/download").content()
        (tmp_path / "job.zip").write_bytes(content)
        result = cli("import", str(tmp_path / "job.zip"), "--url", other.url, code=1)
        assert "; add --overwrite to replace it" in result.stderr and not HTTP_TERMS.search(result.stderr)
    # The API's own message keeps the HTTP terms.
    assert fetch_error(server) == "no run has the id 'nosuch'; use an id that POST /api/w/runs returned"


def fetch_error(server: Server) -> str:
    import requests

    return str(requests.get(f"{server.url}/api/runs/nosuch", timeout=60).json()["detail"])


# -- the first line of push and import


def test_first_line_of_push_and_import_names_source_and_target(server: Server, tmp_path: Path) -> None:
    with run_server(tmp_path / "team", tmp_path / "scratch") as team:
        result = cli("push", team.url, "--url", server.url)
        assert result.stdout.splitlines()[0] == f"pushing from {server.url} to {team.url}"
        result = cli("push", team.url, "--data", str(server.data), "--json")
        assert result.stderr.splitlines()[0] == f"pushing from {server.data} to {team.url}"
        json.loads(result.stdout)
        with HttpClient(team.url) as client:
            (tmp_path / "job.zip").write_bytes(client.ask("GET", "/api/runs/job/download").content())
        result = cli("import", "job.zip", "--url", team.url, cwd=tmp_path)
        assert result.stdout.splitlines()[0] == f"importing job.zip into {team.url}"
    result = cli("import", "job.zip", "job.zip", "--data", "here", "--json", cwd=tmp_path)
    assert result.stderr == "importing 2 files into here\n"
    json.loads(result.stdout)


def test_push_without_a_source_uses_the_artifacts_folder_and_says_so(server: Server, tmp_path: Path) -> None:
    with FolderClient(tmp_path / "artifacts", writes=True) as client:
        client.post("/api/w/runs", {"experiment": "iris", "id": "of-the-folder"})
        client.ask(
            "POST", "/api/w/runs/of-the-folder/artifacts", [("name", "a")], body=b"1", content_type=OCTETS
        ).json()
    with run_server(tmp_path / "team", tmp_path / "scratch") as team:
        result = cli("push", team.url, cwd=tmp_path)
        assert (
            result.stdout.splitlines()[0]
            == f"pushing from artifacts (the default without --data and --url) to {team.url}"
        )
        assert "imported  of-the-folder" in result.stdout
        (tmp_path / "elsewhere").mkdir()
        url = f"http://localhost:{free_port()}"
        result = cli("push", team.url, cwd=tmp_path, code=3, env={"CHACHAML_URL": url})
        assert f"no server responds at {url}" in result.stderr
