"""Formatters of numbers, times and sizes: for any value, they return one line of text and never raise."""

from __future__ import annotations

import itertools
import math
import re
import sys
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from chachaml_lite.text import format as formats
from chachaml_lite.text.plot import render_mermaid, sparkline

LARGEST = int(sys.float_info.max)
EXTREMES = [LARGEST, -LARGEST, sys.float_info.max, -sys.float_info.max, 5e-324, -5e-324, -0.0, 0, 1, 2**63, -(2**63)]
FINITE = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-LARGEST, LARGEST), st.sampled_from(EXTREMES)
)


@given(st.lists(FINITE, min_size=2, max_size=30))
@settings(max_examples=400)
def test_sparklines_and_mermaid_charts_draw_every_finite_number(values: list[float]) -> None:
    assert re.fullmatch(f"[▁▂▃▄▅▆▇█]{{{len(values)}}}", sparkline(values))
    text = "\n".join(render_mermaid("loss", range(len(values)), values))
    low, high = map(float, re.findall(r"y-axis (-?[\d.]+) --> (-?[\d.]+)$", text, re.MULTILINE)[0])
    assert low < high and math.isfinite(low) and math.isfinite(high)
    assert not re.search(r"\d[eE]|nan|inf", text)


@given(st.one_of(FINITE, st.floats()), st.integers(1, 17))
def test_numbers_are_formatted_in_one_line(value: float, digits: int) -> None:
    assert "\n" not in formats.format_number(value, digits)


@given(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**42)))
def test_times_durations_and_sizes_are_formatted_in_one_line(value: int | None) -> None:
    for text in (formats.format_time(value), formats.format_duration(value), formats.format_size(abs(value or 0))):
        assert "\n" not in text
    if value is not None:
        assert "\n" not in formats.format_iso_time(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *itertools.product((LARGEST, sys.float_info.max), (-LARGEST, -sys.float_info.max, 5e-324, 0)),
        (-LARGEST, -LARGEST),
        (5e-324, -5e-324),
        (LARGEST, "NaN"),
        ("-Infinity", "Infinity"),
    ],
    ids=lambda value: f"{float(value):g}",
)
def test_every_view_of_a_run_renders_the_extremes_of_the_range(
    shared_client: FlaskClient, one: Any, other: Any
) -> None:
    client = shared_client
    ids = [client.post("/api/w/runs", json={"experiment": "ends"}).get_json()["id"] for _ in range(2)]
    points = [{"loss": value, "step": step} for step, value in enumerate((one, other, 0.5, one))]
    for run_id, batch in zip(ids, (points, points[1:]), strict=True):
        assert client.post(f"/api/w/runs/{run_id}/metrics", json=batch).status_code == 200
    run_id = ids[0]
    api = f"/api/runs/{run_id}"
    paths = [
        *(f"{api}?format={form}" for form in ("json", "md", "txt")),
        *(f"{api}/metrics?format={form}" for form in ("json", "md", "txt", "csv", "jsonl")),
        "/api/runs?experiment=ends&limit=2&format=txt&order_by=metrics.loss",
        f"/runs/{run_id}",
        "/runs?spark=loss&limit=5",
        f"/compare?ids={','.join(ids)}&x=relative",
        *(
            f"/runs/{run_id}/charts{kind}?key=loss&{options}"
            for kind in ("", ".svg")
            for options in ("", "log_y=1", "x=wall")
        ),
    ]
    statuses = {path: client.get(path, headers={"Accept": "text/html,*/*;q=0.1"}).status_code for path in paths}
    assert statuses == dict.fromkeys(paths, 200)
