"""The pages about many runs and about models, in a real browser: with and without JavaScript, narrow, dark, live."""

from __future__ import annotations

import pytest
import requests
from browsers import NARROW, WIDE, Viewer, assert_accessible, assert_fits
from playwright.sync_api import expect
from servers import Running

HOSTILE = "<script>alert(1)</script>"


def post(server: Running, path: str, body: object) -> object:
    answer = requests.post(f"{server.url}/api/w/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def log(server: Running, run_id: str, params: object = None, metrics: object = None, **fields: object) -> None:
    post(server, "runs", {"experiment": "iris", "id": run_id, **fields})
    if params:
        post(server, f"runs/{run_id}/params", params)
    if metrics:
        post(server, f"runs/{run_id}/metrics", metrics)


def log_versions(server: Running) -> None:
    """Three runs, each a version of the model iris; the second is in production."""
    for number in (1, 2, 3):
        log(server, f"run-{number}", {"lr": number / 10}, {"loss": 1 / number}, name=f"{HOSTILE} {number} " + "n" * 200)
        octets = {"Content-Type": "application/octet-stream"}
        url = f"{server.url}/api/w/runs/run-{number}/artifacts?name=m.pkl"
        requests.post(url, data=b"%d" % number, headers=octets, timeout=60)
        stage = "production" if number == 2 else "none"
        body = {
            "name": "iris",
            "run_id": f"run-{number}",
            "artifact": "m.pkl",
            "stage": stage,
            "description": "d" * 300,
        }
        post(server, "models", body)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
def test_a_promotion_asks_and_then_demotes_the_version_that_was_in_production(
    viewer: Viewer, server: Running, javascript: bool
) -> None:
    log_versions(server)
    page = viewer.open(f"{server.url}/models", java_script_enabled=javascript)
    page.get_by_role("link", name="iris").click()
    row = page.locator("#version-3")
    row.locator("summary").click()
    expect(row.locator(".question")).to_contain_text("In production now is version 2; it would be archived.")
    assert "production" in page.locator("#version-2").inner_text(), "nothing was done before the answer"
    row.get_by_role("button", name="production").click()
    expect(page.locator("#version-3 .stage")).to_have_text("production")
    expect(page.locator("#version-2 .stage")).to_have_text("archived")
    expect(page.locator(".history li").first).to_contain_text("Version 2 left production and was archived.")


def test_a_model_page_keeps_up_and_says_what_the_api_refused(viewer: Viewer, server: Running) -> None:
    viewer.expected.append("404")
    log_versions(server)
    page = viewer.open(f"{server.url}/models/iris")
    post(server, "models/iris/promote", {"version": 1, "stage": "staging"})
    expect(page.locator("#version-1 .stage")).to_have_text("staging")
    row = page.locator("#version-3")
    row.locator("summary").click()
    row.locator("[name='version:int']").evaluate("field => { field.value = 9 }")
    row.get_by_role("button", name="staging").click()
    expect(row.get_by_role("alert")).to_contain_text("no such model: the model 'iris' has no version or stage '9'")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide light", "narrow dark"])
def test_pages_are_accessible_and_fit(viewer: Viewer, server: Running, size: tuple[int, int], scheme: str) -> None:
    page = viewer.open(f"{server.url}/models", size=size, color_scheme=scheme)
    page.on("dialog", lambda dialog: viewer.wrong.append(f"a dialog opened: {dialog.message}"))
    assert_accessible(page)
    assert_fits(page)
    log_versions(server)
    for path in ("/models", "/models/iris"):
        page.goto(server.url + path)
        for summary in page.locator("summary").all()[:1]:
            summary.click()
        assert_fits(page)
        assert_accessible(page)
