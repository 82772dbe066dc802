"""One rendering of a page serves all requests for the same state, and open pages leave the server's time to writers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import before_render_template
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chachaml_lite.web.page_cache import PageCache, Rendering

PAGE = "/runs/r"


@pytest.fixture
def client_with_run(client: FlaskClient) -> FlaskClient:
    client.post("/api/w/runs", json={"experiment": "iris", "id": "r", "name": "first"})
    return client


@contextmanager
def record_renderings(client: FlaskClient, meanwhile: Any = None) -> Iterator[list[str]]:
    """Collect the names of the templates that are rendered; `meanwhile` is called in the middle of the first."""
    names: list[str] = []

    def note(_: object, template: Any, **__: Any) -> None:
        names.append(template.name)
        if meanwhile is not None and len(names) == 1:
            meanwhile()

    with before_render_template.connected_to(note, client.application):
        yield names


def get_as_open_page(client: FlaskClient, etag: str, path: str = PAGE) -> TestResponse:
    """Request a page as an open page does for its live update."""
    return client.get(path, headers={"If-None-Match": etag, "Cache-Control": "max-age=2"})


@pytest.mark.parametrize(
    "path", [PAGE, "/runs", "/runs?q=metrics.loss<3", "/compare/charts?ids=r&key=loss", "/runs/r/charts?key=loss"]
)
def test_state_is_rendered_once_for_all_requests(client_with_run: FlaskClient, path: str) -> None:
    client_with_run.post("/api/w/runs/r/metrics", json={"loss": 1})
    with record_renderings(client_with_run) as names:
        first, second = client_with_run.get(path), client_with_run.get(path)
        not_modified = client_with_run.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.text, first.headers.to_wsgi_list()) == (second.text, second.headers.to_wsgi_list())
    assert (not_modified.status_code, not_modified.data) == (304, b"")
    assert len(names) == 1


def test_rendering_is_not_shared_with_different_requests(client_with_run: FlaskClient) -> None:
    with record_renderings(client_with_run) as names:
        pages = [
            client_with_run.get(PAGE),
            client_with_run.get(f"{PAGE}?x=wall"),
            client_with_run.get(PAGE, base_url="http://127.0.0.1:8080"),
            client_with_run.get(PAGE, headers={"Accept": "text/html"}),
        ]
    assert len(names) == 4
    assert "127.0.0.1:8080" in pages[2].text and "127.0.0.1:8080" not in pages[0].text


def test_page_shows_a_write_at_once_to_every_request_but_live_updates(client_with_run: FlaskClient) -> None:
    etag = client_with_run.get(PAGE).headers["ETag"]
    for name in ("second", "third"):
        client_with_run.post("/api/w/runs/r/tags", json={"round": name})
        for headers in ({}, {"If-None-Match": etag}, {"Cache-Control": "max-age=60"}, {"Cache-Control": "max-age=0"}):
            assert name in client_with_run.get(PAGE, headers=headers).text, headers


def test_live_updates_are_rendered_one_at_a_time_and_other_requests_at_once(
    client_with_run: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PageCache, "is_fresh", lambda *_: False)
    before = client_with_run.get(PAGE)
    client_with_run.post("/api/w/runs/r/metrics", json={"loss": 1})
    answers: dict[str, TestResponse] = {}
    other = client_with_run.application.test_client()

    def meanwhile() -> None:
        answers["known"] = get_as_open_page(other, before.headers["ETag"])
        answers["older"] = get_as_open_page(other, '"older"')
        answers["nothing there"] = get_as_open_page(other, '"older"', "/experiments")
        answers["opened"] = other.get("/experiments")

    with record_renderings(client_with_run, meanwhile) as names:
        now = get_as_open_page(client_with_run, '"older"')
    assert names == ["run.html", "experiments.html"]
    assert now.status_code == 200 and now.headers["ETag"] != before.headers["ETag"]
    assert answers["known"].status_code == 304
    assert (answers["older"].status_code, answers["older"].text) == (200, before.text)
    busy = answers["nothing there"]
    assert (busy.status_code, "ETag" in busy.headers) == (503, False) and int(busy.headers["Retry-After"]) >= 2
    assert answers["opened"].status_code == 200


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_rendering(start: float, cost: float = 0.1, size: int = 3, etag: str = "e") -> Rendering:
    return Rendering(etag, b"x" * size, "text/html", start, cost)


def test_rendering_is_fresh_for_twenty_times_its_cost_and_at_most_max_age() -> None:
    clock = Clock()
    cache = PageCache(clock)
    for age, cost, max_age, expected in (
        (0.9, 0.05, 2, True),
        (1.1, 0.05, 2, False),
        (1.9, 9, 2, True),
        (2, 9, 2, False),
    ):
        assert cache.is_fresh(make_rendering(clock.now - age, cost), max_age) is expected


def test_turn_is_free_again_after_three_times_its_cost() -> None:
    clock = Clock()
    cache = PageCache(clock)
    assert cache.take_turn() and not cache.take_turn()
    cache.end_turn(1)
    assert not cache.take_turn() and cache.retry_after() == 3
    clock.now += 3
    assert cache.take_turn()


def test_older_rendering_that_ends_later_does_not_replace_a_newer_one() -> None:
    cache = PageCache(Clock())
    cache.store("p", make_rendering(2, etag="new"))
    cache.store("p", make_rendering(1, etag="old"))
    last = cache.get("p")
    assert last is not None and last.etag == "new"


def test_kept_renderings_are_limited_in_size() -> None:
    cache = PageCache(Clock())
    for number in range(50):
        cache.store(f"{number}", make_rendering(number, size=1_000_000))
        cache.store("0", make_rendering(number, size=1_000_000))
    assert [page for page in range(50) if cache.get(str(page))] == [0, *range(25, 50)]  # with room for each as gzip


def test_failing_view_gives_its_turn_back(client_with_run: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[float] = []
    monkeypatch.setattr(PageCache, "end_turn", lambda _, cost: costs.append(cost))
    monkeypatch.setattr(PageCache, "take_turn", lambda _: True)
    assert get_as_open_page(client_with_run, '"e"', "/runs/none").status_code == 404
    assert get_as_open_page(client_with_run, '"e"', f"{PAGE}?x=nowhere").status_code == 400
    assert len(costs) == 2
