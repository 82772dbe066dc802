"""Once per request: what a request needs is parsed and loaded one time, however many parts of its answer use it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.calls import LogRun

from chachaml_lite.tracking.index.catalog import Catalog
from chachaml_lite.tracking.index.series_cache import SeriesCache
from chachaml_lite.tracking.query import search
from chachaml_lite.tracking.tracker import Tracker


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls of some functions since the test cleared the counts."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def counted(*args: Any, **named: Any) -> Any:
            counts[name] += 1
            return call(*args, **named)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in [(search, "parse_order"), (Tracker, "run"), (Catalog, "children"), (SeriesCache, "of")]:
        count(owner, name)
    return counts


@pytest.fixture
def run_id(client: FlaskClient, log_run: LogRun) -> str:
    """A run with charts and children."""
    run_id = log_run(metrics=[{"loss": 1 / (at + 1), "acc": at, "step": at} for at in range(60)], params={"lr": 1})
    for number in range(3):
        log_run(parent_run_id=run_id, metrics={"acc": number}, params={"lr": number})
    return run_id


@pytest.mark.parametrize("path", ["/runs", "/search", "/api/runs", "/experiments/iris"])
def test_order_of_a_list_is_parsed_once(client: FlaskClient, run_id: str, calls: Counter[str], path: str) -> None:
    calls.clear()
    assert client.get(f"{path}?order_by=metrics.acc desc&q=metrics.acc >= 0").status_code == 200
    assert calls["parse_order"] == 1


@pytest.mark.parametrize("query", ["", "?filter=acc", "?x=relative"])
def test_page_of_a_run_loads_its_run_its_children_and_its_series_once(
    client: FlaskClient, run_id: str, calls: Counter[str], query: str
) -> None:
    calls.clear()
    assert client.get(f"/runs/{run_id}{query}").status_code == 200
    assert calls == {"run": 1, "children": 1, "of": 1, "parse_order": 1}, "the order is that of the children's table"


@pytest.mark.parametrize("form", ["md", "txt"])
def test_report_loads_its_run_its_children_and_its_series_once(
    client: FlaskClient, run_id: str, calls: Counter[str], form: str
) -> None:
    calls.clear()
    assert client.get(f"/api/runs/{run_id}?format={form}").status_code == 200
    assert calls == {"run": 1, "children": 1, "of": 1}
