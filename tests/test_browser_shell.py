"""Features of every page in a real browser: theme, keyboard, live update, forms, accessibility, no third parties."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests
from playwright.sync_api import Route, expect
from support.browsers import NARROW, Viewer, assert_accessible, assert_fits
from support.servers import Server, free_port

pytest_plugins = "support.browsers"

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
PAGES = [
    "/runs",
    "/runs?q=metrics.x+%3E",
    "/runs/RUN",
    "/runs/RUN/charts?key=loss",
    "/runs/RUN/artifacts/a%3Cb%3E.txt",
    "/runs/RUN/artifacts/table.csv",
    "/compare?ids=RUN,OTHER",
    "/experiments",
    "/experiments/iris",
    "/experiments/iris?metric=loss",
    "/models",
    "/search",
    "/search?q=metrics.loss+%3E+0",
    "/runs/none",
    "/nowhere",
]


def create_run(server: Server, **fields: object) -> str:
    answer = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris", **fields}, timeout=60)
    run_id: str = answer.json()["id"]
    return run_id


@pytest.fixture
def hostile_run_id(server: Server) -> str:
    """The id of a run with hostile and long text in every field."""
    run_id = create_run(server, name=HOSTILE, tags={HOSTILE: HOSTILE, "long": "w" * 250}, created_by=HOSTILE)
    base = f"{server.url}/api/w/runs/{run_id}"
    requests.post(f"{base}/params", json={"p" * 250: HOSTILE, "url": "javascript:alert(3)"}, timeout=60)
    requests.post(f"{base}/metrics", json={HOSTILE: 0.5, "m" * 250: 1e300}, timeout=60)
    requests.post(f"{base}/note", json={"note": HOSTILE + "\n\n[x](javascript:alert(4))"}, timeout=60)
    octets = {"Content-Type": "application/octet-stream"}
    for name, content in (("a<b>.txt", HOSTILE.encode()), ("table.csv", b"a,b\n1," + HOSTILE.encode())):
        requests.post(f"{base}/artifacts", params={"name": name}, data=content, headers=octets, timeout=60)
    requests.post(f"{base}/metrics", json=[{"loss": 1 / step, "step": step} for step in range(1, 50)], timeout=60)
    body = {"description": HOSTILE + "\n\n- one"}
    requests.post(f"{server.url}/api/w/experiments/iris", json=body, timeout=60)
    create_run(server, id="OTHER", name="w" * 250)
    return run_id


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), NARROW], ids=["wide", "narrow"])
def test_every_page_is_accessible_fits_the_screen_and_runs_no_script_of_a_user(
    viewer: Viewer, server: Server, hostile_run_id: str, scheme: str, size: tuple[int, int]
) -> None:
    viewer.expected += ["404", "400"]  # the browser logs a page that is an error
    page = viewer.open(f"{server.url}/runs", size=size, color_scheme=scheme)
    page.on("dialog", lambda dialog: viewer.faults.append(f"a dialog opened: {dialog.message}"))
    for path in PAGES:
        page.goto(server.url + path.replace("RUN", hostile_run_id))
        assert_fits(page)
        assert_accessible(page)


def test_theme_is_the_systems_until_one_is_chosen_and_remembered(viewer: Viewer, server: Server) -> None:
    page = viewer.open(f"{server.url}/runs", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Theme: auto").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(ground) == dark


def test_page_in_a_dark_theme_is_printed_light_and_without_controls(viewer: Viewer, server: Server) -> None:
    assert requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris", "id": "one"}, timeout=60).ok
    page = viewer.open(f"{server.url}/experiments/iris", color_scheme="dark")
    page.evaluate("localStorage.setItem('chachaml-theme', 'dark')")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name="Delete the experiment")).to_be_visible()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator("#run-one")).to_be_visible()
    expect(page.locator("main input:visible, main form.write button:visible")).to_have_count(0)


def test_new_run_appears_and_an_ended_one_changes_without_a_reload(viewer: Viewer, server: Server) -> None:
    first = create_run(server, name="first")
    page = viewer.open(f"{server.url}/runs")
    page.evaluate("window.sameDocument = true")
    expect(page.locator("tbody tr")).to_have_count(1)
    create_run(server, name="second")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("second")
    requests.post(f"{server.url}/api/w/runs/{first}/end", timeout=60)
    expect(page.locator("tbody tr").last).to_contain_text("completed")
    assert page.evaluate("window.sameDocument")


def test_unreachable_server_is_reported_until_it_is_back(viewer: Viewer, serve: Callable[..., Server]) -> None:
    port = str(free_port())
    server = serve("--port", port)
    viewer.expected.append("ERR_CONNECTION_REFUSED")
    page = viewer.open(f"{server.url}/runs")
    server.stop()
    expect(page.locator("#connection")).to_have_text("server unreachable")
    serve("--port", port)
    expect(page.locator("#connection")).to_have_text("")


def test_request_to_a_busy_server_is_repeated_without_an_error(viewer: Viewer, server: Server) -> None:
    viewer.expected.append("503")
    page = viewer.open(f"{server.url}/runs")
    cache_control: list[str | None] = []

    def busy_at_first(route: Route) -> None:
        cache_control.append(route.request.headers.get("cache-control"))
        if len(cache_control) == 1:
            route.fulfill(status=503, headers={"Retry-After": "3"}, body="busy")
        else:
            route.continue_()

    page.route("**/runs", busy_at_first)
    name = create_run(server)
    expect(page.locator("tbody")).to_contain_text(name)
    assert cache_control[:2] == ["max-age=2", "max-age=2"]
    expect(page.locator("#connection")).to_have_text("")


def test_times_are_relative_and_exact_on_hover_in_the_viewers_time_zone(viewer: Viewer, server: Server) -> None:
    create_run(server)
    page = viewer.open(f"{server.url}/runs", timezone_id="Asia/Kolkata", locale="en-GB")
    time = page.locator("tbody time").first
    expect(time).to_have_text(re.compile(r"just now|\d+ (s|min) ago"))
    expect(time).to_have_attribute("title", re.compile(r"GMT\+5:30"))


def test_page_is_complete_and_times_are_in_utc_without_javascript(viewer: Viewer, server: Server) -> None:
    create_run(server, name="plain")
    page = viewer.open(f"{server.url}/runs", java_script_enabled=False)
    expect(page.locator("tbody")).to_contain_text("plain")
    expect(page.locator("tbody time").first).to_have_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"))


def test_keyboard_shortcuts_select_open_and_show_help(viewer: Viewer, server: Server) -> None:
    older, newer = create_run(server, name="older"), create_run(server, name="newer")
    page = viewer.open(f"{server.url}/runs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    for key in "jjk":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{newer}")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{older}")


def test_quickstart_of_an_empty_store_can_be_copied(viewer: Viewer, server: Server) -> None:
    page = viewer.open(f"{server.url}/runs", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    clipboard = page.evaluate("navigator.clipboard.readText()")
    assert server.url in clipboard
    assert clipboard == page.locator("pre.command").inner_text().strip() + "\n"


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("/#/experiments/123/runs/OTHER", "/runs/OTHER"),
        ("/#/experiments/123/runs/OTHER/model-metrics", "/runs/OTHER"),
        ("/#/models/iris%20v2/versions/1", "/models/iris%20v2"),
        ("/#/experiments/123", "/runs#/experiments/123"),
    ],
)
def test_link_printed_by_the_mlflow_client_leads_to_its_page(
    viewer: Viewer, server: Server, link: str, path: str
) -> None:
    create_run(server, id="OTHER")
    requests.post(f"{server.url}/api/w/models/iris v2", json={"description": "x"}, timeout=60)
    page = viewer.open(server.url + link)
    page.wait_for_url(server.url + path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
