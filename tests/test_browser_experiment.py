"""An experiment's page in a real browser: a sweep drawn, grouped, hidden, zoomed, filtered, brushed; with and without
JavaScript.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Locator, Page, expect
from support.browsers import NARROW, WIDE, Viewer, assert_accessible, assert_fits
from support.servers import Server

pytest_plugins = "support.browsers"

OPTIMIZERS = ("adam", "adamw", "sgd")


def post(server: Server, path: str, body: Any) -> Any:
    answer = requests.post(f"{server.url}/api/w/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def log_run(server: Server, number: int, steps: int = 30) -> None:
    """Log run `number` of a sweep; its loss falls from its number plus one towards its number."""
    optimizer = OPTIMIZERS[number % 3]
    run_id = f"run-{number:02}"
    post(server, "runs", {"experiment": "sweep", "id": run_id, "name": f"{optimizer} {number}"})
    post(server, f"runs/{run_id}/params", {"optimizer": optimizer, "lr": 10 ** -(1 + number / 15), "seed": number // 3})
    points = [
        {"metrics": {"loss": number + 1 / (step + 1), "acc": step / steps, "grad/norm": step % 7}, "step": step}
        for step in range(steps)
    ]
    post(server, f"runs/{run_id}/metrics", points)


@pytest.fixture
def sweep(server: Server) -> Server:
    """A server with a sweep of 60 runs."""
    for number in range(60):
        log_run(server, number)
    return server


def chart(page: Page, metric: str) -> Locator:
    return page.locator(f'svg.chart[aria-label="{metric}"]')


def lines(page: Page, metric: str) -> Locator:
    return chart(page, metric).locator("g.series:visible")


def button(page: Page, label: str) -> Locator:
    return page.locator("#legend").get_by_role("button", name=label, exact=True)


def find_position(svg: Locator, fraction: float, height: float = 0.5) -> dict[str, float]:
    """Return the position on the page that is at these fractions of a chart's axes."""
    position: dict[str, float] = svg.evaluate(
        """(svg, [share, height]) => {
          const [left, top, right, bottom] = svg.dataset.plot.split(" ").map(Number);
          const box = svg.getBoundingClientRect();
          const scale = box.width / svg.viewBox.baseVal.width;
          const [x, y] = [left + share * (right - left), top + height * (bottom - top)];
          return { x: box.left + x * scale, y: box.top + y * scale };
        }""",
        [fraction, height],
    )
    return position


def test_sweep_is_drawn_grouped_hidden_and_zoomed_and_kept_in_the_url(viewer: Viewer, sweep: Server) -> None:
    page = viewer.open(f"{sweep.url}/experiments/sweep")
    page.evaluate("window.sameDocument = true")
    expect(lines(page, "loss")).to_have_count(20)
    page.get_by_label("Runs drawn").select_option("100")
    expect(lines(page, "loss")).to_have_count(60)
    # a click hides a run in every chart, and in the URL
    button(page, "sgd 59").click()
    expect(lines(page, "loss")).to_have_count(59)
    expect(lines(page, "acc")).to_have_count(59)
    expect(page).to_have_url(re.compile(r"drawn=100&hide=run-59$"))
    # a double click shows one run alone, and another one shows all again
    button(page, "adam 30").dblclick()
    expect(lines(page, "loss")).to_have_count(1)
    expect(lines(page, "acc")).to_have_count(1)
    button(page, "adam 30").dblclick()
    expect(lines(page, "loss")).to_have_count(60)
    expect(page).to_have_url(re.compile(r"drawn=100$"))
    # groups
    page.get_by_label("Group by").select_option("params.optimizer")
    expect(lines(page, "loss")).to_have_count(3)
    expect(page.locator("#legend")).to_contain_text("adam 20 runs")
    expect(chart(page, "loss").locator(".band")).to_have_count(3)
    button(page, "sgd 20 runs").click()
    expect(lines(page, "loss")).to_have_count(2)
    expect(page).to_have_url(re.compile("by=params.optimizer&hide=sgd"))
    # a range selected in one chart zooms all of them
    svg = chart(page, "loss")
    begin, end = find_position(svg, 0.2), find_position(svg, 0.6)
    page.mouse.move(begin["x"], begin["y"])
    page.mouse.down()
    page.mouse.move(end["x"], end["y"], steps=3)
    page.mouse.up()
    for metric in ("loss", "acc"):
        expect(chart(page, metric)).to_have_attribute("data-x", re.compile(r"^[56] 1[678]$"))
    page.get_by_label("Smoothing").fill("0.5")
    expect(page).to_have_url(re.compile("smoothing=0.5"))
    expect(chart(page, "acc")).to_have_attribute("data-x", re.compile(r"^[56] 1[678]$"))
    # all of it is in the URL
    page.reload()
    expect(lines(page, "loss")).to_have_count(2)
    expect(chart(page, "acc")).to_have_attribute("data-x", re.compile(r"^[56] 1[678]$"))
    page.get_by_role("link", name="Whole range").click()
    expect(chart(page, "acc")).to_have_attribute("data-x", "0 29")
    assert not page.evaluate("window.sameDocument"), "the reload has made a new document"


def test_pointing_highlights_a_line_in_every_chart_and_lists_ten_values_in_order(viewer: Viewer, sweep: Server) -> None:
    page = viewer.open(f"{sweep.url}/experiments/sweep?drawn=60")
    svg = chart(page, "loss")
    at = find_position(svg, 0.5, 0.49)
    page.mouse.move(at["x"], at["y"])
    tip = page.locator(".tip")
    rows = tip.locator("div")
    expect(rows).to_have_count(10)
    expect(tip).to_contain_text("and 50 more lines")
    names = rows.locator("span").all_inner_texts()
    assert names[:9] == [f"{OPTIMIZERS[number % 3]} {number}" for number in range(59, 50, -1)]
    closest = tip.locator("div[data-closest]")
    expect(closest).to_have_count(1)
    number = int(closest.locator("span").inner_text().rpartition(" ")[2])
    assert 29 <= number <= 33, "the line that is next to the pointer"
    value = float(closest.locator("strong").inner_text().removeprefix("≈ "))
    assert abs(value - number) < 0.5
    # the same line, and the same step, in the other charts
    expect(chart(page, "acc").locator("g[data-view-strong]")).to_have_count(1)
    expect(chart(page, "acc").locator(".crosshair")).to_have_count(1)
    page.mouse.move(2, 2)
    expect(page.locator(".crosshair")).to_have_count(0)
    expect(page.locator("[data-view-strong]")).to_have_count(0)
    # a name in the legend, and a row of the table
    button(page, "sgd 59").hover()
    for metric in ("loss", "acc"):
        expect(chart(page, metric).locator("g[data-view-faded]")).to_have_count(59)
    page.locator("#run-run-40").hover()
    strong = chart(page, "loss").locator("g[data-view-strong]")
    expect(strong).to_have_count(1)
    assert strong.get_attribute("data-key") == "19"


def test_page_updates_live_with_the_sweep(viewer: Viewer, server: Server) -> None:
    for number in range(3):
        log_run(server, number)
    page = viewer.open(f"{server.url}/experiments/sweep?by=params.optimizer&hide=sgd")
    expect(page.locator("#legend")).to_contain_text("adam 1 run")
    expect(lines(page, "loss")).to_have_count(2)
    log_run(server, 3)
    expect(page.locator("#legend")).to_contain_text("adam 2 runs")
    expect(page.locator("#run-run-03")).to_be_visible()
    expect(lines(page, "loss")).to_have_count(2)
    expect(button(page, "sgd 1 run")).to_have_attribute("aria-pressed", "false")


def test_forty_keys_are_filtered_by_one_box_and_sections_are_drawn_when_opened(viewer: Viewer, server: Server) -> None:
    keys = [f"{part}/{number}" for part in ("grad", "weight", "system") for number in range(12)]
    keys += ["train/loss", "val/loss", "lr", "tokens"]
    for run in ("one", "two"):
        post(server, "runs", {"experiment": "llm", "id": run})
        post(server, f"runs/{run}/metrics", [{"metrics": dict.fromkeys(keys, 1.5), "step": s} for s in range(5)])
    page = viewer.open(f"{server.url}/experiments/llm")
    figures = page.locator("#charts figure")
    expect(figures).to_have_count(28)
    expect(chart(page, "system/0")).to_have_count(0)
    page.locator("#section-system summary").click()
    expect(chart(page, "system/11")).to_be_visible()
    expect(page).to_have_url(re.compile("open=system"))
    page.keyboard.press("f")
    page.keyboard.type("LOSS")
    expect(figures).to_have_count(2)
    expect(page).to_have_url(re.compile("filter=LOSS"))
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("/^(grad|weight).1$/")
    expect(figures).to_have_count(2)
    expect(chart(page, "weight/1")).to_be_visible()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("nothing at all")
    expect(page.locator("#charts")).to_contain_text("No metric's name matches")
    page.get_by_role("link", name="All 40 metrics").click()
    expect(figures).to_have_count(40)


@pytest.mark.parametrize("path", ["experiments/sweep", "experiments/sweep?part=parallel", "runs/run-01"])
def test_invalid_expression_is_an_alert_beside_its_box_until_it_is_corrected(
    viewer: Viewer, sweep: Server, path: str
) -> None:
    viewer.expected.append("400 (BAD REQUEST)")
    page = viewer.open(f"{sweep.url}/{path}")
    box = page.get_by_role("searchbox", name="Metrics and params")
    box.fill("/loss[/")
    alert = page.locator(".chart-controls").get_by_role("alert")
    expect(alert).to_have_text("filter: a ] is missing, at character 6 of /loss[/")
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#connection")).to_have_text("filter: a ] is missing, at character 6 of /loss[/")
    assert_accessible(page)
    assert_fits(page)
    box.fill("/los[s]/")
    expect(page.get_by_text("los[s]").first).to_be_visible()
    expect(alert).to_be_hidden()
    expect(box).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator("#connection")).to_have_text("")


@pytest.mark.parametrize(
    "path",
    [
        "experiments/sweep?",
        "experiments/sweep?part=scatter&",
        "experiments/sweep?part=parallel&",
        "experiments/sweep?part=table&",
        "runs/run-01?",
        "compare?ids=run-01,run-02&",
    ],
)
def test_long_filter_that_matches_nothing_fits_a_phone(viewer: Viewer, sweep: Server, path: str) -> None:
    page = viewer.open(f"{sweep.url}/{path}filter={'x' * 300}", size=NARROW)
    expect(page.get_by_text("x" * 300).first).to_be_visible()
    assert_fits(page)


def test_names_and_values_of_axes_stay_within_the_drawing(viewer: Viewer, server: Server) -> None:
    words = ["word word word word", "a" * 40, "W" * 40, "<script>alert(1)</script>", "數據集數據集數據集數據集數據集"]
    for number, word in enumerate(words):
        post(server, "runs", {"experiment": "words", "id": f"run-{number}"})
        post(server, f"runs/run-{number}/params", {"a_param_with_a_long_name": word})
        post(server, f"runs/run-{number}/metrics", {"a_metric_with_a_long_name": number})
    page = viewer.open(f"{server.url}/experiments/words?part=parallel")
    expect(page.locator("a.path")).to_have_count(len(words))
    outside = page.locator("svg.parallel").evaluate(
        """svg => [...svg.querySelectorAll("text")].filter((text) => {
          const { x, width } = text.getBBox();
          return x < 0 || x + width > svg.viewBox.baseVal.width;
        }).map((text) => text.textContent)"""
    )
    assert outside == []


def test_brush_along_an_axis_filters_the_runs_of_the_table(viewer: Viewer, sweep: Server) -> None:
    page = viewer.open(f"{sweep.url}/experiments/sweep?part=parallel")
    rows = page.locator("#runs tbody tr")
    expect(page.locator("#table")).to_contain_text("60")

    def brush(field: str, begin: float, end: float) -> None:
        box = page.locator(f'.coordinate[data-field="{field}"] .hit').bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2
        page.mouse.move(middle, box["y"] + begin * box["height"])
        page.mouse.down()
        page.mouse.move(middle, box["y"] + end * box["height"], steps=3)
        page.mouse.up()

    brush("params.optimizer", 0.01, 0.3)
    expect(page.locator("#parallel")).to_contain_text('20 of 60 runs match the selection: params.optimizer in ("adam")')
    expect(page.locator("a.path:not(.out)")).to_have_count(20)
    brush("params.seed", 0.01, 0.5)
    expect(rows).to_have_count(10)
    expect(page).to_have_url(re.compile("brush=.*brush="))
    brush("params.optimizer", 0.5, 0.5)  # a click clears the selection
    expect(rows).to_have_count(30)
    page.get_by_role("link", name="as a query").click()
    expect(page.get_by_label("Query")).to_have_value(re.compile("params.seed >= "))
    expect(rows).to_have_count(30)


def test_experiment_page_works_without_javascript(viewer: Viewer, sweep: Server) -> None:
    page = viewer.open(f"{sweep.url}/experiments/sweep", java_script_enabled=False)
    button(page, "sgd 59").click()
    expect(page.locator("#legend").get_by_role("button", name="sgd 59")).to_have_attribute("aria-pressed", "false")
    expect(lines(page, "loss")).to_have_count(19)
    page.get_by_label("Group by").select_option("params.optimizer")
    page.locator("form.chart-controls").get_by_role("button", name="Draw").click()
    expect(lines(page, "loss")).to_have_count(3)
    button(page, "adam 20 runs").click()
    expect(lines(page, "loss")).to_have_count(2)
    page.get_by_role("link", name="Scatter").click()
    page.get_by_label("Against").select_option("params.lr")
    page.get_by_role("button", name="Draw").click()
    expect(page.locator(".scatter figcaption")).to_have_text("acc against lr")
    expect(page.locator(".scatter .dot")).to_have_count(60)
    page.get_by_role("link", name="Parallel coordinates").click()
    expect(page.locator("a.path")).to_have_count(60)
    page.get_by_role("link", name="Table only").click()
    expect(page.locator("svg.chart")).to_have_count(0)
    expect(page.locator("#runs tbody tr")).to_have_count(50)


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide light", "narrow dark"])
def test_every_part_is_accessible_and_fits_the_screen(
    viewer: Viewer, sweep: Server, size: tuple[int, int], scheme: str
) -> None:
    long_name = "lr=0.001 " * 20
    for number in range(2):
        post(sweep, "runs", {"experiment": "long", "id": f"long-{number}", "name": f"{long_name}{number}"})
        post(sweep, f"runs/long-{number}/params", {"p" * 200: number, "text": "t" * 300})
        points = [{"metrics": {"m/" * 100 + "x": step, "y": step}, "step": step} for step in range(3)]
        post(sweep, f"runs/long-{number}/metrics", points)
    post(sweep, "runs", {"experiment": "bare"})
    page = viewer.open(f"{sweep.url}/experiments/sweep?drawn=60", size=size, color_scheme=scheme)
    for path in (
        "sweep?drawn=60",
        "sweep?by=params.optimizer&hide=sgd",
        "sweep?part=scatter&across=params.lr&color=params.seed",
        "sweep?part=scatter&color=params.optimizer",
        "sweep?part=parallel",
        "long",
        "long?part=parallel",
        "long?part=scatter",
        "bare",
        "bare?part=scatter",
        "bare?part=parallel",
    ):
        page.goto(f"{sweep.url}/experiments/{path}")
        assert_fits(page)
        assert_accessible(page)
