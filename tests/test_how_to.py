"""The how-to of the write API: its commands run as printed, and its statements are true."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from support.html_tables import Page
from support.scripts import extract_lines, run_bash, run_python, set_host
from support.servers import Server

LogRun = Callable[..., str]

MODEL = b"\x80\x04 a pickled model: \x00\xff\r\n, none of it text"


@pytest.fixture
def how_to(shared: Path) -> str:
    return (shared / "how-to.txt").read_text()


@pytest.fixture
def session(how_to: str) -> str:
    """Step 1, from HOST= to the end of the run."""
    return extract_lines(how_to, "1. Bare curl, end-to-end", "Verify in the UI")


@pytest.fixture
def registration(how_to: str) -> str:
    """Step 3."""
    return extract_lines(how_to, "3. (Optional) Register a model", "The same exclusivity rule")


@pytest.fixture
def run_session(server: Server, tmp_path: Path, tool: Callable[[str], str]) -> Callable[[str], tuple[str, list[Any]]]:
    """A function that runs the session, or more, in bash, and returns the run's id and the JSON responses."""
    for name in ("bash", "curl", "jq", "bc"):
        tool(name)
    folder = tmp_path / "working"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(MODEL)

    def run(script: str) -> tuple[str, list[Any]]:
        first_line, *rest = run_bash(set_host(script, server.url), folder).splitlines()
        assert first_line.startswith("Run id: ")
        return first_line.removeprefix("Run id: "), [json.loads(line) for line in rest]

    return run


def fetch_json(server: Server, path: str) -> Any:
    response = requests.get(server.url + path, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


def fetch_page(server: Server, path: str) -> Page:
    response = requests.get(server.url + path, headers={"Accept": "text/html"}, timeout=60)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(response.text)


def test_curl_session_works_as_printed(
    server: Server, session: str, run_session: Callable[[str], tuple[str, list[Any]]]
) -> None:
    run_id, responses = run_session(session)
    logged_one = {"ok": True, "logged": 1}
    upload = {"ok": True, "name": "model.pkl", "sha256": hashlib.sha256(MODEL).hexdigest(), "size": len(MODEL)}
    assert responses == [{"ok": True}, logged_one, *[logged_one] * 5, upload, {"ok": True}]

    run = fetch_json(server, f"/api/runs/{run_id}")
    assert (run["experiment"], run["name"], run["status"]) == ("iris", "from-python", "completed")
    assert run["tags"] == {"author": "maria"}
    assert run["params"] == {"lr": 0.01, "epochs": 100}
    assert run["metrics"] == {"accuracy": 0.94, "loss": 0.2}
    assert [artifact["name"] for artifact in run["artifacts"]] == ["model.pkl"]
    series = fetch_json(server, f"/api/runs/{run_id}/metrics")
    loss = [(point["step"], point["value"]) for point in series["loss"]["points"]]
    assert loss == [(0, 1.0), (1, 0.5), (2, 0.333), (3, 0.25), (4, 0.2)]
    assert [(point["step"], point["value"]) for point in series["accuracy"]["points"]] == [(0, 0.94)]
    download = requests.get(f"{server.url}/api/artifacts/{run_id}/model.pkl/download", timeout=60)
    assert download.content == MODEL


def test_run_of_the_session_is_on_the_pages_with_params_metrics_and_artifact(
    server: Server, session: str, run_session: Callable[[str], tuple[str, list[Any]]]
) -> None:
    run_id, _ = run_session(session)
    runs = fetch_page(server, "/runs")
    head, row = runs.rows[0], runs.find_row("from-python")
    cells = dict(zip(head, row, strict=True))
    assert {"accuracy": "0.94", "loss": "0.2", "lr": "0.01", "epochs": "100"}.items() <= cells.items()
    assert "iris" in row
    assert "completed" in row
    assert f"/runs/{run_id}" in runs.links

    run = fetch_page(server, f"/runs/{run_id}")
    assert run.find_row("loss 5 points")[1:] == ["0.2 step 4", "0.2 step 4", "1 step 0"]  # last, min, max
    assert run.find_row("accuracy 1 point")[1:] == ["0.94 step 0"] * 3
    assert run.find_row("lr") == ["lr", "0.01"]
    assert run.find_row("epochs") == ["epochs", "100"]
    assert run.find_row("model.pkl")[1] == f"{len(MODEL)} B"
    link = next(link for link in run.links if link.endswith("/model.pkl/download"))
    assert requests.get(server.url + link, timeout=60).content == MODEL


def test_python_script_works_as_printed(server: Server, how_to: str, tmp_path: Path) -> None:
    script = extract_lines(how_to, "2. From Python", "3. (Optional)")
    assert run_python(set_host(script, server.url), tmp_path) == ""
    (run,) = fetch_json(server, "/api/runs?experiment=iris&name=from-python&status=completed&tag.author=maria")
    assert run["params"] == {"lr": 0.01, "epochs": 100}
    assert run["metrics"] == {"loss": 0.01, "accuracy": 0.94}
    series = fetch_json(server, f"/api/runs/{run['id']}/metrics")
    assert [(point["step"], point["value"]) for point in series["loss"]["points"]] == [
        (epoch, 1.0 / (epoch + 1)) for epoch in range(100)
    ]
    assert [point["value"] for point in series["accuracy"]["points"]] == [0.94]


def test_model_registration_works_as_printed(
    server: Server, session: str, registration: str, run_session: Callable[[str], tuple[str, list[Any]]]
) -> None:
    run_id, responses = run_session(session + registration)
    version = responses[-1]
    assert version == {
        "name": "iris-classifier",
        "version": 1,
        "run_id": run_id,
        "artifact": "model.pkl",
        "sha256": hashlib.sha256(MODEL).hexdigest(),
        "stage": "staging",
        "description": "first cut",
        "created_at": version["created_at"],
    }
    assert fetch_json(server, "/api/models/iris-classifier")["versions"] == [
        {**version, "tags": {}, "aliases": [], "files": None}
    ]
    download = requests.get(f"{server.url}/api/models/iris-classifier/staging/download", timeout=60)
    assert download.content == MODEL


def test_promotion_to_production_demotes_the_previous_version(
    server: Server, session: str, registration: str, run_session: Callable[[str], tuple[str, list[Any]]]
) -> None:
    demoted_versions = {}
    for number in (1, 2):
        _, responses = run_session(session + registration)
        assert responses[-1]["version"] == number
        response = requests.post(
            f"{server.url}/api/w/models/iris-classifier/promote",
            json={"version": number, "stage": "production"},
            timeout=60,
        ).json()
        assert response["stage"] == "production"
        demoted_versions[number] = response["demoted"]
    assert demoted_versions == {1: [], 2: [1]}
    model = fetch_json(server, "/api/models/iris-classifier")
    assert {version["version"]: version["stage"] for version in model["versions"]} == {1: "archived", 2: "production"}
    assert model["model"]["production"] == 2


# -- "API surface" and "Troubleshooting"


@pytest.mark.parametrize("is_ended", [False, True], ids=["unknown", "ended"])
@pytest.mark.parametrize("part", ["params", "metrics"])
def test_unknown_or_ended_run_is_404_no_such_run(
    client: FlaskClient, log_run: LogRun, how_to: str, part: str, is_ended: bool
) -> None:
    (documented_error,) = re.findall(r"\{ \"error\": .*? \}", how_to)
    run_id = log_run(end="completed") if is_ended else "never-started"
    response = client.post(f"/api/w/runs/{run_id}/{part}", json={"loss": 0.5})
    assert response.status_code == 404
    assert response.get_json()["error"] == json.loads(documented_error)["error"] == "no such run"
    if is_ended:
        assert "ended" in response.get_json()["detail"]
        run = client.get(f"/api/runs/{run_id}").get_json()
        assert (run["params"], run["metrics"]) == ({}, {})


@pytest.mark.parametrize(
    ("part", "content_type", "correct_type"),
    [
        ("params", "application/octet-stream", "application/json"),
        ("metrics", "application/octet-stream", "application/json"),
        ("artifacts?name=model.pkl", "application/json", "application/octet-stream"),
        ("params", "application/x-www-form-urlencoded", "application/json"),
        ("metrics", "application/x-www-form-urlencoded", "application/json"),
        ("artifacts?name=model.pkl", "application/x-www-form-urlencoded", "application/octet-stream"),
    ],
)
def test_wrong_content_type_is_400_and_the_error_names_the_correct_header(
    client: FlaskClient, log_run: LogRun, part: str, content_type: str, correct_type: str
) -> None:
    run_id = log_run()
    response = client.post(f"/api/w/runs/{run_id}/{part}", data=b'{"loss":0.5}', content_type=content_type)
    assert response.status_code == 400
    assert f"-H 'Content-Type: {correct_type}'" in response.get_json()["detail"]
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["params"], run["metrics"], run["artifacts"]) == ({}, {}, [])


def test_batch_logs_both_metrics_at_the_same_step(client: FlaskClient, log_run: LogRun, how_to: str) -> None:
    (batch,) = re.findall(r"batch metrics into one call: (\{.*?\})", how_to)
    run_id = log_run(metrics=json.loads(batch))
    series = client.get(f"/api/runs/{run_id}/metrics").get_json()
    assert {key: [(p["step"], p["value"]) for p in points["points"]] for key, points in series.items()} == {
        "loss": [(12, 0.4)],
        "accuracy": [(12, 0.9)],
    }


def test_verbs_and_paths_of_the_how_to_are_routes(client: FlaskClient, how_to: str) -> None:
    surface = extract_lines(how_to, "Verb + path", "Read endpoints")
    documented_paths = {re.sub(r":\w+", ":", path) for path in re.findall(r"^POST (/[\w/:]+)", surface, re.MULTILINE)}
    rules = client.application.url_map.iter_rules()
    routes = {re.sub(r"<.*?>", ":", rule.rule) for rule in rules if "POST" in (rule.methods or ())}
    assert len(documented_paths) == 6
    assert documented_paths <= routes
