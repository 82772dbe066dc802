"""GET /api/runs: filters, order, pages."""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from conftest import open_app, run_logger
from flask.testing import FlaskClient
from support.servers import Server

LogRun = Callable[..., str]


def list_ids(client: FlaskClient, **query: Any) -> list[str]:
    answer = client.get("/api/runs", query_string=query)
    assert answer.status_code == 200, answer.text
    run_ids = [run["id"] for run in answer.get_json()]
    assert answer.headers["X-Total-Count"] == str(len(run_ids))
    return run_ids


def copy_in(data: Path, run_id: str, start_time: int, **fields: Any) -> None:
    """Copy a run with a start time of its own into the folder."""
    folder = data / "runs" / run_id
    folder.mkdir(parents=True)
    meta = {"id": run_id, "experiment": "iris", "name": None, "status": "completed", "start_time": start_time, **fields}
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of a store with five runs that differ in everything that can be filtered by."""
    with open_app(tmp_path_factory.mktemp("five") / "store") as app:
        log_five(run_logger(app.test_client()))
        yield app.test_client()


def log_five(log_run: LogRun) -> None:
    log_run(
        "iris", id="a", name="first", created_by="maria", tags={"os": "linux", "gpu": True, "seed": 7}, end="completed"
    )
    log_run(
        "iris", id="b", name="second", created_by="paul", tags={"os": "mac", "gpu": False, "seed": 7.5}, end="failed"
    )
    log_run("iris", id="c", name="first", parent_run_id="a", params={"lr": 0.1, "opt": "adam", "layers": [1, 2]})
    log_run("digits", id="d", parent_run_id="a", tags={"os": ""}, params={"lr": 0.10, "on": True, "none": None})
    log_run("Iris", id="e", params={"lr": "0.1", "opt": "Adam", "nested": {"a": 1}}, tags={"a.b": "x"})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "edcba"),
        ({"experiment": "iris"}, "cba"),
        ({"experiment": "Iris"}, "e"),
        ({"experiment": "iri"}, ""),
        ({"experiment": ""}, ""),
        ({"status": "running"}, "edc"),
        ({"status": "completed"}, "a"),
        ({"status": "failed"}, "b"),
        ({"name": "first"}, "ca"),
        ({"name": "First"}, ""),
        ({"created_by": "maria"}, "a"),
        ({"parent_run_id": "a"}, "dc"),
        ({"parent_run_id": "none"}, ""),
        ({"tag.os": "linux"}, "a"),
        ({"tag.os": ""}, "d"),
        ({"tag.os": "Linux"}, ""),
        ({"tag.gpu": "true"}, "a"),
        ({"tag.gpu": "false"}, "b"),
        ({"tag.gpu": "1"}, ""),
        ({"tag.seed": "7"}, "a"),
        ({"tag.seed": "7.0"}, "a"),
        ({"tag.seed": "7.50"}, "b"),
        ({"tag.a.b": "x"}, "e"),
        ({"tag.unknown": "x"}, ""),
        ({"param.lr": "0.1"}, "edc"),
        ({"param.lr": "0.10"}, "dc"),
        ({"param.lr": "1e-1"}, "dc"),
        ({"param.lr": "zero"}, ""),
        ({"param.lr": "nan"}, ""),
        ({"param.opt": "adam"}, "c"),
        ({"param.on": "true"}, "d"),
        ({"param.none": "null"}, "d"),
        ({"param.layers": "[1, 2]"}, "c"),
        ({"param.nested": '{"a": 1}'}, "e"),
        ({"experiment": "iris", "name": "first"}, "ca"),
        ({"experiment": "iris", "name": "first", "status": "completed"}, "a"),
        ({"tag.os": "linux", "tag.gpu": "true", "tag.seed": "7"}, "a"),
        ({"tag.os": "linux", "tag.gpu": "false"}, ""),
        ({"tag.os": "linux", "param.lr": "0.1"}, ""),
    ],
)
def test_filters_match_exactly_and_must_all_match(five: FlaskClient, query: dict[str, str], expected: str) -> None:
    assert "".join(list_ids(five, **query)) == expected


def test_integer_param_of_any_size_is_matched_exactly(client: FlaskClient, log_run: LogRun) -> None:
    seeds = [2**53, 2**53 + 1, 2**63 - 1, -(2**63), 10**300 + 1, 10]
    runs = {seed: log_run(params={"seed": seed}) for seed in seeds}
    for seed, run_id in runs.items():
        assert list_ids(client, **{"param.seed": str(seed)}) == [run_id]
    assert list_ids(client, **{"param.seed": "1e1"}) == [runs[10]]
    assert list_ids(client, **{"param.seed": "1_0"}) == []


def test_name_may_be_sent_as_raw_utf_8(server: Server) -> None:
    # curl "$HOST/api/runs?experiment=größe" sends the bytes as they were typed.
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "größe"}, timeout=60).raise_for_status()
    for name, status, count in (("größe".encode(), 200, 1), (b"gr%C3%B6%C3%9Fe", 200, 1), (b"gr\xf6\xdfe", 400, 2)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(b"GET /api/runs?experiment=" + name + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, len(json.loads(answer.read()))) == (status, count), name


# -- order


def test_default_order_is_by_start_time_then_id_both_descending(client: FlaskClient, data: Path) -> None:
    for run_id, start_time in (("b", 5), ("c", 5), ("a", 5), ("z", 4), ("m", 6)):
        copy_in(data, run_id, start_time)
    assert list_ids(client) == ["m", "c", "b", "a", "z"]
    assert list_ids(client, experiment="iris") == ["m", "c", "b", "a", "z"]
    assert list_ids(client, order_by="start_time") == ["z", "c", "b", "a", "m"]
    assert list_ids(client, order_by="start_time desc") == ["m", "c", "b", "a", "z"]


@pytest.fixture(scope="module")
def runs_to_order(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of a store with metrics and params to order by; d has none, e a NaN, and b and c tie."""
    data = tmp_path_factory.mktemp("measured") / "store"
    with open_app(data) as app:
        log_runs_to_order(run_logger(app.test_client()))
        for place, run_id in enumerate(
            "abcdefg"
        ):  # a millisecond apart, since several may have started in the same one
            meta = data / "runs" / run_id / "meta.json"
            fields = json.loads(meta.read_text())
            fields["start_time"] = FIRST_MS + place
            fields["end_time"] = FIRST_MS + 500 if fields["end_time"] else None
            meta.write_text(json.dumps(fields))
            for file in meta.parent.iterdir():
                mtime_ms = FIRST_MS + (9000 if run_id in "bf" else 1000)
                os.utime(file, ns=(mtime_ms * 1_000_000, mtime_ms * 1_000_000))
        yield app.test_client()


FIRST_MS = 1_760_000_000_000


def log_runs_to_order(log_run: LogRun) -> None:
    log_run(
        id="a",
        metrics=[{"acc": 9, "step": 1}, {"acc": 0.1, "step": 2}],
        params={"n": 10, "opt": "sgd"},
        name="x",
        tags={"os": "linux"},
    )
    log_run(id="b", metrics={"acc": 0.5}, params={"n": 9, "opt": "Adam"}, name="y", artifacts={"m": b"1"})
    log_run(id="c", metrics={"acc": 0.5}, params={"n": 9.5, "opt": "adam"}, end="completed")
    log_run(id="d", params={"opt": None})
    log_run(id="e", metrics={"acc": math.nan}, params={"n": "ten", "opt": 1})
    log_run(id="f", metrics={"acc": math.inf}, params={"n": -1})
    log_run(id="g", metrics={"acc": -math.inf}, params={"n": True})


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("metrics.acc", "gacbfed"),
        ("metrics.acc asc", "gacbfed"),
        ("metrics.acc ASC", "gacbfed"),
        ("metrics.acc desc", "fcbaged"),
        ("  metrics.acc   desc  ", "fcbaged"),
        ("metrics.unknown", "gfedcba"),
        ("metrics.unknown desc", "gfedcba"),
        ("params.n", "fbcaegd"),
        ("params.n desc", "geacbfd"),  # numbers before text, and a boolean is not a number
        ("start_time", "abcdefg"),
        ("start_time desc", "gfedcba"),
        ("id", "abcdefg"),
        ("id desc", "gfedcba"),
        ("name", "abgfedc"),
        ("name desc", "bagfedc"),
        ("end_time", "cgfedba"),
        ("duration_ms desc", "cgfedba"),
        ("status", "cgfedba"),
        ("status desc", "gfedbac"),
        ("experiment", "gfedcba"),
        ("created_by", "gfedcba"),
        ("tags.os", "agfedcb"),
        ("tag.os desc", "agfedcb"),
        ("param.n", "fbcaegd"),
        ('metrics."acc" desc', "fcbaged"),
        ("artifacts desc", "bgfedca"),
        ("artifacts", "gfedcab"),
        ("last_write_time", "gedcafb"),
        ("last_write_time desc", "fbgedca"),
    ],
)
def test_missing_and_nan_come_last_in_either_direction_and_ties_go_by_id_descending(
    runs_to_order: FlaskClient, order_by: str, expected: str
) -> None:
    assert "".join(list_ids(runs_to_order, order_by=order_by)) == expected


@pytest.mark.parametrize(
    "order_by",
    [
        "",
        " ",
        "desc",
        "acc",
        "metrics",
        "metrics.",
        "accuracy.acc",
        "params.",
        "tags.",
        "tags",
        "start_time down",
        "start_time, id",
        "metrics.a\x00b",
    ],
)
def test_unknown_order_is_400(shared_client: FlaskClient, order_by: str) -> None:
    answer = shared_client.get("/api/runs", query_string={"order_by": order_by})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")


def test_metric_with_spaces_and_dots_in_its_name_can_be_ordered_by(client: FlaskClient, log_run: LogRun) -> None:
    for run_id, value in (("a", 2), ("b", 1), ("c", 3)):
        log_run(id=run_id, metrics={"val.top 5 desc": value})
    assert list_ids(client, order_by="metrics.val.top 5 desc desc") == ["c", "a", "b"]
    assert list_ids(client, order_by="metrics.val.top 5 desc asc") == ["b", "a", "c"]


def test_long_order_is_refused_at_once(client: FlaskClient) -> None:
    # As long as a URL can be; a pattern that tries every way to split the spaces takes minutes.
    answer = client.get("/api/runs", query_string={"order_by": "a" + " " * 250_000 + "b"})
    assert answer.status_code == 400


# -- pages


def test_pages_follow_each_other_to_the_end(client: FlaskClient, log_run: LogRun) -> None:
    all_ids = [log_run("größe & mehr", id=f"r{number}") for number in range(7)][::-1]
    log_run("other")
    path, seen_ids, sizes = "/api/runs?experiment=gr%C3%B6%C3%9Fe+%26+mehr&limit=3&tag.x=y", [], []
    for run_id in all_ids:
        client.post(f"/api/w/runs/{run_id}/tags", json={"x": "y"})
    while path:
        answer = client.get(path)
        assert answer.headers["X-Total-Count"] == "7"
        page = [run["id"] for run in answer.get_json()]
        seen_ids += page
        sizes.append(len(page))
        link = answer.headers.get("Link", "")
        match = re.fullmatch(r'<([^>]+)>; rel="next"', link)
        assert bool(match) == bool(link)
        path = match[1] if match else ""
        if path:
            query = parse_qs(urlsplit(path).query)
            assert query == {
                "experiment": ["größe & mehr"],
                "limit": ["3"],
                "tag.x": ["y"],
                "offset": [str(len(seen_ids))],
            }
    assert (seen_ids, sizes) == (all_ids, [3, 3, 1])


@pytest.mark.parametrize(
    ("query", "expected", "has_next"),
    [
        ({"limit": 5}, "edcba", False),
        ({"limit": 4}, "edcb", True),
        ({"limit": 1, "offset": 1}, "d", True),
        ({"limit": 4, "offset": 1}, "dcba", False),
        ({"offset": 3}, "ba", False),
        ({"offset": 5}, "", False),
        ({"offset": 10**18}, "", False),
        ({"limit": 2, "offset": 1, "order_by": "id"}, "bc", True),
        ({"limit": 1, "experiment": "iris"}, "c", True),
    ],
)
def test_page_is_a_slice_of_the_whole_list(
    five: FlaskClient, query: dict[str, Any], expected: str, has_next: bool
) -> None:
    answer = five.get("/api/runs", query_string=query)
    assert "".join(run["id"] for run in answer.get_json()) == expected
    assert answer.headers["X-Total-Count"] == ("3" if "experiment" in query else "5")
    assert ("Link" in answer.headers) is has_next


def test_page_has_100_runs_by_default_and_1000_at_most(client: FlaskClient, data: Path) -> None:
    for number in range(1002):
        copy_in(data, f"r{number}", number)
    assert len(client.get("/api/runs").get_json()) == 100
    assert len(client.get("/api/runs?limit=1000").get_json()) == 1000
    assert client.get("/api/runs").headers["X-Total-Count"] == "1002"


def test_number_with_too_many_digits_is_400(client: FlaskClient) -> None:
    answer = client.get("/api/runs?limit=99999999999999999999")
    assert answer.status_code == 400 and "of at most 19 digits" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=",
        "limit=ten",
        "limit=1.5",
        "limit=1e2",
        "limit=99999999999999999999",
        "limit=%D9%A1",
        "offset=-1",
        "offset=x",
        "status=done",
        "status=",
        "expriment=iris",
        "experiment=a&experiment=b",
        "tag.=x",
        "tag.os=a&tag.os=b",
        "param.=x",
        "tags.os=linux",
        "name=%FF",
        "name=%ED%A0%80",
        "&".join(f"tag.k{number}=1" for number in range(300)),
    ],
)
def test_invalid_query_string_is_400(shared_client: FlaskClient, query: str) -> None:
    answer = shared_client.get(f"/api/runs?{query}")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")


def test_run_in_a_list_equals_the_run_without_its_details(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(
        tags={"a": 1}, params={"lr": 0.1}, metrics=[{"loss": 1, "step": 1}, {"loss": 2, "step": 0}], end="failed"
    )
    (listed_run,) = client.get("/api/runs").get_json()
    run = client.get(f"/api/runs/{run_id}").get_json()
    details = {"metric_summary", "artifacts", "datasets", "note", "children", "env"}
    assert set(run) - set(listed_run) == details
    assert listed_run == {key: value for key, value in run.items() if key not in details}
    assert listed_run["metrics"] == {"loss": 1}


def test_silent_run_stays_running_and_has_the_time_of_its_last_write(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    first_write_time = client.get(f"/api/runs/{run_id}").get_json()["last_write_time"]
    client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1})
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert run["status"] == "running"
    assert run["last_write_time"] >= first_write_time
    assert (run["end_time"], run["duration_ms"]) == (None, None)


@pytest.mark.parametrize("field", ["params.lr", "tags.lr"])
def test_text_that_parses_as_a_number_is_ordered_and_compared_as_a_number(
    client: FlaskClient, log_run: LogRun, field: str
) -> None:
    """One rule for q and order_by, since a shell logs its numbers as text; other text comes after the numbers."""
    values = ["10", "1e-5", 9, "0.001", "0.1", "NaN", "-Infinity", ".5", "1 000", "abc"]
    for place, value in enumerate(values):
        log_run(id=f"r{place}", **{field[:-3]: {"lr": value}})

    def find_values(**query: str) -> list[Any]:
        return [values[int(run_id[1:])] for run_id in list_ids(client, **query)]

    ascending = ["-Infinity", "1e-5", "0.001", "0.1", ".5", 9, "10", "1 000", "abc", "NaN"]
    assert find_values(order_by=field) == ascending
    assert find_values(order_by=f"{field} desc") == [*reversed(ascending[:-1]), "NaN"]
    assert find_values(order_by=field, q=f"{field} <= 0.1") == ascending[:4]
    assert find_values(order_by=field, q=f"{field} > 0.1 and {field} < 1e2") == [".5", 9, "10"]


def test_names_that_parse_as_numbers_are_ordered_as_text(client: FlaskClient, log_run: LogRun) -> None:
    for run_id in ("10", "9", "1e1"):
        log_run(id=run_id, name=run_id)
    assert list_ids(client, order_by="id") == list_ids(client, order_by="name") == ["10", "1e1", "9"]
