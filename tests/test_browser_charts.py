"""Charts in a real browser: crosshair, zoom, legend and settings, also across live updates."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from playwright.sync_api import Locator, Page, expect
from support.browsers import NARROW, Viewer, assert_accessible, assert_fits
from support.servers import Server

pytest_plugins = "support.browsers"

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def log(server: Server) -> Callable[..., str]:
    """Return a function that logs a run with the given series, each a list of values, and returns the run's id."""

    def log_run(**series: list[Any]) -> str:
        answer = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris", "name": "base"}, timeout=60)
        run_id: str = answer.json()["id"]
        for key, values in series.items():
            add(server, run_id, key.replace("__", "/"), values)
        return run_id

    return log_run


def add(server: Server, run_id: str, key: str, values: list[Any], first: int = 0) -> None:
    body = [{"metrics": {key: value}, "step": first + at} for at, value in enumerate(values)]
    assert requests.post(f"{server.url}/api/w/runs/{run_id}/metrics", json=body, timeout=60).ok


def open_chart_page(viewer: Viewer, server: Server, run_id: str, *keys: str, **settings: Any) -> Page:
    query = urlencode([("key", key) for key in keys])
    return viewer.open(f"{server.url}/runs/{run_id}/charts?{query}", **settings)


def find_position(chart: Locator, fraction: float) -> dict[str, float]:
    """Return the position on the page that is at a fraction of a chart's x axis."""
    position: dict[str, float] = chart.evaluate(
        """(svg, share) => {
          const [left, top, right, bottom] = svg.dataset.plot.split(" ").map(Number);
          const box = svg.getBoundingClientRect();
          const scale = box.width / svg.viewBox.baseVal.width;
          return { x: box.left + (left + share * (right - left)) * scale, y: box.top + (top + bottom) / 2 * scale };
        }""",
        fraction,
    )
    return position


def drag(page: Page, chart: Locator, start: float, end: float) -> None:
    begin, finish = find_position(chart, start), find_position(chart, end)
    page.mouse.move(begin["x"], begin["y"])
    page.mouse.down()
    page.mouse.move((begin["x"] + finish["x"]) / 2, begin["y"])
    page.mouse.move(finish["x"], finish["y"])
    page.mouse.up()


def test_crosshair_shows_the_value_of_each_line(viewer: Viewer, server: Server, log: Callable[..., str]) -> None:
    run_id = log(train__loss=[at / 100 for at in range(101)], val__loss=[5, "NaN", 7])
    page = open_chart_page(viewer, server, run_id, "train/loss", "val/loss")
    chart, tip = page.locator("svg.chart"), page.locator(".tip")
    position = find_position(chart, 0.5)
    page.mouse.move(position["x"], position["y"])
    expect(tip).to_contain_text("step 50")
    expect(tip).to_contain_text("train/loss0.5")
    expect(tip).to_contain_text("val/loss7at step 2")
    expect(page.locator(".crosshair circle")).to_have_count(2)
    page.mouse.move(1, 1)
    expect(tip).to_have_count(0)
    # the same by keyboard
    chart.focus()
    page.keyboard.press("Home")
    expect(page.get_by_role("status").filter(has_text="step 0")).to_contain_text("val/loss5")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("val/lossnot finite")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(tip).to_contain_text("step 99")
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)


def test_steps_beyond_the_safe_integers_of_javascript_are_shown_exactly(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run_id = log()
    add(server, run_id, "loss", [1, 2, 3], 2**62)
    page = open_chart_page(viewer, server, run_id, "loss")
    page.locator("svg.chart").focus()
    page.keyboard.press("End")
    expect(page.locator(".tip b")).to_have_text(f"step {2**62 + 2:,}")


def test_zoom_by_dragging_shows_all_points_of_the_range_and_is_undone(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run_id = log(loss=[at % 7 for at in range(5000)])
    page = viewer.open(f"{server.url}/runs/{run_id}")
    chart, notes = page.locator("svg.chart"), page.locator(".notes")
    expect(notes).to_contain_text("5,000 points, drawn as 402: means, min to max shaded")
    for undo in ("dblclick", "Escape", "button"):
        expect(chart).to_have_attribute("data-x", "0 4999")
        drag(page, chart, 0.2, 0.28)
        expect(notes).to_contain_text(re.compile(r"^4\d\d of 5,00\d points in this range"))
        low, high = map(int, (chart.get_attribute("data-x") or "").split())
        assert 980 < low < 1020 and 1380 < high < 1420
        # the zoom stays while points arrive
        add(server, run_id, "loss", [1], 4999)
        with page.expect_event("requestfinished", lambda request: request.url.endswith(run_id)):
            pass
        assert chart.get_attribute("data-x") == f"{low} {high}"
        if undo == "dblclick":
            position = find_position(chart, 0.5)
            page.mouse.dblclick(position["x"], position["y"])
        elif undo == "Escape":
            chart.focus()
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Whole range").click()
        expect(chart).to_have_attribute("data-x", "0 4999")
        expect(page.get_by_role("button", name="Whole range")).to_have_count(0)


def test_chart_page_keeps_its_range_in_the_url_and_has_fields_for_it(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run_id = log(loss=[at % 7 for at in range(5000)])
    page = open_chart_page(viewer, server, run_id, "loss")
    chart = page.locator("svg.chart")
    drag(page, chart, 0.2, 0.3)
    expect(page.locator(".notes")).to_contain_text(re.compile(r"^50\d of 5,000 points in this range"))
    low = page.get_by_label("From, step").input_value()
    expect(page).to_have_url(re.compile(rf"key=loss&from={low}&to=1[45]\d\d$"))
    page.reload()
    expect(chart).to_have_attribute("data-x", re.compile(rf"^{low} "))
    page.get_by_label("To, step").fill("")
    expect(chart).to_have_attribute("data-x", f"{low} 4999")
    page.get_by_role("link", name="Whole range").click()
    expect(chart).to_have_attribute("data-x", "0 4999")
    page.get_by_label("From, step").fill("4000")
    expect(chart).to_have_attribute("data-x", "4000 4999")
    chart.focus()
    page.keyboard.press("Escape")
    expect(chart).to_have_attribute("data-x", "0 4999")
    expect(page).to_have_url(re.compile(r"key=loss$"))


def test_series_hidden_in_the_legend_stays_hidden_while_points_arrive(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run_id = log(train__loss=[3, 2, 1], val__loss=[4, 3, 2])
    page = open_chart_page(viewer, server, run_id, "train/loss", "val/loss")
    button = page.get_by_role("button", name="val/loss")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    lines = page.locator("g.series")
    expect(lines.nth(1)).to_be_hidden()
    expect(button).to_have_attribute("aria-pressed", "false")
    add(server, run_id, "train/loss", [0.5], 3)
    expect(lines.nth(0)).to_have_attribute("data-values", "3 2 1 .5")  # without a reload
    expect(lines.nth(0)).to_be_visible()
    expect(lines.nth(1)).to_be_hidden()
    expect(button).to_have_attribute("aria-pressed", "false")
    page.locator("svg.chart").focus()
    page.keyboard.press("Home")
    expect(page.locator(".tip")).to_contain_text("train/loss3")
    expect(page.locator(".tip")).not_to_contain_text("val/loss")
    button.focus()
    page.keyboard.press("Enter")
    expect(lines.nth(1)).to_be_visible()


def test_tooltip_over_a_time_axis_uses_and_names_the_time_zone_of_the_axis(viewer: Viewer, server: Server) -> None:
    run_id = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris"}, timeout=60).json()["id"]
    at_ms = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC
    points = [{"metrics": {"loss": at}, "step": at, "timestamp": at_ms + at * 60_000} for at in range(3)]
    assert requests.post(f"{server.url}/api/w/runs/{run_id}/metrics", json=points, timeout=60).ok
    url = f"{server.url}/runs/{run_id}/charts?key=loss&x=wall"
    page = viewer.open(url, timezone_id="Asia/Tokyo", locale="ja-JP")
    chart = page.locator("svg.chart")
    position = find_position(chart, 0.5)
    page.mouse.move(position["x"], position["y"])
    expect(page.locator(".tip")).to_contain_text("2027-01-15 08:01:00 UTC")
    expect(chart).to_contain_text("2027-01-15, UTC")


def test_chart_settings_are_kept_in_the_url(viewer: Viewer, server: Server, log: Callable[..., str]) -> None:
    run_id = log(loss=[10 / (at + 1) + at % 3 for at in range(200)])
    page = open_chart_page(viewer, server, run_id, "loss")
    chart = page.locator("svg.chart")
    page.get_by_label("Smoothing").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator("path.raw")).to_have_count(1)
    page.get_by_label("log y").check()
    page.get_by_label("X axis").select_option("date and time")
    expect(chart).to_have_attribute("data-axis", "wall")
    expect(chart).to_have_attribute("data-log", "y")
    expect(page).to_have_url(re.compile(r"key=loss&smoothing=0\.03&log_y=true&x=wall$"))
    expect(page.get_by_label("log x")).to_be_disabled()
    page.reload()
    expect(chart).to_have_attribute("data-axis", "wall")
    expect(page.get_by_label("log y")).to_be_checked()
    page.get_by_label("X axis").select_option("steps")
    page.get_by_label("log y").uncheck()
    expect(page).to_have_url(re.compile(r"key=loss&smoothing=0\.03$"))
    expect(chart).to_have_attribute("data-log", "")


def test_charts_of_a_run_appear_with_its_first_points_and_are_interactive(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run_id = log()
    page = viewer.open(f"{server.url}/runs/{run_id}")
    expect(page.locator("svg.chart")).to_have_count(0)
    for key in ("train/loss", "val/loss", "train/acc", "lr"):
        add(server, run_id, key, [1, 2, 3])
    figures = page.locator("figure.chart-figure")
    expect(figures).to_have_count(3)  # the losses of training and validation share one
    expect(figures.nth(0).get_by_role("heading")).to_have_text("loss")
    first, second = figures.nth(0).locator("svg.chart"), figures.nth(1).locator("svg.chart")
    drag(page, first, 0.4, 1)
    expect(first).to_have_attribute("data-x", "1 2")
    figures.nth(0).get_by_role("button", name="train/loss").click()
    expect(figures.nth(0).locator("g.series").nth(0)).to_be_hidden()
    add(server, run_id, "train/acc", [4], 3)
    expect(second).to_have_attribute("data-x", "0 3")
    expect(first).to_have_attribute("data-x", "1 2")
    expect(figures.nth(0).locator("g.series").nth(0)).to_be_hidden()
    expect(page.get_by_role("button", name="Draw")).to_be_hidden()
    page.get_by_label("log y").check()
    for chart in (first, second):  # a chart that is drawn on another scale stays zoomed
        expect(chart).to_have_attribute("data-log", "y")
    expect(first).to_have_attribute("data-x", "1 2")
    expect(figures.nth(0).locator("g.series").nth(0)).to_be_hidden()
    expect(page).to_have_url(f"{server.url}/runs/{run_id}?log_y=true")
    figures.nth(0).get_by_role("link", name="loss").click()
    expect(page.get_by_role("heading", name="loss")).to_be_visible()
    expect(page.get_by_label("log y")).to_be_checked()


def test_chart_form_and_table_of_values_work_without_javascript(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run_id = log(loss=[3, 2, 1])
    page = open_chart_page(viewer, server, run_id, "loss", java_script_enabled=False)
    page.get_by_label("log y").check()
    page.get_by_role("button", name="Draw").click()
    expect(page.locator("svg.chart")).to_have_attribute("data-log", "y")
    expect(page.get_by_label("log y")).to_be_checked()
    page.locator("#values summary").click()
    expect(page.get_by_role("table", name="loss").get_by_role("row")).to_have_count(4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chart_pages_are_accessible_and_fit_the_screen(
    viewer: Viewer, server: Server, log: Callable[..., str], scheme: str
) -> None:
    one, other = log(loss=[3, 2, "NaN", 1]), log(loss=[2, 1])
    add(server, one, HOSTILE, [1, 2])
    paths = [
        f"/runs/{one}/charts?{urlencode([('key', 'loss'), ('key', HOSTILE)])}",
        f"/compare/charts?ids={one},{other}&key=loss&smoothing=0.5",
    ]
    for size in ((1280, 900), NARROW):
        page = viewer.open(server.url + paths[0], size=size, color_scheme=scheme)
        page.on("dialog", lambda dialog: viewer.faults.append(f"a dialog opened: {dialog.message}"))
        for path in paths:
            page.goto(server.url + path)
            page.locator("svg.chart").focus()
            page.keyboard.press("End")
            expect(page.locator(".tip")).to_be_visible()
            page.locator("#values summary").click()
            assert_fits(page)
            assert_accessible(page)


# -- zoom across changes and in the browser's history, touch


def test_zoom_survives_a_change_of_smoothing_but_not_of_the_axis(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run = log(loss=[1 / (at + 1) for at in range(100)])
    page = viewer.open(f"{server.url}/runs/{run}")
    chart = page.locator("figure.chart-figure svg.chart")
    drag(page, chart, 0.2, 0.5)
    button = page.get_by_role("button", name="Whole range")
    expect(button).to_be_visible()
    last = "svg => Number(svg.dataset.x.split(' ')[1])"
    assert chart.evaluate(last) <= 52
    page.get_by_label("Smoothing").fill("0.5")
    expect(chart.locator(".raw")).to_have_count(1)
    expect(button).to_be_visible()
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    assert chart.evaluate(last) <= 52
    page.get_by_label("X axis").select_option("relative")
    expect(button).to_have_count(0)


def test_back_button_on_a_chart_page_zooms_out(viewer: Viewer, server: Server, log: Callable[..., str]) -> None:
    run = log(loss=[1 / (at + 1) for at in range(100)])
    page = open_chart_page(viewer, server, run, "loss")
    whole = page.url
    drag(page, page.locator("svg.chart"), 0.2, 0.5)
    expect(page.get_by_role("link", name="Whole range")).to_be_visible()
    assert "from=" in page.url
    page.go_back()
    expect(page.get_by_role("link", name="Whole range")).to_have_count(0)
    assert page.url == whole
    expect(page.get_by_label("From")).to_have_value("")
    page.go_forward()
    expect(page.get_by_role("link", name="Whole range")).to_be_visible()


def test_tap_on_a_chart_shows_its_values_until_a_tap_elsewhere(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run = log(loss=[1.0, 0.5, 0.25])
    page = open_chart_page(viewer, server, run, "loss", has_touch=True, size=NARROW)
    chart = page.locator("svg.chart")
    position = find_position(chart, 0.2)  # which is in view: on its own page a chart is wider than a phone
    page.touchscreen.tap(position["x"], position["y"])
    expect(page.locator(".tip")).to_contain_text("step 0")
    page.get_by_role("heading", level=1).tap()
    expect(page.locator(".tip")).to_have_count(0)


def test_series_of_200_points_is_drawn_point_by_point_among_many_charts(
    viewer: Viewer, server: Server, log: Callable[..., str]
) -> None:
    run = log(**{f"m{number}": [at % 7 for at in range(200)] for number in range(20)})
    page = viewer.open(f"{server.url}/runs/{run}")
    path = page.locator("svg.chart .series .line").first.get_attribute("d")
    assert path is not None
    assert len(re.findall(r"-?[\d.]+[,-]-?[\d.]+", path)) == 200
