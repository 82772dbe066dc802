"""Long series over HTTP: generated in pieces they are the same, and nothing is parsed twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import run_logger
from flask import Flask
from flask.testing import FlaskClient
from support.calls import LogRun

from chachaml_lite.text.safe import cells
from chachaml_lite.tracking import metrics
from chachaml_lite.tracking.series import points
from chachaml_lite.web.api import runs


def make_points(count: int) -> list[dict[str, Any]]:
    return [{"loss": 1 / (step + 1), "größe\u202e": step, "odd": "NaN", "step": step} for step in range(count)]


@pytest.mark.parametrize("query", ["", "key=loss&", "max_points=30&", "since_step=3&until_step=40&", "key=none&"])
@pytest.mark.parametrize("format_name", ["json", "csv", "jsonl", "txt", "md"])
def test_long_answer_generated_in_pieces_has_the_same_content(
    client: FlaskClient, log_run: LogRun, monkeypatch: pytest.MonkeyPatch, format_name: str, query: str
) -> None:
    path = f"/api/runs/{log_run(metrics=make_points(50))}/metrics?{query}format={format_name}"
    whole_answer = client.get(path)
    monkeypatch.setattr(runs, "_MOST_HELD_POINTS", -1)
    monkeypatch.setattr(metrics, "_PIECE_POINTS", 7)
    piecewise_answer = client.get(path)
    assert (piecewise_answer.status_code, piecewise_answer.mimetype) == (200, whole_answer.mimetype)
    if format_name == "json":
        assert piecewise_answer.get_json() == whole_answer.get_json()
    if format_name in ("json", "csv", "jsonl"):
        assert piecewise_answer.data == whole_answer.data
    else:  # a table without a footer, but with every column
        lines = [line.split() for line in whole_answer.text.splitlines() if "nothing here" not in line]
        rows = [line.split() for line in piecewise_answer.text.splitlines()]
        assert len(rows) >= len(lines) and all(set(line) <= set(row) for line, row in zip(lines, rows, strict=False))
    if "none" not in query:
        head = client.head(path)
        assert (head.status_code, head.mimetype, head.data) == (200, whole_answer.mimetype, b"")
        assert "Content-Length" not in head.headers  # the body has not been generated


def test_run_larger_than_the_cache_is_parsed_once_for_all_views(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app(series_cache_bytes=2000).test_client()
    run_id = run_logger(client)(metrics=make_points(50))
    parsed_sizes: list[int] = []
    parse = points.parse_points

    def count_and_parse(lines: bytes) -> Any:
        parsed_sizes.append(len(lines))
        return parse(lines)

    monkeypatch.setattr(points, "parse_points", count_and_parse)
    for path in ("metrics", "metrics?max_points=10", "metrics?key=loss", "metrics?format=txt"):
        assert client.get(f"/api/runs/{run_id}/{path}").status_code == 200
    assert client.get(f"/runs/{run_id}").status_code == 200
    assert len(parsed_sizes) <= 1


def test_long_text_is_aligned_for_any_content_in_one_pass_over_the_points(
    client: FlaskClient, log_run: LogRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: list[dict[str, Any]] = [
        *(
            {"metrics": {"größe 漢字 \u202e" + "x" * 60: value}, "step": step, "timestamp": time}
            for value, step, time in [(-1.234567e-300, -(2**63), 0), ("-Infinity", 5, 1), (10**30, 2**63 - 1, 10**14)]
        ),
        {"loss": 1, "step": 3},
        {"loss": 2.5, "step": 4},
    ]
    path = f"/api/runs/{log_run(metrics=entries)}/metrics?format=txt"
    monkeypatch.setattr(runs, "_MOST_HELD_POINTS", -1)
    passes: list[int] = []
    points_of_selection = metrics.Selection.points

    def count_and_give(selection: metrics.Selection) -> Any:
        passes.append(len(selection.places))
        return points_of_selection(selection)

    monkeypatch.setattr(metrics.Selection, "points", count_and_give)
    rows = client.get(path).text.splitlines()
    assert len(rows) == 6 and sorted(passes) == [2, 3]
    assert len({cells(row) for row in rows}) == 1, rows
    assert rows[0].split() == ["metric", "step", "value", "logged", "(UTC)"]
    assert [row.split()[-3] for row in rows[1:4]] == ["-1.2346e-300", "-Infinity", "10000000000000000000000…"]
    assert [row.split()[-3] for row in rows[4:]] == ["1", "2.5"]
