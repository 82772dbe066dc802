"""Settings that a browser remembers: the view of a list, of charts, a metric's direction. The URL wins."""

from __future__ import annotations

import re

import requests
from playwright.sync_api import expect
from support.browsers import Viewer
from support.servers import Server

pytest_plugins = "support.browsers"


def log_two(server: Server) -> None:
    for number in range(2):
        body = {"id": f"run-{number}", "name": f"name {number}", "experiment": "iris", "metrics": {"thing": number + 1}}
        metrics = body.pop("metrics")
        answer = requests.post(f"{server.url}/api/w/runs", json=body, timeout=60)
        assert answer.ok, answer.text
        answer = requests.post(f"{server.url}/api/w/runs/run-{number}/metrics", json=metrics, timeout=60)
        assert answer.ok, answer.text


def test_view_of_a_list_is_remembered_until_it_is_reset(viewer: Viewer, server: Server) -> None:
    log_two(server)
    page = viewer.open(f"{server.url}/runs?columns=status,metrics.thing&order_by=metrics.thing")
    page.goto(f"{server.url}/experiments")
    page.goto(f"{server.url}/runs?status=running")
    expect(page).to_have_url(re.compile(r"status=running&columns=status%2Cmetrics.thing&order_by=metrics.thing$"))
    expect(page.locator("table.runs thead th")).to_have_count(4)
    expect(page.locator("table.runs tbody th a")).to_have_text(["name 0", "name 1"])
    page.goto(f"{server.url}/runs?columns=id")  # the URL wins, and is remembered
    expect(page.locator("table.runs thead th")).to_have_count(3)
    page.goto(f"{server.url}/runs?experiment=iris")  # a different list
    assert page.url.endswith("?experiment=iris")
    page.goto(f"{server.url}/runs")
    expect(page).to_have_url(f"{server.url}/runs?columns=id")
    page.locator("summary", has_text="Columns").click()
    page.get_by_role("link", name="Reset columns").click()
    expect(page).to_have_url(f"{server.url}/runs")
    page.goto(f"{server.url}/experiments")
    page.goto(f"{server.url}/runs")
    expect(page.locator("table.runs thead th").nth(2)).to_have_text("Experiment")
    expect(page).to_have_url(f"{server.url}/runs")


def test_axis_of_curves_is_remembered_for_an_experiment(viewer: Viewer, server: Server) -> None:
    log_two(server)
    requests.post(f"{server.url}/api/w/runs/run-0/metrics", json=[{"thing": 1, "step": 1}], timeout=60)
    page = viewer.open(f"{server.url}/experiments/iris")
    page.get_by_label("X axis").select_option("relative")
    expect(page).to_have_url(re.compile("x=relative"))
    page.goto(f"{server.url}/experiments")
    page.goto(f"{server.url}/experiments/iris")
    expect(page).to_have_url(re.compile("x=relative"))
    page.get_by_label("X axis").select_option("step")
    expect(page).not_to_have_url(re.compile("x="))
    page.goto(f"{server.url}/experiments")
    page.goto(f"{server.url}/experiments/iris")
    expect(page.get_by_label("X axis")).to_have_value("step")


def test_direction_of_a_metric_is_remembered_across_comparisons(viewer: Viewer, server: Server) -> None:
    log_two(server)
    page = viewer.open(f"{server.url}/compare?ids=run-0,run-1")
    page.get_by_role("button", name="thing: choose whether").click()
    expect(page.get_by_role("button", name="thing: lower is better")).to_be_visible()
    page.goto(f"{server.url}/runs")
    page.goto(f"{server.url}/compare?ids=run-1,run-0")
    expect(page).to_have_url(re.compile("best=least%3Athing"))
    expect(page.get_by_role("button", name="thing: lower is better")).to_be_visible()


def log_lines(server: Server) -> None:
    """Log two runs of one experiment and one of another, each with a line."""
    for number, experiment in enumerate(("iris", "iris", "digits")):
        run = {"id": f"run-{number}", "name": f"name {number}", "experiment": experiment}
        assert requests.post(f"{server.url}/api/w/runs", json=run, timeout=60).ok
        assert requests.post(f"{server.url}/api/w/runs/run-{number}/params", json={"lr": number}, timeout=60).ok
        points = [{"thing": number + 1, "step": step} for step in range(1, 4)]
        assert requests.post(f"{server.url}/api/w/runs/run-{number}/metrics", json=points, timeout=60).ok


def test_chart_settings_are_remembered_across_the_pages_of_an_experiment(viewer: Viewer, server: Server) -> None:
    log_lines(server)
    page = viewer.open(f"{server.url}/runs/run-0")
    page.get_by_label("log y").check()
    page.get_by_label("X axis").select_option("relative")
    expect(page).to_have_url(re.compile("x=relative"))
    for path in ("/runs/run-1", "/compare?ids=run-0,run-1", "/experiments/iris"):
        page.goto(f"{server.url}{path}")
        expect(page).to_have_url(re.compile("(?=.*x=relative)(?=.*log_y=true)"))
        expect(page.get_by_label("log y")).to_be_checked()
        expect(page.get_by_label("X axis")).to_have_value("relative")
    for path in ("/runs/run-2", "/compare?ids=run-0,run-2"):  # a page of another experiment, or of several
        page.goto(f"{server.url}{path}")
        expect(page.get_by_label("log y")).not_to_be_checked()
        assert page.url == f"{server.url}{path}"
    page.goto(f"{server.url}/runs/run-0?smoothing=0.5")  # the URL wins, and is remembered
    expect(page.get_by_label("log y")).not_to_be_checked()
    page.goto(f"{server.url}/compare?ids=run-1,run-0")
    expect(page).to_have_url(re.compile("ids=run-1(,|%2C)run-0&smoothing=0.5$"))
    page.get_by_label("Smoothing").fill("0")
    expect(page).not_to_have_url(re.compile("smoothing"))
    page.goto(f"{server.url}/runs/run-1")
    expect(page.get_by_label("Smoothing")).to_have_value("0")
    assert page.url == f"{server.url}/runs/run-1"


def test_groups_of_an_experiment_are_remembered_independently_of_its_columns(viewer: Viewer, server: Server) -> None:
    log_lines(server)
    page = viewer.open(f"{server.url}/experiments/iris?columns=status")
    page.get_by_label("Group by").select_option("params.lr")
    page.get_by_label("Shaded").select_option("deviation")
    expect(page).to_have_url(re.compile("band=deviation"))
    page.goto(f"{server.url}/experiments/iris?part=table")
    expect(page).to_have_url(f"{server.url}/experiments/iris?part=table&columns=status")
    page.goto(f"{server.url}/experiments/iris")
    expect(page).to_have_url(re.compile(r"\?columns=status&by=params.lr&band=deviation$"))
    expect(page.get_by_label("Group by")).to_have_value("params.lr")
    page.goto(f"{server.url}/experiments/digits")
    expect(page.get_by_label("Group by")).to_have_value("")
    page.goto(f"{server.url}/experiments/iris?by=name")  # the URL wins
    expect(page.get_by_label("Group by")).to_have_value("name")
    expect(page).to_have_url(re.compile("by=name&columns=status$"))
    page.get_by_label("Group by").select_option("")
    expect(page).not_to_have_url(re.compile("by=name"))
    page.goto(f"{server.url}/experiments/iris")
    expect(page).to_have_url(f"{server.url}/experiments/iris?columns=status")
    expect(page.get_by_label("Group by")).to_have_value("")


def test_setting_that_the_server_refuses_is_forgotten(viewer: Viewer, server: Server) -> None:
    log_lines(server)
    page = viewer.open(f"{server.url}/experiments/iris?columns=status")
    viewer.expected.append("400 (BAD REQUEST)")
    page.evaluate("localStorage.setItem('chachaml-charts iris', 'x=sundial')")
    page.evaluate("localStorage.setItem('chachaml-groups /experiments/iris ', 'by=nothing+such')")
    for parameter in ("by=nothing", "x=sundial"):
        page.goto(f"{server.url}/experiments/iris")
        expect(page).to_have_url(re.compile(parameter))
        expect(page.get_by_role("alert")).to_be_visible()
        if "by" in parameter:
            page.goto(f"{server.url}/experiments/iris?by=name")
            page.evaluate("localStorage.removeItem('chachaml-groups /experiments/iris ')")
            page.evaluate("localStorage.setItem('chachaml-charts iris', 'x=sundial')")
    page.goto(f"{server.url}/experiments/iris")
    expect(page.get_by_label("X axis")).to_have_value("step")
