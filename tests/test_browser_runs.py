"""/runs and /search in a real browser: live updates, order, filters, selection; with and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect
from support.browsers import NARROW, Viewer, assert_accessible, assert_fits
from support.scripts import run_bash, set_host
from support.servers import Server

pytest_plugins = "support.browsers"


class Logger:
    """A client that logs runs to a server over HTTP."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = requests.Session()

    def __call__(self, path: str, body: Any = None) -> Any:
        answer = self._session.post(f"{self._server.url}/api/w/{path}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, name: str, metrics: Any = None, params: Any = None, end: str | None = None, **fields: Any) -> str:
        run_id: str = self("runs", {"experiment": "iris", "name": name, **fields})["id"]
        if params:
            self(f"runs/{run_id}/params", params)
        if metrics:
            self(f"runs/{run_id}/metrics", metrics)
        if end:
            self(f"runs/{run_id}/end", {"status": end})
        return run_id


@pytest.fixture
def log(server: Server) -> Logger:
    return Logger(server)


def log_three(log: Logger) -> list[str]:
    """Log three runs, the second with the lowest loss; return their ids."""
    return [
        log.run(name, [{"loss": 1.0}, {"loss": loss, "step": 1}], {"lr": 0.1 * place}, experiment=experiment)
        for place, (name, loss, experiment) in enumerate(
            (("first", 0.5, "iris"), ("second", 0.25, "digits"), ("third", 0.75, "iris"))
        )
    ]


def list_names(page: Page) -> list[str]:
    return page.locator("table.runs tbody th a").all_inner_texts()


def expect_names(page: Page, *expected: str) -> None:
    expect(page.locator("table.runs tbody th a")).to_have_text(list(expected))


def parse_query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


HOW_TO = """
HOST=http://localhost:8080
RUN=$(curl -s "$HOST/api/w/runs?format=id" -H 'Content-Type: application/json' \\
  -d '{"experiment":"iris","name":"from-curl"}')
curl "$HOST/api/w/runs/$RUN/params" -H 'Content-Type: application/json' -d '{"lr":0.01,"epochs":100}'
curl "$HOST/api/w/runs/$RUN/metrics" -H 'Content-Type: application/json' -d '{"accuracy":0.94,"step":1}'
curl "$HOST/api/w/runs/$RUN/artifacts?name=m" -H 'Content-Type: application/octet-stream' -d 'bytes'
curl -X POST "$HOST/api/w/runs/$RUN/end"
"""


def test_run_logged_with_curl_appears_on_the_open_page_without_a_reload(
    viewer: Viewer, server: Server, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("bash", "curl"):
        tool(name)
    page = viewer.open(f"{server.url}/runs")
    expect(page.locator("pre.command")).to_contain_text(server.url)
    page.evaluate("window.sameDocument = true")
    run_bash(set_host(HOW_TO, server.url), tmp_path)
    row = page.locator("table.runs tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("from-curl")
    expect(row).to_contain_text("completed")
    head = page.locator("table.runs thead th").all_inner_texts()
    cells = page.locator("table.runs tbody tr > *").all_inner_texts()
    row_cells = {name.strip(): cell.strip() for name, cell in zip(head, cells, strict=True)}
    assert {"accuracy": "0.94", "epochs": "100", "lr": "0.01", "Artifacts": "1"}.items() <= row_cells.items()
    expect(page.locator("pre.command")).to_have_count(0)
    expect(page.locator(".filters").get_by_label("Status")).to_be_visible()  # the filters have appeared with it
    assert page.evaluate("window.sameDocument")


def test_input_and_checkboxes_stay_while_the_table_updates(viewer: Viewer, server: Server, log: Logger) -> None:
    first, *_ = log_three(log)
    page = viewer.open(f"{server.url}/runs?spark=loss")
    page.get_by_label("Select first").check()
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Query").fill("half a que")
    lines = page.locator("table.runs tbody tr svg")
    expect(lines).to_have_count(3)
    before = lines.last.inner_html()
    log(f"runs/{first}/metrics", {"loss": 2.5, "step": 9})
    log.run("fourth")
    expect_names(page, "fourth", "third", "second", "first")
    expect(page.locator("table.runs tbody tr").last).to_contain_text("2.5")
    assert lines.last.inner_html() != before
    expect(page.get_by_label("Select first")).to_be_checked()
    expect(page.get_by_label("Query")).to_have_value("half a que")
    expect(page.get_by_label("Experiment").last).to_be_visible()  # in the chooser, which is still open
    log(f"runs/{first}/tags", {"seen": True})
    expect(page.locator("table.runs tbody tr").last).to_contain_text("seen: true")


def test_current_row_and_ticks_survive_a_new_row(viewer: Viewer, server: Server, log: Logger) -> None:
    for number in range(4):
        log.run(f"run {number}")
    page = viewer.open(f"{server.url}/runs?limit=4")
    expect_names(page, "run 3", "run 2", "run 1", "run 0")
    page.get_by_label("Select run 0").check()
    page.keyboard.press("Tab")
    for _ in range(2):
        page.keyboard.press("j")
    last = log.run("run 4")
    expect_names(page, "run 4", "run 3", "run 2", "run 1", "run 0")  # the last one stays because it is selected
    expect(page.get_by_label("Select run 0")).to_be_checked()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_label("Select run 1")).to_be_checked()
    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 2 runs")
    log(f"runs/{last}/end")


def test_column_chooser_keeps_its_ticks_when_a_column_appears(viewer: Viewer, server: Server, log: Logger) -> None:
    run_id = log.run("one", {"bbb": 1, "ddd": 2})
    page = viewer.open(f"{server.url}/runs")
    page.locator("summary", has_text="Columns").click()
    page.get_by_role("checkbox", name="ddd").uncheck()
    log(f"runs/{run_id}/metrics", {"aaa": 3})
    expect(page.locator("table.runs thead")).to_contain_text("aaa")
    expect(page.get_by_role("checkbox", name="bbb")).to_be_checked()
    expect(page.get_by_role("checkbox", name="ddd")).not_to_be_checked()
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**columns=**")
    assert "metrics.bbb" in parse_query(page)["columns"] and "metrics.ddd" not in parse_query(page)["columns"]


def test_column_chooser_is_filtered(viewer: Viewer, server: Server, log: Logger) -> None:
    log.run("a", {f"{part}/{number}": number for part in ("grad", "time") for number in range(5)})
    page = viewer.open(f"{server.url}/runs?columns=status")
    page.locator("summary", has_text="Columns").click()
    chooser = page.locator(".chooser")
    third = chooser.get_by_label("grad/3", exact=True)
    expect(third).to_be_hidden()
    chooser.get_by_label("Filter").fill("D/3")
    expect(chooser.locator("label:visible", has=page.locator("input[name=columns]"))).to_have_count(1)
    third.check()
    chooser.get_by_label("Filter").press("Enter")
    assert parse_query(page) == {"columns": ["status"]}
    chooser.get_by_label("Filter").fill("")
    expect(third).to_be_hidden()
    expect(chooser.get_by_label("Status", exact=True)).to_be_visible()
    chooser.get_by_role("button", name="Show").click()
    expect(page.locator("table.runs thead th")).to_have_count(4)


def test_too_few_or_too_many_runs_to_compare_are_an_alert_on_the_list(
    viewer: Viewer, server: Server, log: Logger
) -> None:
    for number in range(21):
        log.run(f"run {number}")
    page = viewer.open(f"{server.url}/runs?status=running")
    page.get_by_label("Select run 7").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_have_text("select 2 to 20 runs; 1 is selected")
    for box in page.locator("input[name=ids]").all():
        box.check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_have_text("select 2 to 20 runs; 21 are selected")
    expect(page).to_have_url(f"{server.url}/runs?status=running")


def test_list_is_ordered_and_filtered_and_its_columns_are_chosen(viewer: Viewer, server: Server, log: Logger) -> None:
    log_three(log)
    page = viewer.open(f"{server.url}/runs")
    heading = page.locator("table.runs thead").get_by_role("link", name="loss")
    heading.click()
    expect_names(page, "second", "first", "third")
    expect(page.get_by_role("columnheader", name="loss")).to_have_attribute("aria-sort", "ascending")
    assert parse_query(page) == {"order_by": ["metrics.loss"]}
    heading.click()
    expect_names(page, "third", "first", "second")
    heading.click()

    experiment = page.locator(".filters").get_by_label("Experiment")
    experiment.select_option("iris")
    expect_names(page, "first", "third")  # at once, and the focus stays for a user of the keyboard
    assert parse_query(page)["experiment"] == ["iris"]
    expect(experiment).to_be_focused()
    page.get_by_label("Query").fill('params.lr < 1 and name ~ "IR"')
    page.get_by_role("button", name="Filter").click()
    expect_names(page, "first", "third")
    assert parse_query(page)["order_by"] == ["metrics.loss"]

    page.locator("summary", has_text="Columns").click()
    chooser = page.locator(".chooser")
    for label in ("Experiment", "Tags", "Last write", "Artifacts", "Started", "Duration"):
        chooser.get_by_label(label, exact=True).uncheck()
    chooser.get_by_label("Sparkline of").select_option("loss")
    chooser.get_by_role("button").click()
    expect_names(page, "first", "third")
    headings = [text.strip() for text in page.locator("table.runs thead th").all_inner_texts()]
    assert [re.sub(r"\s*[▲▼]", "", text) for text in headings][1:] == ["Run", "loss", "Status", "loss", "lr"]
    expect(page.locator("table.runs svg")).to_have_count(2)
    page.reload()
    expect(page.locator("table.runs svg")).to_have_count(2)
    page.get_by_role("link", name="Clear filters").click()
    expect_names(page, "third", "second", "first")


def test_invalid_query_is_marked_under_its_box(viewer: Viewer, server: Server, log: Logger) -> None:
    log_three(log)
    viewer.expected.append("400")
    page = viewer.open(f"{server.url}/runs")
    page.keyboard.press("/")
    page.keyboard.type("metrics.loss > high")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("metrics.loss is compared with a number")
    expect(page.locator("mark")).to_have_text("high")
    assert_accessible(page)
    page.get_by_label("Query").fill("metrics.loss > 0.3")
    page.keyboard.press("Enter")
    expect_names(page, "third", "first")


def test_runs_are_selected_by_keyboard_and_compared(viewer: Viewer, server: Server, log: Logger) -> None:
    first, second, third = log_three(log)
    viewer.expected.append("404")  # unless there is a page to compare runs
    page = viewer.open(f"{server.url}/runs")
    for key in ("j", "x", "j", "j", "x"):
        page.keyboard.press(key)
    expect(page.get_by_label("Select third")).to_be_checked()
    expect(page.get_by_label("Select second")).not_to_be_checked()
    page.keyboard.press("c")
    page.wait_for_url("**/compare?*")
    assert parse_query(page) == {"ids": [third, first]}


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_selected_runs_are_tagged_and_deleted_on_their_page(
    viewer: Viewer, server: Server, log: Logger, script: bool
) -> None:
    first, _, third = log_three(log)
    if script:  # the list's own buttons need JavaScript
        page = viewer.open(f"{server.url}/runs?ids={first},{third}")
    else:
        page = viewer.open(f"{server.url}/runs", java_script_enabled=False)
        for name in ("first", "third"):
            page.get_by_label(f"Select {name}").check()
        page.get_by_role("button", name="Tag or delete").click()
    expect_names(page, "third", "first")
    page.get_by_label("Tag").fill("keep")
    page.get_by_label("Value").fill("yes, & no")
    page.get_by_role("button", name="Tag these 2 runs").click()
    expect(page.locator("table.runs .tag")).to_have_text(["keep: yes, & no"] * 2)

    page.get_by_role("button", name="Delete 2").click()
    expect(page.get_by_text("These 2 runs are in the trash.")).to_be_visible()
    page.get_by_text("Delete permanently …").click()
    page.get_by_role("button", name="Delete 2").click()
    expect(page.get_by_text("The trash is empty.")).to_be_visible()
    assert len(requests.get(f"{server.url}/api/runs", timeout=60).json()) == 1


def test_error_of_the_api_is_shown(viewer: Viewer, server: Server, log: Logger) -> None:
    first, second, _ = log_three(log)
    log(f"runs/{first}/end", {"status": "completed"})
    requests.post(f"{server.url}/api/w/runs/{first}/artifacts?name=m", data=b"1", timeout=60)
    octets = {"Content-Type": "application/octet-stream"}
    requests.post(f"{server.url}/api/w/runs/{second}/artifacts?name=m", data=b"1", headers=octets, timeout=60)
    log("models", {"name": "net", "run_id": second, "artifact": "m"})
    for run_id in (first, second):
        requests.post(f"{server.url}/api/w/runs/{run_id}/trash", timeout=60)
    page = viewer.open(f"{server.url}/runs?deleted=true&ids={first},{second}")
    viewer.expected.append("409")
    page.get_by_text("Delete permanently …").click()
    page.get_by_role("button", name="Delete 2").click()
    expect(page.get_by_role("alert")).to_contain_text("model versions point to this run (net 1)")


def test_list_is_ordered_filtered_and_paged_without_javascript(viewer: Viewer, server: Server, log: Logger) -> None:
    for number in range(60):
        log.run(f"run-{number:03}")
    page = viewer.open(f"{server.url}/runs", java_script_enabled=False)
    expect(page.locator("table.runs tbody tr")).to_have_count(50)
    page.get_by_role("link", name="next").click()
    expect(page.locator("table.runs tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Run", exact=True).click()
    assert list_names(page)[:2] == ["run-000", "run-001"]
    page.get_by_label("Query").fill("name ~ 7 and not name ~ 1")
    page.get_by_role("button", name="Filter").click()
    expect_names(page, "run-007", "run-027", "run-037", "run-047", "run-057")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lists_are_accessible_and_fit_the_screen_with_everything_open(
    viewer: Viewer, server: Server, log: Logger, scheme: str
) -> None:
    viewer.expected.append("400")
    log.run("n" * 250, {"m" * 250: 1e-300, "loss": 1}, {"p" * 250: "v" * 5000}, tags={"t" * 250: "u" * 250})
    first, *_ = log_three(log)
    page = viewer.open(f"{server.url}/runs", color_scheme=scheme)
    paths = ("/runs?spark=loss", f"/runs?ids={first}", "/search", "/search?q=name~n", f"/runs?q={'x' * 300}")
    for width, height in ((1280, 900), NARROW):
        page.set_viewport_size({"width": width, "height": height})
        for path in paths:
            page.goto(server.url + path)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert_fits(page)
            assert_accessible(page)
            if "spark" in path:  # the names stay in view while the table scrolls
                page.locator(".scroll").evaluate("region => region.scrollLeft = 10_000")
                name, region = (page.locator(each).first.bounding_box() for each in ("tbody th.name", ".scroll"))
                assert name and region and 0 <= name["x"] - region["x"] < 2
