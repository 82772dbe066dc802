"""Pages of comparisons, experiments and models in a real browser: with and without JavaScript, narrow, dark, live."""

from __future__ import annotations

import re

import pytest
import requests
from playwright.sync_api import expect
from support.browsers import NARROW, WIDE, Viewer, assert_accessible, assert_fits
from support.servers import Server

pytest_plugins = "support.browsers"

HOSTILE = "<script>alert(1)</script>"


def post(server: Server, path: str, body: object) -> object:
    answer = requests.post(f"{server.url}/api/w/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def log(server: Server, run_id: str, params: object = None, metrics: object = None, **fields: object) -> None:
    post(server, "runs", {"experiment": "iris", "id": run_id, **fields})
    if params:
        post(server, f"runs/{run_id}/params", params)
    if metrics:
        post(server, f"runs/{run_id}/metrics", metrics)


def log_versions(server: Server) -> None:
    """Log three runs, each a version of the model iris; the second is in production."""
    for number in (1, 2, 3):
        log(server, f"of-{number}", {"lr": number / 10}, {"loss": 1 / number}, name=f"{HOSTILE} {number} " + "n" * 200)
        octets = {"Content-Type": "application/octet-stream"}
        url = f"{server.url}/api/w/runs/of-{number}/artifacts?name=m.pkl"
        requests.post(url, data=b"%d" % number, headers=octets, timeout=60)
        stage = "production" if number == 2 else "none"
        body = {
            "name": "iris",
            "run_id": f"of-{number}",
            "artifact": "m.pkl",
            "stage": stage,
            "description": "d" * 300,
        }
        post(server, "models", body)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
def test_promotion_asks_for_confirmation_and_archives_the_version_in_production(
    viewer: Viewer, server: Server, javascript: bool
) -> None:
    log_versions(server)
    page = viewer.open(f"{server.url}/models", java_script_enabled=javascript)
    page.get_by_role("link", name="iris").click()
    row = page.locator("#version-3")
    row.locator("summary").click()
    expect(row.locator(".question")).to_contain_text("Version 2 is in production now; promoting this one archives it.")
    assert "production" in page.locator("#version-2").inner_text(), "nothing is changed before the confirmation"
    row.get_by_role("button", name="production").click()
    expect(page.locator("#version-3 .stage")).to_have_text("production")
    expect(page.locator("#version-2 .stage")).to_have_text("archived")
    expect(page.locator(".history li").first).to_contain_text("Version 2 left production and was archived.")


def test_model_page_updates_live_and_shows_an_error_of_the_api(viewer: Viewer, server: Server) -> None:
    viewer.expected.append("404")
    log_versions(server)
    page = viewer.open(f"{server.url}/models/iris")
    post(server, "models/iris/promote", {"version": 1, "stage": "staging"})
    expect(page.locator("#version-1 .stage")).to_have_text("staging")
    row = page.locator("#version-3")
    row.locator("summary").click()
    row.locator("[name=version]").first.evaluate("field => { field.value = 9 }")
    row.get_by_role("button", name="staging").click()
    expect(row.get_by_role("alert")).to_contain_text("no such model: the model 'iris' has no version or stage '9'")


def log_three(server: Server) -> None:
    """Log three runs; the second has the lowest loss."""
    for number, loss in enumerate([0.5, 0.25, 1]):
        points = [{"loss": loss + 1 / step, "acc": 1 - loss / 2, "step": step} for step in range(1, 20)]
        params = {"lr": 0.1 * (number + 1), "epochs": 20, "text": "x" * 900, "k" * 250: HOSTILE * 20 + str(number)}
        log(server, f"run-{number}", params, points, name=f"name {number}")


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
def test_runs_selected_in_the_list_are_compared_by_differences_and_against_a_baseline(
    viewer: Viewer, server: Server, javascript: bool
) -> None:
    log_three(server)
    page = viewer.open(f"{server.url}/runs", java_script_enabled=javascript)
    for number in range(3):
        page.locator(f"input[name=ids][value=run-{number}]").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 3 runs")
    rows = page.get_by_role("region", name="Comparison").get_by_role("row")
    expect(rows.filter(has_text="lr")).to_have_count(1)
    expect(rows.filter(has_text="epochs")).to_have_count(0)
    page.get_by_role("link", name="Show all").click()
    expect(rows.filter(has_text="epochs")).to_have_count(1)
    page.get_by_role("link", name="Use name 1 as baseline").click()
    expect(rows.filter(has_text="epochs")).to_have_count(1)
    loss = page.get_by_role("row", name="loss")
    expect(loss.get_by_role("cell", name="worse")).to_have_count(2)
    expect(loss.locator(".best")).to_have_count(1)
    page.get_by_role("button", name="loss: lower is better").click()
    expect(loss.get_by_role("cell", name="better")).to_have_count(2)
    headers = page.locator(".sides .swatch path").evaluate_all("all => all.map((e) => getComputedStyle(e).stroke)")
    lines = page.locator("#charts figure").first.locator("svg.chart .series")
    assert lines.evaluate_all("all => all.map((e) => getComputedStyle(e).color)") == headers
    assert len(set(headers)) == 3
    page.locator("select[name=param]").select_option("lr")
    if javascript:  # a select acts at once
        expect(page).to_have_url(re.compile("param=lr"))
    page.locator("select[name=metric]").select_option("loss")
    if not javascript:
        page.get_by_role("button", name="Draw").last.click()
    expect(page.locator(".scatter figcaption")).to_have_text("loss by lr")
    dots = page.locator(".scatter svg .dot")
    assert dots.evaluate_all("all => all.map((e) => getComputedStyle(e).fill)") == headers


def test_comparison_updates_live_while_a_run_is_logging(viewer: Viewer, server: Server) -> None:
    log_three(server)
    page = viewer.open(f"{server.url}/compare?ids=run-0,run-1")
    page.evaluate("window.sameDocument = true")
    post(server, "runs/run-0/metrics", {"loss": 0.0625, "step": 99})
    expect(page.get_by_role("row", name="loss").locator("td").first).to_contain_text("0.0625")
    page.get_by_label("Smoothing").fill("0.6")
    page.wait_for_url("**smoothing=0.6")
    expect(page.locator("#charts .raw").first).to_be_attached()
    assert page.evaluate("window.sameDocument")


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
def test_experiment_is_described_in_place_and_shows_its_best_run(
    viewer: Viewer, server: Server, javascript: bool
) -> None:
    log_three(server)
    page = viewer.open(f"{server.url}/experiments", java_script_enabled=javascript)
    page.get_by_role("link", name="iris").click()
    expect(page.locator(".best-run")).to_contain_text("highest acc")
    page.get_by_text("Add a description").click()
    page.get_by_label("Description, in Markdown").fill("Petals **and** sepals")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#experiment .rendered strong")).to_have_text("and")
    expect(page.locator(".judge button")).to_be_visible(visible=not javascript)
    page.get_by_label("Best run by").select_option("loss")
    if not javascript:
        page.locator(".judge button").click()
    expect(page.locator(".best-run")).to_contain_text("lowest loss")
    page.wait_for_load_state()  # from then on its script listens
    page.get_by_label("Goal").select_option("max")
    if not javascript:
        page.locator(".judge button").click()
    expect(page.locator(".best-run")).to_contain_text("highest loss")
    page.goto(f"{server.url}/experiments")
    expect(page.get_by_role("cell", name="Petals and sepals")).to_be_visible()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide light", "narrow dark"])
def test_pages_are_accessible_and_fit_the_screen(
    viewer: Viewer, server: Server, size: tuple[int, int], scheme: str
) -> None:
    viewer.expected.append("400")
    page = viewer.open(f"{server.url}/models", size=size, color_scheme=scheme)
    page.on("dialog", lambda dialog: viewer.faults.append(f"a dialog opened: {dialog.message}"))
    assert_accessible(page)
    assert_fits(page)
    log_versions(server)
    log_three(server)
    pages = ["/models", "/models/iris", "/diff/iris/1/2", "/diff/iris/2/production"]
    pages += ["/compare?ids=run-0,run-1,run-2", "/compare?ids=run-1,run-2&all=true", "/compare?ids=run-1"]
    for path in pages:
        page.goto(server.url + path)
        for summary in page.locator("summary").all()[:1]:
            summary.click()
        assert_fits(page)
        assert_accessible(page)


def test_form_of_a_model_version_stays_within_its_frame(viewer: Viewer, server: Server) -> None:
    post(server, "runs", {"experiment": "iris", "id": "one"})
    upload = f"{server.url}/api/w/runs/one/artifacts?name=model.pkl"
    assert requests.post(upload, data=b"x", headers={"Content-Type": "application/octet-stream"}, timeout=60).ok
    post(server, "models", {"name": "classifier", "run_id": "one", "artifact": "model.pkl"})
    page = viewer.open(f"{server.url}/models/classifier")
    page.locator(".versions summary").click()
    frame = page.locator(".versions .question").bounding_box()
    button = page.get_by_role("button", name="Set", exact=True).bounding_box()
    above = page.get_by_role("button", name="archived", exact=True).bounding_box()
    assert frame and button and above
    assert button["x"] + button["width"] <= frame["x"] + frame["width"]
    assert above["y"] + above["height"] < button["y"]
