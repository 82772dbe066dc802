"""Work done once per request: data is parsed and loaded one time, however many parts of the answer use it."""

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
def call_counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The number of calls of some functions since the test cleared the counts."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def count_and_call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return call(*args, **kwargs)

        monkeypatch.setattr(owner, name, count_and_call)

    for owner, name in [(search, "parse_order"), (Tracker, "run"), (Catalog, "children"), (SeriesCache, "of")]:
        count(owner, name)
    return counts


@pytest.fixture
def run_id(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run with charts and children."""
    run_id = log_run(metrics=[{"loss": 1 / (at + 1), "acc": at, "step": at} for at in range(60)], params={"lr": 1})
    for number in range(3):
        log_run(parent_run_id=run_id, metrics={"acc": number}, params={"lr": number})
    return run_id


@pytest.mark.parametrize("path", ["/runs", "/search", "/api/runs", "/experiments/iris"])
def test_order_of_a_list_is_parsed_once(client: FlaskClient, run_id: str, call_counts: Counter[str], path: str) -> None:
    call_counts.clear()
    assert client.get(f"{path}?order_by=metrics.acc desc&q=metrics.acc >= 0").status_code == 200
    assert call_counts["parse_order"] == 1


@pytest.mark.parametrize("query", ["", "?filter=acc", "?x=relative"])
def test_page_of_a_run_loads_its_run_its_children_and_its_series_once(
    client: FlaskClient, run_id: str, call_counts: Counter[str], query: str
) -> None:
    call_counts.clear()
    assert client.get(f"/runs/{run_id}{query}").status_code == 200
    assert call_counts == {"run": 1, "children": 1, "of": 1, "parse_order": 1}, (
        "the order parsed is that of the children's table"
    )


@pytest.mark.parametrize("form", ["md", "txt"])
def test_report_loads_its_run_its_children_and_its_series_once(
    client: FlaskClient, run_id: str, call_counts: Counter[str], form: str
) -> None:
    call_counts.clear()
    assert client.get(f"/api/runs/{run_id}?format={form}").status_code == 200
    assert call_counts == {"run": 1, "children": 1, "of": 1}
