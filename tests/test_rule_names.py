"""Valid names, ids and keys: tables for the rules, and the same over HTTP for each field that takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from chachaml_lite.errors import InvalidInput
from chachaml_lite.tracking.names import check_artifact_name, check_model_name, check_name, check_run_id, is_run_id

LogRun = Callable[..., str]

GOOD = [
    "a",
    "iris",
    "val/top 5",
    " leading and trailing ",
    "größe",
    "大きさ",
    "😀",
    "a" * 250,
    "大" * 250,
    "a\u00a0b",
    "a\u2028b",
    "<script>alert(1)</script>",
    "'; drop table runs; --",
    ".",
    "..",
    "../../etc/passwd",
    "/",
    "\\",
    "con",
    "%41",
    "a=b&c",
]
#: A name, and a part of its error message.
BAD = {
    "": "is empty",
    "a" * 251: "has 251 characters; the limit is 250",
    "大" * 1000: "has 1000 characters",
    "a\nb": "contains a control character",
    "a\tb": "contains a control character",
    "\x00": "contains a control character",
    "\x1b[31mred": "contains a control character",
    "a\x7f": "contains a control character",
    "a\x85b": "contains a control character",
    "a\x9b": "contains a control character",
}
#: In addition to `BAD`.
BAD_FOR_MODELS = ["a/b", "/", "a\\b", ".", "..", "大" * 86, ":" * 86]
GOOD_ARTIFACTS = [
    "model.pkl",
    "checkpoints/step_50.pt",
    "a/b/c/d",
    "größe/大.bin",
    ".hidden",
    "...",
    "a b",
    "a:b?c*d",
    "CON",
    "大" * 85,
    "/".join(["a" * 199] * 4),
]
BAD_ARTIFACTS = {
    "": "empty",
    "/": "relative",
    "/etc/passwd": "relative",
    "a/": "no empty",
    "a//b": "no empty",
    ".": "segment",
    "..": "segment",
    "a/./b": "segment",
    "a/../b": "segment",
    "../a": "segment",
    "a/..": "segment",
    "a\\b": "backslash",
    "..\\a": "backslash",
    "C:\\a": "backslash",
    "a\x00b": "control",
    "a\nb": "control",
    "a\x7f": "control",
    "a\x85": "control",
    "a" * 256: "255 bytes",
    "大" * 86: "255 bytes",
    ":" * 86: "255 bytes",
    "dir/" + "a" * 256: "255 bytes",
    "/".join(["a" * 200] * 4): "800",
}
GOOD_IDS = ["a", "0", "A-b_c.d", "20261123-185749-123-k3f9ta", "a" * 128, "1.0", "com", "console", "nul-1", "com10"]
BAD_IDS = [
    *["", "a" * 129, ".a", "-a", "_a", "a/b", "a b", "a\n", "a\\b", "..", ".", "a.", "a..", "größe", "１"],
    *["a%41", "a:b", "a~b", "a@b", "con", "CON", "nul", "NUL.txt", "aux.tar.gz", "com1", "LPT9.log", "prn"],
]


@pytest.mark.parametrize("name", GOOD)
def test_name_may_be_any_text(name: str) -> None:
    assert check_name("param", name) == name


@pytest.mark.parametrize(("name", "reason"), BAD.items())
def test_name_that_is_too_long_or_has_control_characters_is_refused(name: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as excinfo:
        check_name("param", name)
    assert excinfo.value.detail.startswith("param ")
    assert reason in excinfo.value.detail
    assert excinfo.value.detail.isprintable()
    assert len(excinfo.value.detail) < 200


GOOD_FOR_MODELS = [name for name in GOOD if not {"/", "\\"} & set(name) and name.strip(".") and len(name) < 250]


@pytest.mark.parametrize("name", [*GOOD_FOR_MODELS, "...", "a" * 250, "大" * 85, ":" * 85])
def test_model_name_may_be_any_name_without_a_slash(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize("name", [*BAD, *BAD_FOR_MODELS, "../../etc/passwd"])
def test_model_name_that_fits_no_url_or_file_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="^model name "):
        check_model_name(name)


@pytest.mark.parametrize("name", GOOD_ARTIFACTS)
def test_artifact_name_is_a_relative_path(name: str) -> None:
    assert check_artifact_name(name) == name


@pytest.mark.parametrize(("name", "reason"), BAD_ARTIFACTS.items())
def test_artifact_name_that_leads_elsewhere_is_refused(name: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as excinfo:
        check_artifact_name(name)
    assert excinfo.value.detail.isprintable()


@pytest.mark.parametrize("run_id", GOOD_IDS)
def test_plain_run_id_is_accepted(run_id: str) -> None:
    assert is_run_id(run_id)
    assert check_run_id("id", run_id) == run_id


@pytest.mark.parametrize("run_id", [*BAD_IDS, None, 5])
def test_run_id_unsafe_in_a_url_file_name_or_shell_is_refused(run_id: Any) -> None:
    assert not is_run_id(run_id)
    with pytest.raises(InvalidInput, match="^parent_run_id must be 1 to 128 of "):
        check_run_id("parent_run_id", run_id)


# -- over HTTP: every field that takes a name applies the rule


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


def count_runs_and_models(client: FlaskClient) -> tuple[str, int]:
    """Return the number of runs and models."""
    return client.get("/api/runs?limit=1").headers["X-Total-Count"], len(client.get("/api/models").get_json())


@pytest.mark.parametrize("name", GOOD)
def test_good_name_is_accepted_everywhere_and_returned(client: FlaskClient, log_run: LogRun, name: str) -> None:
    fields = {"experiment": name, "name": name, "created_by": name, "tags": {name: name}}
    run_id = log_run(**fields, params={name: name}, metrics={"metrics": {name: 1}})
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["experiment"], run["name"], run["created_by"]) == (name, name, name)
    assert (run["tags"], run["params"], run["metrics"]) == ({name: name}, {name: name}, {name: 1})
    assert client.get(f"/api/runs/{run_id}/metrics", query_string={"key": name}).get_json()[name]["total"] == 1
    for field in ("experiment", "name", "created_by", f"tag.{name}", f"param.{name}"):
        runs = client.get("/api/runs", query_string={field: name}).get_json()
        assert [each["id"] for each in runs] == [run_id], field
    assert client.get(f"/runs/{run_id}").status_code == 200


@pytest.mark.parametrize("name", BAD)
def test_bad_name_is_400_everywhere_and_stores_nothing(client: FlaskClient, log_run: LogRun, name: str) -> None:
    run_id = log_run(artifacts={"m": b"1"})
    before = count_runs_and_models(client)
    for body in (
        {"experiment": name},
        {"experiment": "x", "name": name},
        {"experiment": "x", "created_by": name},
        {"experiment": "x", "tags": {name: 1}},
    ):
        assert client.post("/api/w/runs", json=body).status_code == 400, body
    base = f"/api/w/runs/{run_id}"
    for path, payload in (
        (f"{base}/params", {"good": 1, name: 1}),
        (f"{base}/metrics", {"good": 1, name: 1}),
        (f"{base}/metrics", [{"good": 1}, {"metrics": {name: 1}}]),
        (f"{base}/tags", {"good": 1, name: 1}),
        (f"/api/tags/{run_id}", {"key": name, "value": 1}),
        ("/api/w/models", {"name": name, "run_id": run_id, "artifact": "m"}),
    ):
        answer = client.post(path, json=payload)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request"), path
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["params"], run["metrics"], run["tags"]) == ({}, {}, {})
    assert count_runs_and_models(client) == before


@pytest.mark.parametrize("name", BAD_FOR_MODELS)
def test_bad_model_name_is_400(client: FlaskClient, log_run: LogRun, name: str) -> None:
    run_id = log_run(artifacts={"m": b"1"})
    before = count_runs_and_models(client)
    answer = client.post("/api/w/models", json={"name": name, "run_id": run_id, "artifact": "m"})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert count_runs_and_models(client) == before


@pytest.mark.parametrize("name", GOOD_ARTIFACTS)
def test_good_artifact_name_is_accepted_and_downloadable(client: FlaskClient, log_run: LogRun, name: str) -> None:
    run_id = log_run(artifacts={name: name.encode()})
    (artifact,) = client.get(f"/api/runs/{run_id}/artifacts").get_json()
    assert (artifact["name"], artifact["id"]) == (name, f"{run_id}/{name}")
    download = client.get(f"/api/artifacts/{run_id}/{name.replace('%', '%25').replace('?', '%3F')}/download")
    assert download.data == name.encode()


@pytest.mark.parametrize("name", BAD_ARTIFACTS)
def test_bad_artifact_name_is_400(client: FlaskClient, log_run: LogRun, name: str) -> None:
    run_id = log_run()
    answer = client.post(
        f"/api/w/runs/{run_id}/artifacts",
        query_string={"name": name},
        data=b"bytes",
        content_type="application/octet-stream",
    )
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert client.get(f"/api/runs/{run_id}/artifacts").get_json() == []


@pytest.mark.parametrize("run_id", BAD_IDS)
def test_bad_id_is_400_as_id_and_as_parent_run_id(client: FlaskClient, run_id: str) -> None:
    before = count_runs_and_models(client)
    for field in ("id", "parent_run_id"):
        answer = client.post("/api/w/runs", json={"experiment": "iris", field: run_id})
        assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request"), field
        assert answer.get_json()["detail"].startswith(f"{field} must be 1 to 128 of ")
    assert count_runs_and_models(client) == before


@pytest.mark.parametrize("run_id", GOOD_IDS)
def test_good_id_is_accepted_as_id_and_as_parent_run_id(client: FlaskClient, run_id: str) -> None:
    run = client.post("/api/w/runs", json={"experiment": "iris", "id": run_id, "parent_run_id": run_id}).get_json()
    assert (run["id"], run["parent_run_id"]) == (run_id, run_id)
    assert client.get(f"/api/runs/{run_id}").status_code == 200
