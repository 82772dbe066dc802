"""Request bodies as programs really send them: spellings of NaN, nulls, units of time, encodings, curl's uploads."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.servers import Server
from support.snapshots import snapshot

LogRun = Callable[..., str]
JSON, NDJSON, OCTETS = "application/json", "application/x-ndjson", "application/octet-stream"


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


def post(
    client: FlaskClient, run_id: str, body: Any, kind: str = JSON, part: str = "metrics", **headers: str
) -> tuple[int, Any]:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    answer = client.post(f"/api/w/runs/{run_id}/{part}", data=data, content_type=kind, headers=headers)
    return answer.status_code, answer.get_json()


def get_detail(answer: tuple[int, Any]) -> str:
    assert (answer[0], answer[1]["error"]) == (400, "bad request"), answer
    return str(answer[1]["detail"])


def get_points(client: FlaskClient, run_id: str) -> dict[str, list[tuple[int, Any]]]:
    series = client.get(f"/api/runs/{run_id}/metrics").get_json()
    return {key: [(point["step"], point["value"]) for point in each["points"]] for key, each in series.items()}


# -- values


def test_null_metric_is_skipped_and_counted(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    assert post(client, run_id, {"loss": None, "step": 3}) == (200, {"ok": True, "logged": 0, "skipped": 1})
    lines = '{"loss":1,"step":0}\n{"loss":null,"acc":null,"step":1}\n{"metrics":{"loss":2,"acc":null},"step":null}\n'
    assert post(client, run_id, lines, NDJSON) == (200, {"ok": True, "logged": 2, "skipped": 3})
    assert get_points(client, run_id) == {"loss": [(0, 1), (0, 2)]}
    assert '"metrics" is null' in get_detail(post(client, run_id, {"metrics": None, "step": 1}))


def test_params_keep_bare_nonfinite_numbers_as_strings_even_nested(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    body = '{"missing": NaN, "a": {"b": [-inf, 1, {"c": +Infinity}]}, "text": "nan, inf: -nan", "d": nan, "nan":-NAN}'
    expected = {
        "missing": "NaN",
        "a": {"b": ["-Infinity", 1, {"c": "Infinity"}]},
        "text": "nan, inf: -nan",
        "d": "NaN",
        "nan": "NaN",
    }
    for _ in range(2):  # repeating them is fine
        assert post(client, run_id, body, part="params") == (200, {"ok": True})
    assert client.get(f"/api/runs/{run_id}").get_json()["params"] == expected
    assert "is not JSON" in get_detail(post(client, run_id, "{nan: 1}", part="params"))
    assert "is not JSON" in get_detail(post(client, run_id, '{"a": NaN}', part="tags"))


@pytest.mark.parametrize("step", ["50.0", "5e1", "-2.0", "9007199254740992.0", "-0.0", "50"])
def test_whole_float_is_a_step_and_a_timestamp(client: FlaskClient, log_run: LogRun, step: str) -> None:
    run_id = log_run()
    body = f'{{"metrics": {{"loss": 1}}, "step": {step}, "timestamp": {step}}}'
    assert post(client, run_id, body)[0] == 200
    (point,) = client.get(f"/api/runs/{run_id}/metrics").get_json()["loss"]["points"]
    for value in (point["step"], point["timestamp"]):
        assert (value, type(value)) == (int(float(step)), int)


@pytest.mark.parametrize("unit", ["seconds", "microseconds", "nanoseconds"])
@pytest.mark.parametrize("years", [-9, 0, 9])
def test_timestamp_in_another_unit_is_400_with_the_advice(
    client: FlaskClient, log_run: LogRun, unit: str, years: int
) -> None:
    run_id = log_run()
    seconds = int(time.time()) + years * 365 * 86_400
    timestamp = {"seconds": seconds, "microseconds": seconds * 10**6, "nanoseconds": seconds * 10**9}[unit]
    detail = get_detail(post(client, run_id, {"metrics": {"loss": 1}, "timestamp": timestamp}))
    assert f"{timestamp} is one in {unit}" in detail and "milliseconds since 1970" in detail
    change, by = re.search(r"(multiply|divide) by ([\d,]+)", detail).groups()  # type: ignore[union-attr]
    factor = int(by.replace(",", ""))
    right = timestamp * factor if change == "multiply" else timestamp // factor
    assert post(client, run_id, {"metrics": {"loss": 1}, "timestamp": right})[0] == 200
    assert abs(right - seconds * 1000) < 1000


@pytest.mark.parametrize("timestamp", [0, 5, -5, 2**63 - 1, -(2**63), 946_684_800_000])
def test_timestamp_that_is_not_recent_in_any_unit_is_accepted(
    client: FlaskClient, log_run: LogRun, timestamp: int
) -> None:
    run_id = log_run()
    assert post(client, run_id, {"metrics": {"loss": 1}, "timestamp": timestamp})[0] == 200


# -- the place of an error


@pytest.mark.parametrize(
    ("body", "kind", "place"),
    [
        ('\n{"loss": 1}\n\n{"loss": "much"}\n{"loss": 2}', NDJSON, "line 4: metric"),
        ('{"loss": 1}\r\n{"loss": 1, "step": 1.5}\r\n', NDJSON, "line 2: step"),
        ('{"loss": 1}\n \n{"loss": }', NDJSON, "line 3: the body is not JSON"),
        ('{"loss": 1}\n7', NDJSON, "line 2: must be"),
        ('{"loss": 1}\n{}', NDJSON, "line 2: no metric"),
        ('\ufeff{"loss": 1}\n{}', NDJSON, "line 2: no metric"),
        ('[{"loss": 1}, {"loss": 2}, {"loss": true}]', JSON, "index 2: metric"),
        ('[{"loss": 1}, 7]', JSON, "index 1: "),
        (' [{"metrics": {"loss": 1}, "timestamp": 1764000000}]', JSON, "index 0: timestamp"),
        ('{"loss": true}', JSON, "metric 'loss'"),
    ],
)
def test_invalid_entry_of_a_batch_is_400_with_its_place(
    client: FlaskClient, log_run: LogRun, shared_data: Path, body: str, kind: str, place: str
) -> None:
    run_id = log_run(metrics={"loss": 1})
    before = snapshot(shared_data)
    assert get_detail(post(client, run_id, body.encode(), kind)).startswith(place)
    assert snapshot(shared_data) == before


def test_empty_ndjson_logs_nothing_and_says_so(client: FlaskClient, log_run: LogRun) -> None:
    for body in ("", "\n", " \r\n\n", "\ufeff", "\ufeff\n"):
        assert post(client, log_run(), body.encode(), NDJSON) == (200, {"ok": True, "logged": 0})


# -- encodings


def test_byte_order_mark_is_skipped_wherever_json_is_accepted(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for part, kind in (("metrics", JSON), ("metrics", NDJSON), ("params", JSON), ("tags", JSON)):
        assert post(client, run_id, '\ufeff{"a": 1}'.encode(), kind, part)[0] == 200, part
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["params"], run["tags"], run["metrics"]) == ({"a": 1}, {"a": 1}, {"a": 1})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(("part", "kind"), [("metrics", JSON), ("metrics", NDJSON), ("params", JSON)])
def test_utf_16_is_400_and_named(client: FlaskClient, log_run: LogRun, encoding: str, part: str, kind: str) -> None:
    assert "is UTF-16 or UTF-32" in get_detail(post(client, log_run(), '{"a": 1}'.encode(encoding), kind, part))


def test_lines_without_line_ends_or_the_right_type_are_400_with_advice(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for kind in (JSON, NDJSON):
        assert "--data-binary @FILE" in get_detail(post(client, run_id, '{"a":1}{"a":2}', kind))
    assert f"lines as Content-Type {NDJSON}" in get_detail(post(client, run_id, '{"a":1}\n{"a":2}\n', JSON))


@pytest.mark.parametrize(
    ("part", "kind"),
    [("metrics", JSON), ("metrics", NDJSON), ("params", JSON), ("artifacts?name=f", OCTETS), ("end", JSON)],
)
def test_content_encoding_is_400_and_the_detail_names_the_header(
    client: FlaskClient, log_run: LogRun, shared_data: Path, part: str, kind: str
) -> None:
    run_id = log_run()
    before = snapshot(shared_data)
    for encoding in ("gzip", "br", "GZIP, identity", "x"):
        detail = get_detail(post(client, run_id, '{"status": "failed"}', kind, part, **{"Content-Encoding": encoding}))
        assert f"Content-Encoding: {encoding}" in detail
    assert snapshot(shared_data) == before
    body = '{"status": "failed"}' if part == "end" else '{"a": 1}'
    assert post(client, run_id, body, kind, part, **{"Content-Encoding": "Identity"})[0] == 200


# -- files, as curl sends them


def test_advice_for_uploads_is_a_command_that_keeps_every_byte(server: Server, tmp_path: Path) -> None:
    """A wrong upload stores nothing, and the command in its answer stores the file unchanged."""
    content = b"line\r\n\x00\n\n=1&x\n" + bytes(range(256))
    (tmp_path / "model.pkl").write_bytes(content)
    run_id = curl(
        tmp_path, f"{server.url}/api/w/runs?format=id", "-H", f"Content-Type: {JSON}", "-d", '{"experiment":"e"}'
    )
    url = f"{server.url}/api/w/runs/{run_id.strip()}/artifacts?name=mod%20el.pkl"
    octets = ("-H", f"Content-Type: {OCTETS}")
    wrong = (
        ("-d", "@model.pkl"),
        ("-F", "file=@model.pkl"),
        ("-F", "file=@model.pkl", *octets),
        ("-T", "model.pkl", "-X", "POST"),
    )
    for options in wrong:
        answer = json.loads(curl(tmp_path, url, *options))
        assert answer["error"] == "bad request", options
        if "-F" in options:
            assert "multipart" in answer["detail"]
        assert curl(tmp_path, url.partition("?")[0].replace("/api/w/", "/api/")).strip() == "[]"
        commands = re.findall(r"curl \S+ -H '[^']*' --data-binary @FILE", answer["detail"])
        assert len(commands) == 1, answer["detail"]
    artifact = json.loads(curl(tmp_path, *shlex.split(commands[0].replace("FILE", "model.pkl"))[1:]))
    assert (artifact["ok"], artifact["name"], artifact["size"]) == (True, "mod el.pkl", len(content))


def curl(folder: Path, *options: str) -> str:
    return subprocess.run(["curl", "-sS", *options], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("part", ["metrics", "params", "tags", "end", "artifacts?name=x"])
def test_wrong_content_type_is_400_with_the_complete_command(client: FlaskClient, log_run: LogRun, part: str) -> None:
    run_id = log_run()
    for kind in ("application/x-www-form-urlencoded", "text/plain", f"{JSON}; boundary=x", f"{OCTETS}; boundary=--y"):
        detail = get_detail(post(client, run_id, '{"a": 1}', kind, part))
        words = shlex.split(detail[detail.index("curl ") :].partition("'Content")[0])
        assert words[1] == f"http://localhost/api/w/runs/{run_id}/{part}"
        assert ("-d '{...}'" in detail) is (part != "artifacts?name=x")
        assert ("--data-binary @FILE" in detail) is (part in ("metrics", "artifacts?name=x"))
