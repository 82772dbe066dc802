"""The page of one run in a real browser: its forms and confirmations, and what stays as it is during live updates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Dialog, Page, expect
from support.browsers import NARROW, WIDE, Viewer, assert_accessible, assert_fits
from support.servers import Server

pytest_plugins = "support.browsers"

OCTETS = {"Content-Type": "application/octet-stream"}
SCRIPTS = pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])


@pytest.fixture
def run_id(server: Server) -> str:
    """The id of a running run that has metrics, params, tags, a note and artifacts."""
    answer = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris", "name": "base"}, timeout=60)
    run_id: str = answer.json()["id"]
    post(server, run_id, "metrics", [{"loss": 1 / step, "step": step} for step in range(1, 20)])
    post(server, run_id, "params", {"lr": 0.01, "tree": {"layers": [{"kind": "conv", "width": 64}, {"kind": "pool"}]}})
    post(server, run_id, "tags", {"author": "maria"})
    post(server, run_id, "note", {"note": "first **draft**"})
    for name, content in (("table.csv", b"a,b\n1,2\n3,4\n"), ("notes.md", b"# Findings\n\n- one")):
        requests.post(
            f"{server.url}/api/w/runs/{run_id}/artifacts",
            params={"name": name},
            data=content,
            headers=OCTETS,
            timeout=60,
        )
    return run_id


def post(server: Server, run_id: str, part: str, body: object) -> None:
    answer = requests.post(f"{server.url}/api/w/runs/{run_id}/{part}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text


def get_run(server: Server, run_id: str) -> dict[str, object]:
    answer: dict[str, object] = requests.get(f"{server.url}/api/runs/{run_id}", timeout=60).json()
    return answer


def open_run(viewer: Viewer, server: Server, run_id: str, script: bool = True) -> Page:
    return viewer.open(f"{server.url}/runs/{run_id}", java_script_enabled=script)


# -- the note


@SCRIPTS
def test_note_is_edited_in_place(viewer: Viewer, server: Server, run_id: str, script: bool) -> None:
    page = open_run(viewer, server, run_id, script)
    expect(page.locator("#note .rendered strong")).to_have_text("draft")
    page.get_by_text("Edit the note").click()
    area = page.get_by_label("Note, in Markdown")
    expect(area).to_have_value("first **draft**")
    area.fill("# Final\n\nit *works* <img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note .rendered em")).to_have_text("works")
    assert get_run(server, run_id)["note"] == "# Final\n\nit *works* <img src=x onerror=alert(1)>"
    expect(page).to_have_url(f"{server.url}/runs/{run_id}")


def test_note_being_written_stays_while_the_page_updates(viewer: Viewer, server: Server, run_id: str) -> None:
    page = open_run(viewer, server, run_id)
    page.get_by_text("Edit the note").click()
    area = page.get_by_label("Note, in Markdown")
    area.fill("half a sent")
    post(server, run_id, "note", {"note": "of somebody else"})
    post(server, run_id, "metrics", {"accuracy": 0.75})
    expect(page.locator("#metrics").get_by_text("accuracy")).to_be_visible()
    expect(area).to_have_value("half a sent")
    area.press("End")
    area.type("ence")
    area.press("Control+Enter")
    expect(page.locator("#note .rendered")).to_have_text("half a sentence")
    assert get_run(server, run_id)["note"] == "half a sentence"


def test_refused_note_shows_the_error_and_keeps_the_text(viewer: Viewer, server: Server, run_id: str) -> None:
    viewer.expected.append("404")  # the browser logs responses that are errors
    page = open_run(viewer, server, run_id)
    page.get_by_text("Edit the note").click()
    area = page.get_by_label("Note, in Markdown")
    area.fill("too late")
    requests.delete(f"{server.url}/api/w/runs/{run_id}", timeout=60)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("no such run")
    expect(area).to_have_value("too late")


# -- tags, the end, deletion


@SCRIPTS
def test_tags_are_set_and_removed(viewer: Viewer, server: Server, run_id: str, script: bool) -> None:
    page = open_run(viewer, server, run_id, script)
    page.get_by_text("Tags …").click()
    page.get_by_label("Key", exact=True).fill("gpu")
    page.get_by_label("Value", exact=True).fill("größe 1")
    page.get_by_role("button", name="Set").click()
    expect(page.locator(".run-tags")).to_contain_text("gpu: größe 1")
    page.get_by_text("Tags …").click()
    page.get_by_role("button", name="Remove the tag author").click()
    expect(page.locator(".run-tags")).not_to_contain_text("author")
    assert get_run(server, run_id)["tags"] == {"gpu": "größe 1"}


@SCRIPTS
def test_run_is_ended_after_a_confirmation(viewer: Viewer, server: Server, run_id: str, script: bool) -> None:
    page = open_run(viewer, server, run_id, script)
    expect(page.get_by_role("button", name="Mark as failed")).not_to_be_visible()
    page.get_by_text("End …").click()
    expect(page.get_by_text("It will then accept no more params, metrics or artifacts.")).to_be_visible()
    assert get_run(server, run_id)["status"] == "running"
    page.get_by_label("Error message (optional)").fill("ran out of patience")
    page.get_by_role("button", name="Mark as failed").click()
    expect(page.locator("h1")).to_contain_text("failed")
    expect(page.locator("pre.error")).to_have_text("ran out of patience")
    assert (get_run(server, run_id)["status"], get_run(server, run_id)["error"]) == ("failed", "ran out of patience")
    expect(page.get_by_text("End …")).to_have_count(0)


@SCRIPTS
def test_deleted_run_is_restored_by_undo_and_removed_after_a_confirmation(
    viewer: Viewer, server: Server, run_id: str, data: Path, script: bool
) -> None:
    page = open_run(viewer, server, run_id, script)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("This run is in the trash")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("This run is in the trash")).to_have_count(0)
    assert get_run(server, run_id)["deleted_at"] is None
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("Delete permanently …").click()
    assert (data / "runs" / run_id).is_dir()
    page.get_by_role("button", name="Delete permanently", exact=True).click()
    expect(page).to_have_url(f"{server.url}/runs?deleted=true")
    assert not (data / "runs" / run_id).exists()


def test_run_of_a_model_version_is_not_removed(viewer: Viewer, server: Server, run_id: str) -> None:
    viewer.expected.append("409")
    body = {"name": "iris", "run_id": run_id, "artifact": "table.csv"}
    assert requests.post(f"{server.url}/api/w/models", json=body, timeout=60).status_code == 200
    page = open_run(viewer, server, run_id)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("Delete permanently …").click()
    page.get_by_role("button", name="Delete permanently", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("iris")
    assert get_run(server, run_id)["id"] == run_id


# -- reading


def test_unfolded_param_stays_open_while_points_arrive(viewer: Viewer, server: Server, run_id: str) -> None:
    page = open_run(viewer, server, run_id)
    page.locator("#params summary").click()
    expect(page.locator("#params pre")).to_contain_text('"width": 64')
    post(server, run_id, "metrics", {"loss": 0.001, "step": 99})
    expect(page.locator("#metrics")).to_contain_text("step 99")
    expect(page.locator("#params pre")).to_be_visible()


def test_artifacts_are_opened_and_downloaded_from_the_run(viewer: Viewer, server: Server, run_id: str) -> None:
    page = open_run(viewer, server, run_id)
    page.get_by_role("link", name="table.csv", exact=True).click()
    expect(page.get_by_role("cell", name="3", exact=True)).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="notes.md", exact=True).click()
    expect(page.get_by_role("heading", name="Findings")).to_be_visible()
    page.go_back()
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download table.csv").click()
    assert Path(coming.value.path()).read_bytes() == b"a,b\n1,2\n3,4\n"
    with page.expect_download() as coming:
        page.get_by_role("link", name="Zip").click()
    assert coming.value.suggested_filename == f"{run_id}.zip"


def test_charts_update_live_while_their_axes_change_and_new_metrics_appear(
    viewer: Viewer, server: Server, run_id: str
) -> None:
    page = open_run(viewer, server, run_id)
    page.evaluate("window.loadedOnce = true")
    chart = page.locator("svg.chart").first
    chart.focus()
    page.keyboard.press("End")
    expect(page.locator(".tip")).to_contain_text("step 19")
    for last in (60, 130, 700):
        post(server, run_id, "metrics", [{"loss": last / step, "step": step} for step in range(last - 30, last)])
        expect(page.locator("#metrics")).to_contain_text(f"step {last - 1}")
        expect(chart.locator("g.series path.line")).to_have_attribute("d", re.compile("^M"))
        expect(chart.locator("text.label", has_text="step")).to_have_count(1)
        assert chart.locator("text.label").count() > 6, "the ticks of both axes are there"
    expect(chart).to_be_focused()
    expect(page.locator(".tip")).to_contain_text("step 19")  # where the keyboard has left it
    post(server, run_id, "metrics", [{"f1": step / 10, "step": step} for step in range(5)])
    expect(page.locator("#charts figure")).to_have_count(2)
    expect(page.locator("#charts figure").last.locator("g.series")).to_have_count(1)
    assert page.evaluate("window.loadedOnce")


def test_enter_in_the_field_of_the_error_marks_the_run_as_failed(viewer: Viewer, server: Server, run_id: str) -> None:
    page = open_run(viewer, server, run_id)
    page.get_by_text("End …").click()
    page.get_by_label("Error message (optional)").fill("it blew up")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("failed")
    assert (get_run(server, run_id)["status"], get_run(server, run_id)["error"]) == ("failed", "it blew up")


def test_note_being_written_is_not_lost_by_another_form_or_a_link(viewer: Viewer, server: Server, run_id: str) -> None:
    page = open_run(viewer, server, run_id)
    page.get_by_text("Edit the note").click()
    area = page.get_by_label("Note, in Markdown")
    area.fill("half a sentence")
    page.get_by_text("Tags …").click()
    page.get_by_label("Key", exact=True).fill("gpu")
    page.get_by_label("Value", exact=True).fill("a100")
    page.get_by_role("button", name="Set").click()
    expect(page.locator(".run-tags")).to_contain_text("gpu: a100")
    expect(area).to_have_value("half a sentence")
    expect(page.get_by_label("Key", exact=True)).not_to_be_visible()
    dialog_types: list[str] = []

    def stay(dialog: Dialog) -> None:
        dialog_types.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.get_by_role("link", name="Experiments").click()
    expect(area).to_have_value("half a sentence")
    assert dialog_types == ["beforeunload"]
    post(server, run_id, "note", {"note": "of somebody else"})
    expect(page.get_by_text("The note has been changed in the meantime")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note .rendered")).to_have_text("half a sentence")


def test_hidden_tab_requests_nothing_until_it_is_visible_again(viewer: Viewer, server: Server, run_id: str) -> None:
    page = viewer.open(f"{server.url}/search")
    page.clock.install()
    page.goto(f"{server.url}/runs/{run_id}")
    requested_urls: list[str] = []
    page.on("request", lambda request: requested_urls.append(request.url))

    def set_hidden(is_hidden: bool) -> None:
        page.evaluate(
            """(hidden) => { Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange")); }""",
            is_hidden,
        )

    with page.expect_request(f"**/runs/{run_id}"):
        page.clock.run_for(10_000)
    page.wait_for_load_state("networkidle")
    set_hidden(True)
    page.clock.run_for(10_000)  # a timer that was set before may still fire, and finds the tab hidden
    requested_urls.clear()
    post(server, run_id, "metrics", {"loss": 0.002, "step": 98})
    page.clock.run_for(300_000)
    assert not requested_urls
    set_hidden(False)
    expect(page.locator("#metrics")).to_contain_text("step 98")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_run_page_is_accessible_and_fits_the_screen_with_everything_open(
    viewer: Viewer, server: Server, run_id: str, size: tuple[int, int], scheme: str
) -> None:
    page = viewer.open(f"{server.url}/runs/{run_id}", size=size, color_scheme=scheme)
    for summary in page.locator("main summary").all():
        summary.click()
        assert_fits(page)
        assert_accessible(page)
        if re.search("…$", summary.inner_text()):
            page.keyboard.press("Escape")


def test_form_of_a_button_is_on_top_of_the_page_and_has_the_focus(viewer: Viewer, server: Server) -> None:
    run = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris"}, timeout=60).json()["id"]
    body = {f"m{number}": number for number in range(40)}
    requests.post(f"{server.url}/api/w/runs/{run}/metrics", json=body, timeout=60)
    page = viewer.open(f"{server.url}/runs/{run}")
    page.get_by_text("Add a tag …").click()
    field = page.locator("#edit-tags input[name=key]").first
    expect(field).to_be_focused()
    hidden_fields = page.evaluate(
        """() => [...document.querySelectorAll("#edit-tags :is(input:not([type=hidden]), button)")].filter((field) => {
          const box = field.getBoundingClientRect();
          return !field.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
        }).length"""
    )
    assert hidden_fields == 0


@pytest.mark.parametrize("width", [360, 400])
def test_header_takes_two_rows_on_a_phone(viewer: Viewer, server: Server, width: int) -> None:
    page = viewer.open(f"{server.url}/runs", size=(width, 740))
    assert page.locator("header.bar").evaluate("bar => bar.getBoundingClientRect().height") < 80


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_saved_run_opens_from_disk_offline_and_prints(
    viewer: Viewer, server: Server, tmp_path: Path, scheme: str
) -> None:
    run = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris", "name": "saved"}, timeout=60).json()[
        "id"
    ]
    points = [{"loss": 1 / step, "accuracy": 1 - 1 / step, "step": step} for step in range(1, 50)]
    requests.post(f"{server.url}/api/w/runs/{run}/metrics", json=points, timeout=60)
    requests.post(
        f"{server.url}/api/w/runs/{run}/artifacts?name=plot.svg",
        data=b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30"/></svg>',
        headers={"Content-Type": "application/octet-stream"},
        timeout=60,
    )
    file = tmp_path / "run.html"
    file.write_bytes(requests.get(f"{server.url}/runs/{run}?format=html", timeout=60).content)
    page = viewer.open(file.as_uri(), color_scheme=scheme, offline=True)
    expect(page.get_by_role("heading", level=1)).to_contain_text("saved")
    expect(page.locator("svg.chart")).to_have_count(2)
    assert page.locator("figure img").evaluate("image => image.naturalWidth") == 40
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 21)"
    assert dark == (scheme == "dark")
    assert_fits(page)
    assert_accessible(page)
    assert page.pdf().startswith(b"%PDF-")


def test_slider_steps_through_the_images_of_a_series(viewer: Viewer, server: Server) -> None:
    run = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris"}, timeout=60).json()["id"]
    for step in range(3):
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{100 + step}" height="50"><rect width="9"/></svg>'
        requests.post(
            f"{server.url}/api/w/runs/{run}/artifacts?name=samples/step_{step}.svg",
            data=svg.encode(),
            headers={"Content-Type": "application/octet-stream"},
            timeout=60,
        )
    page = viewer.open(f"{server.url}/runs/{run}/artifacts/samples/step_0.svg")
    slider = page.get_by_role("slider", name="Step")
    slider.evaluate("slider => { slider.value = 2; slider.dispatchEvent(new Event('input')); }")
    expect(page.locator(".picture img")).to_have_attribute("alt", "samples/step_2.svg")
    page.wait_for_function("() => document.querySelector('.picture img').naturalWidth === 102")
    slider.dispatch_event("change")
    page.wait_for_url("**/samples/step_2.svg")
    assert_accessible(page)
    page.get_by_role("link", name="previous").click()
    page.wait_for_url("**/samples/step_1.svg")
    expect(slider).not_to_be_focused()
    slider.press("ArrowLeft")
    page.wait_for_url("**/samples/step_0.svg")
    expect(slider).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/samples/step_1.svg")
    expect(slider).to_be_focused()
    assert_fits(page)


def test_numbers_of_metrics_fit_a_phone(viewer: Viewer, server: Server) -> None:
    run = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris"}, timeout=60).json()["id"]
    points = [
        {"train/loss": 5.0542 + step, "a/very/long/name/of/a/metric": 0.0012345, "step": step} for step in (1, 299)
    ]
    requests.post(f"{server.url}/api/w/runs/{run}/metrics", json=points, timeout=60)
    page = viewer.open(f"{server.url}/runs/{run}", size=NARROW)
    region = page.get_by_role("region", name="Metrics", exact=True)
    assert region.evaluate("region => region.scrollWidth - region.clientWidth") <= 1
