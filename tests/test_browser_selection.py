"""Runs selected in a list, in a real browser: over orders, filters and pages, all of a page, those between two."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect
from support.browsers import Viewer, assert_accessible, assert_fits
from support.servers import Running

pytest_plugins = "support.browsers"


@pytest.fixture
def runs(server: Running) -> Running:
    """A server with thirty runs of one experiment."""
    for number in range(30):
        post(server, "runs", {"experiment": "iris", "id": f"run-{number:02}", "name": f"name {number}"})
        post(server, f"runs/run-{number:02}/metrics", {"loss": number})
    return server


def post(server: Running, path: str, body: Any) -> None:
    assert requests.post(f"{server.url}/api/w/{path}", json=body, timeout=60).ok


def count(page: Page) -> Any:
    return expect(page.locator(".selected-count"))


def test_selection_survives_order_filter_and_pages_and_goes_along_with_the_form(viewer: Viewer, runs: Running) -> None:
    page = viewer.open(f"{runs.url}/experiments/iris?part=table&limit=25")
    count(page).to_have_text("Selected:")
    page.get_by_label("Select name 29", exact=True).check()
    count(page).to_have_text("1 selected")
    page.get_by_role("link", name="next").click()
    count(page).to_have_text("1 selected (1 not on this page)")
    page.get_by_label("Select name 2", exact=True).check()
    page.get_by_role("link", name="loss", exact=True).click()  # the least first
    expect(page.get_by_label("Select name 29", exact=True)).to_have_count(0)
    expect(page.get_by_label("Select name 2", exact=True)).to_be_checked()
    count(page).to_have_text("2 selected (1 not on this page)")
    page.get_by_label("Query").fill("metrics.loss < 5")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_label("Select name 2", exact=True)).to_be_checked()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 2 runs")
    page.go_back()
    count(page).to_have_text("2 selected (1 not on this page)")
    page.get_by_role("button", name="Clear").click()
    count(page).to_have_text("Selected:")
    expect(page.get_by_label("Select name 2", exact=True)).not_to_be_checked()
    page.reload()
    count(page).to_have_text("Selected:")


def test_all_of_a_page_and_those_between_two_are_selected_at_once(viewer: Viewer, runs: Running) -> None:
    page = viewer.open(f"{runs.url}/runs?limit=25")
    whole = page.get_by_label("Select all on this page", exact=True)
    page.get_by_label("Select name 20", exact=True).click()
    page.get_by_label("Select name 16", exact=True).click(modifiers=["Shift"])
    count(page).to_have_text("5 selected")
    assert whole.evaluate("box => box.indeterminate")
    page.get_by_label("Select name 18", exact=True).click(modifiers=["Shift"])
    count(page).to_have_text("2 selected")
    whole.check()
    count(page).to_have_text("25 selected")
    post(runs, "runs", {"experiment": "iris", "id": "new", "name": "the newest"})
    expect(page.get_by_label("Select the newest", exact=True)).not_to_be_checked()
    assert whole.evaluate("box => box.indeterminate"), "one that came meanwhile is not selected"
    # the bar stays in sight, and what is done ends the selection
    bar = page.locator(".selection-bar").bounding_box()
    assert bar is not None
    assert bar["y"] + bar["height"] <= 901
    assert_fits(page)
    assert_accessible(page)
    page.get_by_role("button", name="Tag or delete").click()
    expect(page.get_by_role("button", name="Delete 25")).to_be_visible()
    expect(page.locator("#runs input[type=checkbox]")).to_have_count(0)
    page.get_by_role("button", name="Delete 25").click()
    expect(page).to_have_url(re.compile("deleted=true"))
    page.goto(f"{runs.url}/runs?limit=25")
    count(page).to_have_text("Selected:")


def test_head_of_the_table_stays_while_its_rows_scroll(viewer: Viewer, runs: Running) -> None:
    page = viewer.open(f"{runs.url}/runs", size=(1280, 600))
    region = page.get_by_role("region", name="Runs")
    head, first = page.locator("table.runs thead th").first, page.locator("#run-run-29")
    before = head.bounding_box()
    region.evaluate("region => { region.scrollTop = region.scrollHeight }")
    expect(first).not_to_be_in_viewport()
    assert head.bounding_box() == before


def test_children_are_selected_on_their_parents_page(viewer: Viewer, runs: Running) -> None:
    post(runs, "runs", {"experiment": "sweep", "id": "parent"})
    for number in range(3):
        post(runs, "runs", {"experiment": "sweep", "id": f"fold-{number}", "parent_run_id": "parent"})
        post(runs, f"runs/fold-{number}/metrics", {"loss": number})
    page = viewer.open(f"{runs.url}/runs/parent")
    page.get_by_label("Select fold-0", exact=True).click()
    page.get_by_label("Select fold-2", exact=True).click(modifiers=["Shift"])
    count(page).to_have_text("3 selected")
    post(runs, "runs/fold-1/metrics", {"accuracy": 0.5})
    post(runs, "runs/fold-2/metrics", {"accuracy": 0.6})
    expect(page.locator("#relatives").get_by_role("link", name="accuracy")).to_be_visible()
    count(page).to_have_text("3 selected")
    assert_fits(page)
    assert_accessible(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 3 runs")
