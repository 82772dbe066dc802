"""Deletion and undo in a real browser: from lists of runs, from the page of the selected runs, from a run's page."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect
from support.browsers import NARROW, Viewer, assert_accessible, assert_fits
from support.servers import Server

pytest_plugins = "support.browsers"


@pytest.fixture
def sweep(server: Server) -> Server:
    """A server with a parent and its four children, in one experiment."""

    def post(path: str, body: Any) -> None:
        assert requests.post(f"{server.url}/api/w/{path}", json=body, timeout=60).ok

    post("runs", {"experiment": "sweep", "id": "parent", "name": "parent"})
    for number in range(4):
        run = {"experiment": "sweep", "id": f"fold-{number}", "name": f"fold {number}", "parent_run_id": "parent"}
        post("runs", run)
        post(f"runs/fold-{number}/metrics", [{"loss": number, "step": step} for step in range(3)])
    return server


def list_trash(server: Server) -> list[str]:
    """The ids of the runs in the trash."""
    runs = requests.get(f"{server.url}/api/runs?deleted=true", timeout=60).json()
    return sorted(run["id"] for run in runs)


def list_row_ids(page: Page) -> list[str]:
    ids: list[str] = page.locator("table.runs tbody tr").evaluate_all("rows => rows.map(row => row.id.slice(4))")
    return ids


LISTS = {
    "runs": "/runs?order_by=metrics.loss&q=metrics.loss+<+3",
    "search": "/search?q=metrics.loss+<+3&order_by=metrics.loss",
    "experiment": "/experiments/sweep?order_by=metrics.loss&q=metrics.loss+<+3&by=name",
    "experiment's table": "/experiments/sweep?part=table&status=running&order_by=metrics.loss&limit=25",
    "children": "/runs/parent?x=relative",
}


@pytest.mark.parametrize("path", LISTS.values(), ids=LISTS.keys())
def test_deletion_from_a_list_stays_on_its_page_and_is_undone_there(viewer: Viewer, sweep: Server, path: str) -> None:
    page = viewer.open(f"{sweep.url}{path}")
    before, here = list_row_ids(page), page.url
    page.get_by_label("Select fold 0", exact=True).check()
    page.get_by_label("Select fold 2", exact=True).check()
    page.locator("#delete-selected > summary").click()
    expect(page.get_by_text("Move 2 runs to the trash?")).to_be_visible()
    assert list_trash(sweep) == [], "it asks first"
    page.get_by_role("button", name="Delete 2 runs").click()
    expect(page.locator("#undo")).to_contain_text("2 runs moved to the trash.")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    for run_id in ("fold-0", "fold-2"):
        expect(page.locator(f"#run-{run_id}")).to_have_count(0)
    assert list_trash(sweep) == ["fold-0", "fold-2"]
    assert page.url == here
    if path.startswith("/experiments"):
        expect(page.locator("#table .quiet")).to_have_text(str(len(before) - 2))
    expect(page.locator(".selected-count")).to_have_text("Selected:")
    assert_accessible(page)
    page.reload()  # undo is still offered
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#run-fold-2")).to_be_visible()
    expect(page.locator("#undo")).to_be_hidden()
    expect(page.locator("#run-fold-0")).to_be_visible()
    assert (list_trash(sweep), list_row_ids(page), page.url) == ([], before, here)


def test_deletion_of_all_children_is_undone_on_their_parents_page(viewer: Viewer, sweep: Server) -> None:
    page = viewer.open(f"{sweep.url}/runs/parent", size=NARROW)
    page.get_by_label("Select all on this page", exact=True).check()
    page.locator("#delete-selected > summary").click()
    assert_fits(page)
    page.get_by_role("button", name="Delete 4 runs").click()
    expect(page.get_by_role("heading", name="Children")).to_have_count(0)
    assert_fits(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="Children")).to_be_visible()
    page.get_by_label("Select fold 1", exact=True).check()  # the new table works, too
    expect(page.locator(".selected-count")).to_have_text("1 selected")


@pytest.mark.parametrize("how", ["restored", "deleted permanently"])
def test_undo_is_not_offered_for_runs_that_left_the_trash_otherwise(viewer: Viewer, sweep: Server, how: str) -> None:
    page = viewer.open(f"{sweep.url}/runs")
    for path in ("/runs", "/experiments/sweep?part=table"):
        page.goto(f"{sweep.url}{path}")
        page.get_by_label("Select fold 0" if path == "/runs" else "Select fold 1", exact=True).check()
        page.locator("#delete-selected > summary").click()
        page.get_by_role("button", name="Delete 1 run").click()
        expect(page.locator("#undo")).to_contain_text("1 run moved to the trash.")
    page.goto(f"{sweep.url}/runs?deleted=true")
    page.get_by_label("Select all on this page", exact=True).check()
    if how == "restored":
        page.get_by_role("button", name="Restore").click()
    else:
        page.locator("#remove-selected > summary").click()
        page.get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_text("The trash is empty.")).to_be_visible()
    expect(page.locator("#undo")).to_be_hidden()
    for path in ("/runs", "/experiments/sweep?part=table"):
        page.goto(f"{sweep.url}{path}")
        expect(page.locator("table.runs").first).to_be_visible()
        expect(page.locator("#undo")).to_be_hidden()


def test_undo_is_not_offered_again_after_it_is_dismissed(viewer: Viewer, sweep: Server) -> None:
    page = viewer.open(f"{sweep.url}/runs")
    page.get_by_label("Select fold 3", exact=True).check()
    page.locator("#delete-selected > summary").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete 1 run")).to_be_hidden()
    page.locator("#delete-selected > summary").click()
    page.get_by_role("button", name="Delete 1 run").click()
    expect(page.locator("#undo")).to_contain_text("1 run moved to the trash.")
    page.get_by_role("button", name="Dismiss").click()
    page.reload()
    expect(page.locator("#undo")).to_be_hidden()
    assert list_trash(sweep) == ["fold-3"]


@pytest.mark.parametrize("back", ["", "&back=/experiments/sweep?part=table"], ids=["", "from an experiment"])
def test_deletion_from_the_page_of_the_selected_runs_is_undone(viewer: Viewer, sweep: Server, back: str) -> None:
    page = viewer.open(f"{sweep.url}/runs?ids=fold-0,fold-1{back}")
    page.get_by_role("button", name="Delete 2").click()
    expect(page.get_by_text("runs are in the trash.")).to_be_visible()
    assert list_trash(sweep) == ["fold-0", "fold-1"]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("runs are in the trash.")).to_have_count(0)
    expect(page.locator("#run-fold-0")).to_be_visible()
    assert list_trash(sweep) == []


def test_deletion_from_the_page_of_a_run_is_undone(viewer: Viewer, sweep: Server) -> None:
    page = viewer.open(f"{sweep.url}/runs/fold-1")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("This run is in the trash")).to_be_visible()
    assert list_trash(sweep) == ["fold-1"]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("This run is in the trash")).to_have_count(0)
    assert list_trash(sweep) == []
