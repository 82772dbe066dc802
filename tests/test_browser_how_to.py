"""The end of the how-to: a run that is logged with curl appears on the open page without a reload."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect
from support.browsers import Viewer, assert_accessible
from support.scripts import extract_lines, run_bash, set_host
from support.servers import Server

pytest_plugins = "support.browsers"


@pytest.fixture
def working_folder(tmp_path: Path, tool: Callable[[str], str]) -> Path:
    """The working folder of a user who has a shell, curl and a model."""
    for name in ("bash", "curl", "jq", "bc"):
        tool(name)
    folder = tmp_path / "working"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"a model")
    return folder


@pytest.fixture
def page(viewer: Viewer, server: Server) -> Page:
    """The page of all runs, opened before there are any."""
    page = viewer.open(f"{server.url}/runs")
    expect(page.locator("pre.command")).to_contain_text(server.url)
    page.evaluate("window.loadedOnce = true")
    return page


def assert_run_is_shown(page: Page, artifact: str, texts: list[str]) -> None:
    """Assert that the only run appears on the page without a reload, and follow its link to its own page."""
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    for text in texts:
        expect(row).to_contain_text(text)
    assert page.evaluate("window.loadedOnce"), "the page was reloaded"
    assert_accessible(page)
    row.get_by_role("link").first.click()
    for text in ("accuracy", "0.94", "loss", "lr", "0.01", "epochs", "100", artifact):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()


def test_run_logged_by_the_how_to_appears_on_the_open_page(
    page: Page, server: Server, shared: Path, working_folder: Path
) -> None:
    how_to = (shared / "how-to.txt").read_text()
    run_bash(
        set_host(extract_lines(how_to, "1. Bare curl, end-to-end", "Verify in the UI"), server.url), working_folder
    )
    assert_run_is_shown(page, "model.pkl", ["from-python", "iris", "completed", "0.94", "0.2", "0.01", "100", "maria"])


def test_run_logged_by_the_quickstart_of_the_page_appears_on_it(
    page: Page, server: Server, working_folder: Path
) -> None:
    run_bash(page.locator("pre.command").inner_text(), working_folder)
    assert_run_is_shown(page, "notes.txt", ["iris", "completed", "0.94", "0.4", "0.01", "100"])


def test_page_of_a_run_updates_live_while_it_is_logged(viewer: Viewer, server: Server) -> None:
    run_id = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris"}, timeout=60).json()["id"]
    base = f"{server.url}/api/w/runs/{run_id}"
    page = viewer.open(f"{server.url}/runs/{run_id}")
    page.evaluate("window.loadedOnce = true")
    requests.post(f"{base}/params", json={"lr": 0.0125}, timeout=60)
    requests.post(f"{base}/metrics", json={"loss": 0.123456789, "step": 7}, timeout=60)
    octets = {"Content-Type": "application/octet-stream"}
    requests.post(f"{base}/artifacts?name=plots/curve.txt", data=b"x", headers=octets, timeout=60)
    for text in ("0.0125", "0.12346", "plots/curve.txt"):
        expect(page.get_by_text(text).first).to_be_visible()
    expect(page.get_by_title("0.123456789").first).to_be_visible()
    requests.post(f"{base}/end", json={"status": "failed", "error": "out of memory"}, timeout=60)
    expect(page.get_by_text("out of memory")).to_be_visible()
    assert page.evaluate("window.loadedOnce")
