"""Runs named on a command line by the beginning of an id, headings by names, and messages in the words of options."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import cli
from support.servers import Running, free_port, running

from chachaml_lite.client.base import OCTETS
from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import HttpClient

IDS = ("20261130-101010-123-aaaaaa", "20261130-101010-123-bbbbbb", "20261201-000000-000-cccccc")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with runs of ids that begin alike, some of one name, and one in the trash."""
    folder = tmp_path_factory.mktemp("names")
    with running(folder / "artifacts", folder / "scratch") as started, HttpClient(started.url) as client:
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
        yield started


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, server: Running) -> list[str]:
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
def test_beginning_of_one_id_names_the_run_and_an_exact_id_counts_first(
    place: list[str], word: str, run_id: str
) -> None:
    assert json.loads(cli("show", word, "--json", *place).stdout)["id"] == run_id


def test_beginning_of_several_ids_names_the_candidates(place: list[str]) -> None:
    for command in (
        ["show", "2026"],
        ["compare", IDS[0], "2026"],
        ["check", "2026", "--rule", "accuracy>0"],
        ["report", "2026"],
    ):
        done = cli(*command, *place, code=2)
        assert done.stdout == "" and done.stderr.count("\n") == 1
        assert f"{IDS[0]} (base)" in done.stderr and f"{IDS[2]} (tuned)" in done.stderr
    assert "several runs begin with jo: job-2, job\n" in cli("show", "jo", *place, code=2).stderr


def test_more_candidates_than_a_line_takes_are_cut(data: Path) -> None:
    with FolderClient(data, writes=True) as client:
        for number in range(12):
            client.post("/api/w/runs", {"experiment": "iris", "id": f"x{number:02}"})
    assert cli("show", "x", "--data", str(data), code=2).stderr.endswith("x02, and more\n")


def test_check_report_compare_and_push_take_beginnings(place: list[str], tmp_path: Path) -> None:
    cli("check", "20261201", "--rule", "accuracy>=baseline", "--baseline", "job-", *place)
    assert cli("report", "20261201", "--format", "txt", *place).stdout.startswith("tuned  running\n")
    assert cli("compare", "20261201", "job-", *place).stdout
    with running(tmp_path / "other", tmp_path / "scratch") as other:
        pushed = json.loads(cli("push", other.url, "20261201", *place, "--json").stdout)
    assert pushed["imported"] == [IDS[2]]


def test_experiment_counts_before_the_beginning_of_an_id(place: list[str]) -> None:
    assert cli("report", "iris", *place).stdout.startswith("## `iris`\n")
    assert cli("report", "iris-", "--format", "txt", *place).stdout.startswith("iris-1  running\n")
    assert "no run and no experiment 'nosuch'" in cli("report", "nosuch", *place, code=2).stderr


def test_what_removes_or_hides_a_run_takes_whole_ids(data: Path) -> None:
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


def test_compare_heads_its_columns_by_names_and_tells_runs_of_one_name_apart(place: list[str]) -> None:
    head = cli("compare", IDS[0], IDS[1], IDS[2], *place).stdout.splitlines()[0]
    assert re.split(r"  +", head) == ["kind", "key", "group", "…aaaa base", "…bbbb base", "tuned"]
    assert re.split(r"  +", cli("compare", "job", "job-2", *place).stdout.splitlines()[0])[3:] == ["job", "job-2"]


def test_names_that_are_alike_where_they_are_cut_give_way_to_ids(data: Path) -> None:
    with FolderClient(data, writes=True) as client:
        for run_id in ("a", "b"):
            client.post("/api/w/runs", {"experiment": "iris", "id": run_id, "name": "x" * 60 + run_id})
            client.post(f"/api/w/runs/{run_id}/params", {"lr": run_id})
    assert cli("compare", "a", "b", "--data", str(data)).stdout.splitlines()[0].split()[3:] == ["a", "b"]


# -- links


def test_commands_on_a_folder_print_no_link_and_those_on_a_server_do(server: Running, tmp_path: Path) -> None:
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
    with running(tmp_path / "team", tmp_path / "scratch") as team:
        done = cli("push", team.url, "job", "--data", str(server.data))
        assert set(re.findall(r"https?://\S+", done.stdout + done.stderr)) == {team.url}
        (team.data / "runs/job/params.json").write_text('{"lr": 9}')
        refused = cli("push", team.url, "job", "--data", str(server.data), code=1)
        assert set(re.findall(r"https?://\S+", refused.stdout + refused.stderr)) == {team.url}
    FolderClient(tmp_path / "empty", writes=True).close()
    assert cli("trash", "list", "--data", str(tmp_path / "empty")).stdout == "no runs here\n"


# -- the words of messages

#: What HTTP calls things that a command line has options for.
OF_HTTP = re.compile(
    r"overwrite=true|&baseline|order_by|\bq,|\bheader\b|Authorization|(GET|POST) /|offset=|%2B|in a URL"
)


@pytest.mark.parametrize(
    ("arguments", "told"),
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
def test_message_speaks_of_options(server: Running, arguments: str, told: str) -> None:
    done = cli(*shlex.split(arguments), code=2, env={"CHACHAML_URL": server.url})
    assert told in done.stderr
    assert not OF_HTTP.search(done.stderr), done.stderr


def test_message_about_a_token_names_its_option(serve: Callable[..., Running]) -> None:
    server = serve("--token", "geheim")
    for command in (
        ["runs"],
        ["show", "x"],
        ["end", "x"],
        ["export", "--to", "mlflow", "--tracking-uri", "http://localhost:1"],
    ):
        done = cli(*command, "--url", server.url, code=2)
        assert "--token or CHACHAML_TOKEN" in done.stderr and not OF_HTTP.search(done.stderr), done.stderr
    done = cli("push", server.url, "--url", server.url, code=2)
    assert "--token" in done.stderr and not OF_HTTP.search(done.stderr)
    with HttpClient(server.url, "geheim") as client:
        client.post("/api/w/runs", {"experiment": "iris", "id": "x"})
    done = cli("push", server.url, "--url", server.url, "--token", "geheim", code=2)
    assert "--to-token" in done.stderr and not OF_HTTP.search(done.stderr)


def test_message_about_a_refused_note_names_overwrite(server: Running, tmp_path: Path) -> None:
    with (
        running(tmp_path / "other", tmp_path / "scratch") as other,
        HttpClient(server.url) as here,
        HttpClient(other.url) as there,
    ):
        cli("push", other.url, "job", "--url", server.url)
        there.post("/api/w/runs/job/tags", {"os": "linux"})
        here.post("/api/w/runs/job/tags", {"os": "macos"})
        done = cli("push", other.url, "job", "--url", server.url, code=1)
        assert "; add --overwrite to replace it" in done.stderr and not OF_HTTP.search(done.stderr)
        zipped = here.ask("GET", "/api/runs/job/download").content()
        (tmp_path / "job.zip").write_bytes(zipped)
        done = cli("import", str(tmp_path / "job.zip"), "--url", other.url, code=1)
        assert "; add --overwrite to replace it" in done.stderr and not OF_HTTP.search(done.stderr)
    # The API has its own words for it.
    assert client_error(server) == "no run has the id 'nosuch'; use an id that POST /api/w/runs returned"


def client_error(server: Running) -> str:
    import requests

    return str(requests.get(f"{server.url}/api/runs/nosuch", timeout=60).json()["detail"])


# -- the first line of push and import


def test_push_and_import_say_from_where_and_to_where_in_their_first_line(server: Running, tmp_path: Path) -> None:
    with running(tmp_path / "team", tmp_path / "scratch") as team:
        done = cli("push", team.url, "--url", server.url)
        assert done.stdout.splitlines()[0] == f"pushing from {server.url} to {team.url}"
        done = cli("push", team.url, "--data", str(server.data), "--json")
        assert done.stderr.splitlines()[0] == f"pushing from {server.data} to {team.url}"
        json.loads(done.stdout)
        with HttpClient(team.url) as client:
            (tmp_path / "job.zip").write_bytes(client.ask("GET", "/api/runs/job/download").content())
        done = cli("import", "job.zip", "--url", team.url, cwd=tmp_path)
        assert done.stdout.splitlines()[0] == f"importing job.zip into {team.url}"
    done = cli("import", "job.zip", "job.zip", "--data", "here", "--json", cwd=tmp_path)
    assert done.stderr == "importing 2 files into here\n"
    json.loads(done.stdout)


def test_push_without_a_source_takes_artifacts_where_it_is_there_and_says_so(server: Running, tmp_path: Path) -> None:
    with FolderClient(tmp_path / "artifacts", writes=True) as client:
        client.post("/api/w/runs", {"experiment": "iris", "id": "of-the-folder"})
        client.ask(
            "POST", "/api/w/runs/of-the-folder/artifacts", [("name", "a")], body=b"1", content_type=OCTETS
        ).json()
    with running(tmp_path / "team", tmp_path / "scratch") as team:
        done = cli("push", team.url, cwd=tmp_path)
        assert (
            done.stdout.splitlines()[0]
            == f"pushing from artifacts (the default without --data and --url) to {team.url}"
        )
        assert "imported  of-the-folder" in done.stdout
        (tmp_path / "elsewhere").mkdir()
        url = f"http://localhost:{free_port()}"
        done = cli("push", team.url, cwd=tmp_path, code=3, env={"CHACHAML_URL": url})
        assert f"no server responds at {url}" in done.stderr
