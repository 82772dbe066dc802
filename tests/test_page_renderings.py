"""One rendering of a page serves all who ask for the same state, and open pages leave the server to those who write."""

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
def run(client: FlaskClient) -> FlaskClient:
    client.post("/api/w/runs", json={"experiment": "iris", "id": "r", "name": "first"})
    return client


@contextmanager
def renderings(client: FlaskClient, meanwhile: Any = None) -> Iterator[list[str]]:
    """The names of the templates that are rendered; `meanwhile` is called in the middle of the first."""
    names: list[str] = []

    def note(_: object, template: Any, **__: Any) -> None:
        names.append(template.name)
        if meanwhile is not None and len(names) == 1:
            meanwhile()

    with before_render_template.connected_to(note, client.application):
        yield names


def keep_up(client: FlaskClient, etag: str, path: str = PAGE) -> TestResponse:
    """Ask as an open page does."""
    return client.get(path, headers={"If-None-Match": etag, "Cache-Control": "max-age=2"})


@pytest.mark.parametrize(
    "path", [PAGE, "/runs", "/runs?q=metrics.loss<3", "/compare/charts?ids=r&key=loss", "/runs/r/charts?key=loss"]
)
def test_state_is_rendered_once_for_all_who_ask(run: FlaskClient, path: str) -> None:
    run.post("/api/w/runs/r/metrics", json={"loss": 1})
    with renderings(run) as names:
        first, second = run.get(path), run.get(path)
        known = run.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.text, first.headers.to_wsgi_list()) == (second.text, second.headers.to_wsgi_list())
    assert (known.status_code, known.data) == (304, b"")
    assert len(names) == 1


def test_rendering_is_shared_with_nobody_who_asks_otherwise(run: FlaskClient) -> None:
    with renderings(run) as names:
        pages = [
            run.get(PAGE),
            run.get(f"{PAGE}?x=wall"),
            run.get(PAGE, base_url="http://127.0.0.1:8080"),
            run.get(PAGE, headers={"Accept": "text/html"}),
        ]
    assert len(names) == 4
    assert "127.0.0.1:8080" in pages[2].text and "127.0.0.1:8080" not in pages[0].text


def test_page_shows_a_write_at_once_to_whoever_opens_it_or_has_written(run: FlaskClient) -> None:
    etag = run.get(PAGE).headers["ETag"]
    for name in ("second", "third"):
        run.post("/api/w/runs/r/tags", json={"round": name})
        for headers in ({}, {"If-None-Match": etag}, {"Cache-Control": "max-age=60"}, {"Cache-Control": "max-age=0"}):
            assert name in run.get(PAGE, headers=headers).text, headers


def test_open_pages_render_one_at_a_time_and_others_as_they_come(
    run: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PageCache, "is_fresh", lambda *_: False)
    before = run.get(PAGE)
    run.post("/api/w/runs/r/metrics", json={"loss": 1})
    answers: dict[str, TestResponse] = {}
    other = run.application.test_client()

    def meanwhile() -> None:
        answers["known"] = keep_up(other, before.headers["ETag"])
        answers["older"] = keep_up(other, '"older"')
        answers["nothing there"] = keep_up(other, '"older"', "/experiments")
        answers["opened"] = other.get("/experiments")

    with renderings(run, meanwhile) as names:
        now = keep_up(run, '"older"')
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


def rendering(start: float, cost: float = 0.1, size: int = 3, etag: str = "e") -> Rendering:
    return Rendering(etag, b"x" * size, "text/html", start, cost)


def test_rendering_is_young_for_twenty_times_its_cost_and_never_beyond_what_is_asked() -> None:
    clock = Clock()
    cache = PageCache(clock)
    for age, cost, max_age, expected in (
        (0.9, 0.05, 2, True),
        (1.1, 0.05, 2, False),
        (1.9, 9, 2, True),
        (2, 9, 2, False),
    ):
        assert cache.is_fresh(rendering(clock.now - age, cost), max_age) is expected


def test_turn_is_free_again_when_three_times_its_cost_has_passed() -> None:
    clock = Clock()
    cache = PageCache(clock)
    assert cache.take_turn() and not cache.take_turn()
    cache.end_turn(1)
    assert not cache.take_turn() and cache.retry_after() == 3
    clock.now += 3
    assert cache.take_turn()


def test_older_rendering_that_ends_later_replaces_no_newer_one() -> None:
    cache = PageCache(Clock())
    cache.store("p", rendering(2, etag="new"))
    cache.store("p", rendering(1, etag="old"))
    last = cache.get("p")
    assert last is not None and last.etag == "new"


def test_renderings_are_kept_within_a_bound() -> None:
    cache = PageCache(Clock())
    for number in range(50):
        cache.store(f"{number}", rendering(number, size=1_000_000))
        cache.store("0", rendering(number, size=1_000_000))
    assert [page for page in range(50) if cache.get(str(page))] == [0, *range(25, 50)]  # with room for each as gzip


def test_view_that_fails_gives_its_turn_back(run: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[float] = []
    monkeypatch.setattr(PageCache, "end_turn", lambda _, cost: ended.append(cost))
    monkeypatch.setattr(PageCache, "take_turn", lambda _: True)
    assert keep_up(run, '"e"', "/runs/none").status_code == 404
    assert keep_up(run, '"e"', f"{PAGE}?x=nowhere").status_code == 400
    assert len(ended) == 2
