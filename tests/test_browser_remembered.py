"""The view of a list, and a metric's direction, as a browser remembers them: the URL wins, and is what is shown."""

from __future__ import annotations

import re

import requests
from playwright.sync_api import expect
from support.browsers import Viewer
from support.servers import Running

pytest_plugins = "support.browsers"


def log_two(server: Running) -> None:
    for number in range(2):
        body = {"id": f"run-{number}", "name": f"name {number}", "experiment": "iris", "metrics": {"thing": number + 1}}
        metrics = body.pop("metrics")
        answer = requests.post(f"{server.url}/api/w/runs", json=body, timeout=60)
        assert answer.ok, answer.text
        answer = requests.post(f"{server.url}/api/w/runs/run-{number}/metrics", json=metrics, timeout=60)
        assert answer.ok, answer.text


def test_list_is_shown_as_it_was_last_until_it_is_reset(viewer: Viewer, server: Running) -> None:
    log_two(server)
    page = viewer.open(f"{server.url}/runs?columns=status,metrics.thing&order_by=metrics.thing")
    page.goto(f"{server.url}/experiments")
    page.goto(f"{server.url}/runs?status=running")
    expect(page).to_have_url(re.compile(r"status=running&columns=status%2Cmetrics.thing&order_by=metrics.thing$"))
    expect(page.locator("table.runs thead th")).to_have_count(4)
    expect(page.locator("table.runs tbody th a")).to_have_text(["name 0", "name 1"])
    page.goto(f"{server.url}/runs?columns=id")  # the URL wins, and it is remembered
    expect(page.locator("table.runs thead th")).to_have_count(3)
    page.goto(f"{server.url}/runs?experiment=iris")  # another list
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


def test_how_curves_are_drawn_is_remembered_for_an_experiment(viewer: Viewer, server: Running) -> None:
    log_two(server)
    requests.post(f"{server.url}/api/w/runs/run-0/metrics", json=[{"thing": 1, "step": 1}], timeout=60)
    page = viewer.open(f"{server.url}/experiments/iris")
    page.get_by_label("Over").select_option("relative")
    expect(page).to_have_url(re.compile("x=relative"))
    page.goto(f"{server.url}/experiments")
    page.goto(f"{server.url}/experiments/iris")
    expect(page).to_have_url(re.compile("x=relative"))
    page.get_by_label("Over").select_option("step")
    expect(page).not_to_have_url(re.compile("x="))
    page.goto(f"{server.url}/experiments")
    page.goto(f"{server.url}/experiments/iris")
    expect(page.get_by_label("Over")).to_have_value("step")


def test_which_way_a_metric_is_good_is_remembered_from_one_comparison_to_another(
    viewer: Viewer, server: Running
) -> None:
    log_two(server)
    page = viewer.open(f"{server.url}/compare?ids=run-0,run-1")
    page.get_by_role("button", name="thing: choose whether").click()
    expect(page.get_by_role("button", name="thing: less is better")).to_be_visible()
    page.goto(f"{server.url}/runs")
    page.goto(f"{server.url}/compare?ids=run-1,run-0")
    expect(page).to_have_url(re.compile("best=least%3Athing"))
    expect(page.get_by_role("button", name="thing: less is better")).to_be_visible()
