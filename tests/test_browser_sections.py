"""Forty metrics and params in a real browser: the box that filters them on each page, and sections that fold."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Locator, Page, expect
from support.browsers import NARROW, WIDE, Viewer, assert_accessible, assert_fits
from support.servers import Server

pytest_plugins = "support.browsers"

METRICS = [f"{part}/{number}" for part in ("grad", "weight", "system") for number in range(12)]
METRICS += ["train/loss", "val/loss", "lr", "tokens"]
PARAMS = [f"{part}.{number}" for part in ("model", "optimizer") for number in range(18)]
PARAMS += ["optimizer.loss", "seed", "batch", "epochs"]


def post(server: Server, path: str, body: Any) -> None:
    answer = requests.post(f"{server.url}/api/w/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def forty(server: Server) -> Server:
    """A server with two runs of forty metrics, of five points each, and forty params; all of them differ."""
    for number, run in enumerate(("one", "two")):
        post(server, "runs", {"experiment": "llm", "id": run})
        post(server, f"runs/{run}/params", {key: place + number for place, key in enumerate(PARAMS)})
        points = [{"metrics": dict.fromkeys(METRICS, step + number), "step": step} for step in range(5)]
        post(server, f"runs/{run}/metrics", points)
    return server


def charts(page: Page) -> Locator:
    return page.locator("#charts figure")


def names(page: Page) -> Locator:
    """Return the names of the metrics and params in the page's tables."""
    if "/experiments/" in page.url:
        return page.locator("#runs thead th[data-part] a")
    if "/compare" in page.url:
        return page.locator(".sides tbody .key > span:first-child").filter(visible=True)
    return page.locator(":is(.metrics, .params) tbody th").filter(visible=True)


def section(page: Page, name: str, part: str = "metrics") -> Locator:
    """Return the rows of a section of a comparison's table."""
    return page.locator(f'[id="{part}-in-{name}"]')


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("path", ["runs/one", "compare?ids=one,two", "experiments/llm"])
def test_forty_keys_are_filtered_by_one_box(viewer: Viewer, forty: Server, path: str, javascript: bool) -> None:
    page = viewer.open(f"{forty.url}/{path}", java_script_enabled=javascript)
    expect(charts(page).first).to_be_visible()
    box = page.get_by_label("Metrics and params", exact=True)

    def filter_by(text: str) -> None:
        if not javascript:
            box.fill(text)
            box.press("Enter")
            return
        page.locator("h1").click()
        page.keyboard.press("f")
        expect(box).to_be_focused()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type(text)

    filter_by("LOSS")
    expect(names(page)).to_have_text([re.compile(f"^{key}") for key in ("train/loss", "val/loss", "optimizer.loss")])
    expect(charts(page)).to_have_count(1 if path.startswith("runs") else 2)  # a run's page draws both in one
    expect(page).to_have_url(re.compile("filter=LOSS"))
    expect(page.locator("main")).to_contain_text("iltered by “LOSS”")
    filter_by("/^(grad|system|model).1$/")
    expect(names(page)).to_have_text([re.compile(f"^{key}") for key in ("grad/1", "system/1", "model.1")])
    expect(charts(page)).to_have_count(2)
    filter_by("nothing at all")
    expect(charts(page)).to_have_count(0)
    expect(names(page)).to_have_count(0)
    expect(page.locator("main")).to_contain_text(
        re.compile("No metric('s name| or param)[^.]* matches “nothing at all”")
    )
    page.get_by_role("link", name=re.compile("^(All 40 metrics|Clear the filter)$")).first.click()
    expect(box).to_have_value("")
    expect(names(page).filter(has_text="val/loss")).to_have_count(0 if "experiments" in path else 1)
    expect(names(page).first).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
def test_section_of_a_comparison_opens_and_closes(viewer: Viewer, forty: Server, javascript: bool) -> None:
    page = viewer.open(f"{forty.url}/compare?ids=one,two", java_script_enabled=javascript)
    grad, system = section(page, "grad"), section(page, "system")
    expect(grad.locator("tr:visible")).to_have_count(13)
    grad.locator("summary").click()
    expect(grad.locator("tr:visible")).to_have_count(1)
    expect(system.locator("tr")).to_have_count(1)
    system.locator("summary").click()
    if not javascript:
        system.get_by_role("link", name="Show 12 of system").click()
    expect(system.locator("tr:visible")).to_have_count(13)
    expect(page).to_have_url(re.compile("open=system"))
    page.reload()
    expect(system.locator("tr:visible")).to_have_count(13)


def test_opened_and_closed_sections_stay_so_while_the_page_updates(viewer: Viewer, forty: Server) -> None:
    page = viewer.open(f"{forty.url}/compare?ids=one,two")
    section(page, "grad").locator("summary").click()
    section(page, "params:model", "params").locator("summary").click()
    section(page, "system").locator("summary").click()
    expect(section(page, "system").locator("tr:visible")).to_have_count(13)
    # a new section before the others, and a new value
    post(forty, "runs/one/metrics", {"metrics": {"attention/a": 5, "attention/b": 5, "grad/0": 77.5}, "step": 9})
    expect(section(page, "attention").locator("tr:visible")).to_have_count(3)
    expect(section(page, "grad").locator("tr")).to_have_count(13)
    expect(section(page, "grad")).to_contain_text("77.5", use_inner_text=False)
    expect(section(page, "grad").locator("tr:visible")).to_have_count(1)
    expect(section(page, "params:model", "params").locator("tr:visible")).to_have_count(1)
    expect(section(page, "system").locator("tr:visible")).to_have_count(13)
    section(page, "grad").locator("summary").click()
    expect(section(page, "grad").locator("tr:visible")).to_have_count(13)


def test_settings_changed_in_place_are_kept_by_links_and_forms(viewer: Viewer, forty: Server) -> None:
    page = viewer.open(f"{forty.url}/experiments/llm")
    page.get_by_label("Smoothing").fill("0.5")
    page.get_by_label("Metrics and params", exact=True).fill("loss")
    expect(charts(page)).to_have_count(2)
    expect(names(page)).to_have_count(3)
    page.get_by_role("link", name="Scatter").click()
    expect(page).to_have_url(re.compile(r"(?=.*smoothing=0\.5)(?=.*filter=loss)(?=.*part=scatter)"))
    page.get_by_label("Metrics and params", exact=True).fill("model.1")
    expect(names(page).first).to_have_text("model.1")
    page.locator("select[name=status]").select_option("running")
    expect(page).to_have_url(re.compile(r"(?=.*status=running)(?=.*filter=model\.1)(?=.*part=scatter)"))
    page.goto(f"{forty.url}/compare?ids=one,two")
    page.get_by_label("Metrics and params", exact=True).fill("loss")
    expect(charts(page)).to_have_count(2)
    page.locator("select[name=param]").select_option("seed")
    expect(page).to_have_url(re.compile(r"(?=.*param=seed)(?=.*filter=loss)"))
    expect(charts(page)).to_have_count(2)


@pytest.mark.parametrize("path", ["compare?ids=one,two&", "experiments/llm?"], ids=["comparison", "experiment"])
def test_filter_and_chart_settings_keep_each_others_fields(viewer: Viewer, forty: Server, path: str) -> None:
    page = viewer.open(f"{forty.url}/{path}x=relative&smoothing=0.5&from=0&to=3600000")
    box = page.get_by_label("Metrics and params", exact=True)
    box.fill("loss")
    expect(charts(page)).to_have_count(2)
    expect(page).to_have_url(
        re.compile(r"(?=.*x=relative)(?=.*smoothing=0\.5)(?=.*from=0)(?=.*to=3600000)(?=.*filter=loss)")
    )
    page.locator("select[name=x]").select_option("step")  # a range of times is not a range of steps
    expect(charts(page).first.locator("svg.chart")).to_have_attribute("data-axis", "step")
    assert not re.search("[?&](x|from|to)=", page.url)
    box.fill("val/loss")
    expect(charts(page)).to_have_count(1)
    assert not re.search("[?&](x|from|to)=", page.url)
    expect(charts(page).locator("svg.chart")).to_have_attribute("data-axis", "step")
    expect(page).to_have_url(re.compile("smoothing=0.5"))


def test_page_of_a_single_chart_is_left_by_typing_in_the_filter(viewer: Viewer, forty: Server) -> None:
    page = viewer.open(f"{forty.url}/experiments/llm")
    page.get_by_role("link", name="val/loss", exact=True).click()
    expect(charts(page)).to_have_count(1)
    expect(page.locator(".charts.large")).to_have_count(1)
    page.get_by_label("Metrics and params", exact=True).fill("loss")
    expect(charts(page)).to_have_count(2)
    assert "chart=" not in page.url


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide light", "narrow dark"])
def test_pages_of_forty_keys_are_accessible_and_fit_the_screen(
    viewer: Viewer, forty: Server, size: tuple[int, int], scheme: str
) -> None:
    page = viewer.open(f"{forty.url}/compare?ids=one,two", size=size, color_scheme=scheme)
    section(page, "grad").locator("summary").click()
    expect(section(page, "grad").locator("tr:visible")).to_have_count(1)
    assert_fits(page)
    assert_accessible(page)
    for path in (
        "compare?ids=one,two&filter=loss",
        "compare?ids=one,two&filter=nothing",
        "experiments/llm",
        "experiments/llm?filter=loss",
        "experiments/llm?part=table&filter=nothing",
        "experiments/llm?part=parallel&filter=model",
        "experiments/llm?chart=val/loss",
        "runs/one?filter=loss",
    ):
        page.goto(f"{forty.url}/{path}")
        assert_fits(page)
        assert_accessible(page)
