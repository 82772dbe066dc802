"""The JSON parser: strict everywhere, except for a few extensions in the bodies of metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from chachaml_lite import strict_json

LogRun = Callable[..., str]


def nest(depth: int) -> Any:
    """Return a value of `depth` nested arrays."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


#: Invalid for every endpoint.
INVALID = {
    "nothing": b"",
    "white space": b" \n\t ",
    "a bare word": b"nope",
    "a comma too many": b'{"a": 1,}',
    "a comma too few": b'{"a": 1 "b": 2}',
    "single quotes": b"{'a': 1}",
    "a key without quotes": b"{a: 1}",
    "a comment": b'{"a": 1} // one',
    "two values": b'{"a": 1} {"b": 2}',
    "half an object": b'{"a": 1',
    "half a string": b'{"a": 1, "b',
    "a key twice": b'{"a": 1, "a": 1}',
    "a key twice, inside": b'{"b": {"a": 1, "a": 1}}',
    "a key twice, spelled otherwise": b'{"a": 1, "\\u0061": 1}',
    "a lone high surrogate": b'{"a": "\\ud800"}',
    "a lone low surrogate": b'{"a": "\\uDC00x"}',
    "a lone surrogate in a key": b'{"\\ud83d": 1}',
    "surrogates the wrong way round": b'{"a": "\\ude00\\ud83d"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "latin-1": b'{"a": "\xe4"}',
    "an overlong UTF-8 form": b'{"a": "\xc0\xaf"}',
    "UTF-8 cut off": b'{"a": "\xe2\x82',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "two byte order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}',
    "a control character in a string": b'{"a": "\x01"}',
    "a line end in a string": b'{"a": "\n"}',
    "an escape that isn't one": b'{"a": "\\x41"}',
    "a NUL after the end": b'{"a": 1}\x00',
    "a number beyond a double": b'{"a": 1e400}',
    "a negative number beyond a double": b'{"a": -1e400}',
    "an integer of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "an integer just beyond a double": b'{"a": ' + b"2" + b"0" * 308 + b"}",
    "a leading zero": b'{"a": 01}',
    "a plus sign": b'{"a": +1}',
    "a number that ends in a point": b'{"a": 1.}',
    "a hexadecimal number": b'{"a": 0x10}',
    "an underscore in a number": b'{"a": 1_000}',
    "digits that aren't ASCII": '{"a": ١}'.encode(),
    "undefined": b'{"a": undefined}',
    "Python's True": b'{"a": True}',
    "100,000 arrays within each other": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects within each other": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 arrays never closed": b"[" * 100_000,
    "one level too many": json.dumps({"a": nest(strict_json.MAX_DEPTH + 1)}).encode(),
}
#: Valid where a metric value or a param is expected.
NONFINITE = {
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "-nan": b'{"a": -nan}',
    "+Inf": b'{"a": +Inf}',
    "iNfInItY": b'{"a":iNfInItY}',
}
#: Valid only where a metric value is expected.
METRICS_ONLY = {
    ".500": b'{"a": .500}',
    "-.5": b'{"a":-.5}',
}
NOT_STRICT = {**INVALID, **NONFINITE, **METRICS_ONLY}
VALID: dict[str, tuple[bytes, Any]] = {
    "white space around": (b' \r\n\t{"a" : 1 } \n', {"a": 1}),
    "text beyond ASCII": ('{"größe": "大"}'.encode(), {"größe": "大"}),
    "a surrogate pair": (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    "an escaped backslash before u": (b'{"a": "\\\\ud800"}', {"a": "\\ud800"}),
    "an escaped NUL": (b'{"a": "\\u0000"}', {"a": "\x00"}),
    "a negative zero": (b'{"a": -0.0}', {"a": -0.0}),
    "the least double": (b'{"a": 5e-324}', {"a": 5e-324}),
    "less than the least double": (b'{"a": 1e-400}', {"a": 0.0}),
    "the greatest double": (b'{"a": 1.7976931348623157e308}', {"a": 1.7976931348623157e308}),
    "an integer beyond 64 bits": (b'{"a": 36893488147419103232}', {"a": 2**65}),
    "an integer of 309 digits": (b'{"a": 1' + b"0" * 308 + b"}", {"a": 10**308}),
    "the same key in two objects": (b'{"a": {"x": 1}, "b": {"x": 2}}', {"a": {"x": 1}, "b": {"x": 2}}),
    "the greatest depth": (
        json.dumps({"a": nest(strict_json.MAX_DEPTH)}).encode(),
        {"a": nest(strict_json.MAX_DEPTH)},
    ),
    "a bc number in a string": (b'{"a": "x:.5,-.5", "b": "\\":.5"}', {"a": "x:.5,-.5", "b": '":.5'}),
}


@pytest.mark.parametrize("body", NOT_STRICT.values(), ids=NOT_STRICT)
def test_invalid_json_is_refused(body: bytes) -> None:
    with pytest.raises(strict_json.NotJson) as excinfo:
        strict_json.loads(body)
    assert str(excinfo.value).isprintable()


@pytest.mark.parametrize(("body", "value"), VALID.values(), ids=VALID)
def test_valid_json_is_parsed_and_serialized_again(body: bytes, value: Any) -> None:
    parsed_value = strict_json.loads(body)
    assert repr(parsed_value) == repr(value)
    assert repr(strict_json.loads(strict_json.dumps(parsed_value).encode())) == repr(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(JSON)
def test_any_json_value_survives_a_round_trip(value: Any) -> None:
    assert repr(strict_json.loads(json.dumps(value).encode())) == repr(value)
    assert repr(strict_json.loads(strict_json.dumps(value).encode())) == repr(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_dumps_raises_for_nan_and_infinity(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json.dumps(value)


# -- over HTTP


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


@pytest.mark.parametrize("body", NOT_STRICT.values(), ids=NOT_STRICT)
def test_body_that_is_not_json_is_400_and_stores_nothing(client: FlaskClient, log_run: LogRun, body: bytes) -> None:
    run_id = log_run()
    for route in ("tags", "end") if body in NONFINITE.values() else ("params", "tags", "end"):
        if route == "end" and not body:
            continue  # an empty body is a valid end, too
        answer = client.post(f"/api/w/runs/{run_id}/{route}", data=body, content_type="application/json")
        assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request"), route
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["params"], run["tags"], run["status"]) == ({}, {}, "running")


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
def test_metrics_body_that_is_not_json_is_400_and_stores_nothing(
    client: FlaskClient, log_run: LogRun, body: bytes
) -> None:
    run_id = log_run()
    good = b'{"loss": 0.5}'
    bodies = [("application/json", body), ("application/json", b"[" + good + b"," + body + b"]")]
    if body.strip():
        bodies.append(("application/x-ndjson", good + b"\n" + body + b"\n" + good))
    for kind, data in bodies:
        answer = client.post(f"/api/w/runs/{run_id}/metrics", data=data, content_type=kind)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request"), data[:200]
    assert client.get(f"/api/runs/{run_id}/metrics").get_json() == {}


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("nan", "NaN"),
        ("-nan", "NaN"),
        ("+NAN", "NaN"),
        ("inf", "Infinity"),
        ("+Inf", "Infinity"),
        ("-inf", "-Infinity"),
        ("INFINITY", "Infinity"),
        ("-infinity", "-Infinity"),
        ('"nan"', "NaN"),
        ('"-NaN"', "NaN"),
        ('"+inf"', "Infinity"),
        ('"-INF"', "-Infinity"),
        ('"infinity"', "Infinity"),
        ('"NaN"', "NaN"),
        ('"Infinity"', "Infinity"),
        ('"-Infinity"', "-Infinity"),
        (".500", 0.5),
        ("-.5", -0.5),
        (".5e3", 500.0),
        ("0.5", 0.5),
        ("-0.0", -0.0),
        ("1e-400", 0.0),
        ("36893488147419103232", 2**65),
        ("1" + "0" * 308, 10**308),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("form", ['{"a": %s}', '[{"a":%s, "b": 1}]', '{"metrics": {"a": %s}}', '{"b":.25,"a":%s}'])
def test_metrics_body_accepts_the_numbers_of_common_programs(
    client: FlaskClient, log_run: LogRun, form: str, number: str, value: Any
) -> None:
    run_id = log_run()
    for kind in ("application/json", "application/x-ndjson"):
        if kind == "application/x-ndjson" and form.startswith("["):
            continue
        answer = client.post(f"/api/w/runs/{run_id}/metrics", data=form % number, content_type=kind)
        assert answer.status_code == 200, answer.text
    points = client.get(f"/api/runs/{run_id}/metrics?key=a").get_json()["a"]["points"]
    assert {repr(point["value"]) for point in points} == {repr(value)}


@pytest.mark.parametrize(
    "value",
    [
        "1e400",
        "-1e400",
        "9" * 5000,
        "2" + "0" * 308,
        ".5.5",
        "-.",
        ".",
        "..5",
        "1.-.5",
        "nano",
        "--nan",
        "- nan",
        "+1",
        "infin",
        "1nan",
        "nan.5",
        "nan(ind)",
    ],
)
def test_metric_beyond_a_double_or_beyond_bc_is_400(client: FlaskClient, log_run: LogRun, value: str) -> None:
    run_id = log_run()
    for body in (f'{{"a": {value}}}', f'[{{"a": 1}}, {{"a": {value}}}]'):
        answer = client.post(f"/api/w/runs/{run_id}/metrics", data=body, content_type="application/json")
        assert answer.status_code == 400
    assert client.get(f"/api/runs/{run_id}/metrics").get_json() == {}


def test_metric_keys_are_never_read_as_numbers(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    body = b'{":.5": .5, "-.5": -.5, "\\"\\\\:.5": 1, "NaN": NaN}'
    answer = client.post(f"/api/w/runs/{run_id}/metrics", data=body, content_type="application/json")
    assert answer.status_code == 200
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {
        ":.5": 0.5,
        "-.5": -0.5,
        '"\\:.5': 1,
        "NaN": "NaN",
    }


def test_body_of_a_million_quotes_is_refused_quickly(client: FlaskClient, log_run: LogRun) -> None:
    # In the second search, for numbers as bc prints them, each of these 1,000,000 quotes could start a string that
    # never ends; a search that started over at each would not finish today.
    run_id = log_run()
    body = b'{"a' + b'\\"' * 1_000_000
    answer = client.post(f"/api/w/runs/{run_id}/metrics", data=body, content_type="application/json")
    assert answer.status_code == 400


# -- accepted values can be read back


@pytest.mark.parametrize("depth", [1, 50, *range(strict_json.MAX_DEPTH - 5, strict_json.MAX_DEPTH + 3)])
def test_accepted_value_of_any_depth_is_there_after_a_restart(
    make_app: Callable[..., Flask], depth: int, data: Path
) -> None:
    client = make_app().test_client()
    run_id = client.post("/api/w/runs", json={"experiment": "iris"}).get_json()["id"]
    base = f"/api/w/runs/{run_id}"
    params = client.post(f"{base}/params", data=json.dumps({"p": nest(depth)}), content_type="application/json")
    dataset = client.post(
        f"{base}/datasets", data=json.dumps({"features": nest(depth)}), content_type="application/json"
    )
    assert {params.status_code, dataset.status_code} <= {200, 400}
    client = make_app().test_client()
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert run["params"] == ({"p": nest(depth)} if params.status_code == 200 else {})
    assert run["datasets"] == ([{"features": nest(depth)}] if dataset.status_code == 200 else [])
    assert client.get("/api/health").get_json()["damaged"] == 0


def test_file_is_not_much_larger_than_the_request_body(log_run: LogRun, client: FlaskClient, shared_data: Path) -> None:
    # Deep and wide: with a line for each value, indented by its depth, it would be a hundred times as large.
    run_id = log_run()
    body = json.dumps({"p": json.loads("[" * 90 + ",".join("1" * 10_000) + "]" * 90)}, separators=(",", ":"))
    answer = client.post(f"/api/w/runs/{run_id}/params", data=body, content_type="application/json")
    assert answer.status_code == 200
    assert (shared_data / "runs" / run_id / "params.json").stat().st_size < 3 * len(body)


def test_body_that_makes_a_file_too_large_to_read_is_413(make_app: Callable[..., Flask]) -> None:
    client = make_app(max_json_bytes=200_000_000).test_client()
    run_id = client.post("/api/w/runs", json={"experiment": "iris", "tags": {"os": "linux"}}).get_json()["id"]
    text = b"x" * (64 * 1024 * 1024)
    for route, body in {
        f"/api/w/runs/{run_id}/params": b'{"p": "' + text + b'"}',
        f"/api/w/runs/{run_id}/note": b'{"note": "' + text + b'"}',
        "/api/w/runs": b'{"experiment": "iris", "tags": {"t": "' + text + b'"}}',
    }.items():
        answer = client.post(route, data=body, content_type="application/json")
        assert answer.status_code == 413, route
        assert answer.get_json()["error"] == "body too large"
    assert client.post(f"/api/w/runs/{run_id}/params", json={"lr": 0.1}).status_code == 200
    client = make_app().test_client()
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["params"], run["note"], run["tags"]) == ({"lr": 0.1}, None, {"os": "linux"})
    assert client.get("/api/runs").headers["X-Total-Count"] == "1"
