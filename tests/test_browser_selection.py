"""Selection of runs in a real browser: across orders, filters and pages; a whole page; a range with Shift."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect
from support.browsers import NARROW, WIDE, Viewer, assert_accessible, assert_fits
from support.servers import Server

pytest_plugins = "support.browsers"


@pytest.fixture
def runs(server: Server) -> Server:
    """A server with thirty runs of one experiment."""
    for number in range(30):
        post(server, "runs", {"experiment": "iris", "id": f"run-{number:02}", "name": f"name {number}"})
        post(server, f"runs/run-{number:02}/metrics", {"loss": number})
    return server


def post(server: Server, path: str, body: Any) -> None:
    assert requests.post(f"{server.url}/api/w/{path}", json=body, timeout=60).ok


def expect_count(page: Page) -> Any:
    return expect(page.locator(".selected-count"))


def test_selection_survives_order_filter_and_pages_and_is_compared(viewer: Viewer, runs: Server) -> None:
    page = viewer.open(f"{runs.url}/experiments/iris?part=table&limit=25")
    expect_count(page).to_have_text("Selected:")
    page.get_by_label("Select name 29", exact=True).check()
    expect_count(page).to_have_text("1 selected")
    page.get_by_role("link", name="next").click()
    expect_count(page).to_have_text("1 selected (1 not on this page)")
    page.get_by_label("Select name 2", exact=True).check()
    page.get_by_role("link", name="loss", exact=True).click()  # the lowest first
    expect(page.get_by_label("Select name 29", exact=True)).to_have_count(0)
    expect(page.get_by_label("Select name 2", exact=True)).to_be_checked()
    expect_count(page).to_have_text("2 selected (1 not on this page)")
    page.get_by_label("Query").fill("metrics.loss < 5")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_label("Select name 2", exact=True)).to_be_checked()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 2 runs")
    page.go_back()
    expect_count(page).to_have_text("2 selected (1 not on this page)")
    page.get_by_role("button", name="Clear").click()
    expect_count(page).to_have_text("Selected:")
    expect(page.get_by_label("Select name 2", exact=True)).not_to_be_checked()
    page.reload()
    expect_count(page).to_have_text("Selected:")


def test_whole_page_or_a_range_of_rows_is_selected_at_once(viewer: Viewer, runs: Server) -> None:
    page = viewer.open(f"{runs.url}/runs?limit=25")
    whole = page.get_by_label("Select all on this page", exact=True)
    page.get_by_label("Select name 20", exact=True).click()
    page.get_by_label("Select name 16", exact=True).click(modifiers=["Shift"])
    expect_count(page).to_have_text("5 selected")
    assert whole.evaluate("box => box.indeterminate")
    page.get_by_label("Select name 18", exact=True).click(modifiers=["Shift"])
    expect_count(page).to_have_text("2 selected")
    whole.check()
    expect_count(page).to_have_text("25 selected")
    post(runs, "runs", {"experiment": "iris", "id": "new", "name": "the newest"})
    expect(page.get_by_label("Select the newest", exact=True)).not_to_be_checked()
    assert whole.evaluate("box => box.indeterminate"), "a run that was added meanwhile is not selected"
    # the bar stays in view
    bar = page.locator(".selection-bar").bounding_box()
    assert bar is not None
    assert bar["y"] + bar["height"] <= 901
    assert_fits(page)
    assert_accessible(page)


def test_head_of_the_table_stays_while_its_rows_scroll(viewer: Viewer, runs: Server) -> None:
    page = viewer.open(f"{runs.url}/runs", size=(1280, 600))
    region = page.get_by_role("region", name="Runs")
    head, first = page.locator("table.runs thead th").first, page.locator("#run-run-29")
    before = head.bounding_box()
    region.evaluate("region => { region.scrollTop = region.scrollHeight }")
    expect(first).not_to_be_in_viewport()
    assert head.bounding_box() == before


def test_children_are_selected_on_their_parents_page(viewer: Viewer, runs: Server) -> None:
    post(runs, "runs", {"experiment": "sweep", "id": "parent"})
    for number in range(3):
        post(runs, "runs", {"experiment": "sweep", "id": f"fold-{number}", "parent_run_id": "parent"})
        post(runs, f"runs/fold-{number}/metrics", {"loss": number})
    page = viewer.open(f"{runs.url}/runs/parent")
    page.get_by_label("Select fold-0", exact=True).click()
    page.get_by_label("Select fold-2", exact=True).click(modifiers=["Shift"])
    expect_count(page).to_have_text("3 selected")
    post(runs, "runs/fold-1/metrics", {"accuracy": 0.5})
    post(runs, "runs/fold-2/metrics", {"accuracy": 0.6})
    expect(page.locator("#relatives").get_by_role("link", name="accuracy")).to_be_visible()
    expect_count(page).to_have_text("3 selected")
    assert_fits(page)
    assert_accessible(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 3 runs")


def test_bar_tags_runs_selected_on_any_page_without_leaving_the_page(viewer: Viewer, runs: Server) -> None:
    page = viewer.open(f"{runs.url}/runs?limit=25&order_by=name")
    expect(page.locator("#tag-selected > summary")).to_be_hidden()
    page.get_by_label("Select name 1", exact=True).check()
    page.get_by_role("link", name="next").click()
    page.get_by_label("Select name 9", exact=True).check()
    expect_count(page).to_have_text("2 selected (1 not on this page)")
    here = page.url
    page.locator("#tag-selected > summary").click()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    page.get_by_label("Key", exact=True).fill("keep")
    page.get_by_label("Value").fill("yes, & no")
    assert_accessible(page)
    page.get_by_role("button", name="Tag 2 runs").click()
    expect(page.locator(".said")).to_have_text("2 runs tagged")
    expect(page.locator("#run-run-09 .tag")).to_have_text("keep: yes, & no")
    expect(page.get_by_label("Key", exact=True)).to_be_hidden()
    assert page.url == here
    expect_count(page).to_have_text("2 selected (1 not on this page)")
    tagged_runs = requests.get(f"{runs.url}/api/runs?tag.keep=yes, %26 no", timeout=60).json()
    assert sorted(run["id"] for run in tagged_runs) == ["run-01", "run-09"]
    # an error is shown beside the field, and the input stays
    assert requests.delete(f"{runs.url}/api/w/runs/run-01", timeout=60).ok
    viewer.expected.append("404 (NOT FOUND)")
    page.locator("#tag-selected > summary").click()
    page.get_by_label("Key", exact=True).fill("keep")
    page.get_by_label("Value").fill("typed")
    page.get_by_role("button", name="Tag 2 runs").click()
    expect(page.locator("#tag-selected").get_by_role("alert")).to_contain_text("no such run")
    expect(page.get_by_label("Value")).to_have_value("typed")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("question", ["tag", "delete"])
def test_dialogs_of_the_bar_stay_within_the_screen(
    viewer: Viewer, runs: Server, size: tuple[int, int], question: str
) -> None:
    page = viewer.open(f"{runs.url}/experiments/iris?part=table", size=size)
    page.get_by_label("Select all on this page", exact=True).check()
    page.locator(f"#{question}-selected > summary").click()
    box = page.locator(f"#{question}-selected .question").bounding_box()
    assert box is not None
    assert box["x"] >= 0 and box["x"] + box["width"] <= size[0]
    assert box["y"] >= 0 and box["y"] + box["height"] <= size[1]
    assert_fits(page)


def test_selection_may_exceed_a_page_up_to_a_limit(viewer: Viewer, runs: Server) -> None:
    page = viewer.open(f"{runs.url}/runs?limit=25")
    page.get_by_label("Select all on this page", exact=True).check()
    page.get_by_role("link", name="next").click()
    expect(page.locator("#run-run-29")).to_have_count(0)  # the next page has arrived
    expect_count(page).to_have_text("25 selected (25 not on this page)")
    page.get_by_label("Select all on this page", exact=True).check()
    expect_count(page).to_have_text("30 selected (25 not on this page)")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".said")).to_have_text("select 2 to 20 runs; 30 are selected")
    page.locator("#delete-selected > summary").click()
    page.get_by_role("button", name="Delete 30 runs").click()
    expect(page.locator("#undo")).to_contain_text("30 runs moved to the trash.")
    expect(page.locator("#run-run-04")).to_have_count(0)
    # more than a form accepts
    many = [f"made-up-{number}" for number in range(1001)]
    page.evaluate("ids => sessionStorage.setItem('chachaml-selected /runs false', JSON.stringify(ids))", many)
    page.evaluate("ids => sessionStorage.setItem('chachaml-selected /runs ', JSON.stringify(ids))", many)
    page.goto(f"{runs.url}/runs")
    expect_count(page).to_have_text("1,001 selected (1,001 not on this page)")
    page.locator("#delete-selected > summary").click()
    page.get_by_role("button", name="Delete 1,001 runs").click()
    expect(page.get_by_role("alert")).to_have_text("select 1 to 1000 runs; 1001 are selected")


def test_trash_restores_and_deletes_selected_runs(viewer: Viewer, runs: Server) -> None:
    for number in range(3):
        post(runs, f"runs/run-0{number}/trash", {})
    page = viewer.open(f"{runs.url}/runs?deleted=true")
    expect(page.get_by_role("button", name="Restore")).to_be_hidden()
    page.get_by_label("Select name 0", exact=True).check()
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#run-run-00")).to_have_count(0)
    expect(page.locator(".said")).to_have_text("1 run restored")
    page.get_by_label("Select all on this page", exact=True).check()
    page.locator("#remove-selected > summary").click()
    expect(page.get_by_text("Delete 2 runs with all points and artifacts? This cannot be undone.")).to_be_visible()
    page.get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_text("The trash is empty.")).to_be_visible()
    assert requests.get(f"{runs.url}/api/runs?deleted=all", timeout=60).headers["X-Total-Count"] == "28"
