"""Deletion of runs selected on a page: it redirects back to that page, which offers Undo."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]


def submit_form(client: FlaskClient, page: str, action: str) -> str:
    """Submit the page's form for several runs as a browser without JavaScript does; return the URL it redirects to."""
    text = client.get(page).text
    forms = re.findall(rf'<form [^>]*action="{action}">(.*?)</form>', text, re.DOTALL)
    (form,) = (form for form in forms if 'name="ids"' in form)
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(html.unescape(value))
    answer = client.post(action, data=fields, headers={"Origin": "http://localhost"})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


@pytest.mark.parametrize(
    "page", ["/experiments/iris", "/experiments/iris?part=table&q=status+%3D+running", "/runs/top"]
)
def test_deletion_redirects_to_the_page_before_with_undo(client: FlaskClient, log_run: LogRun, page: str) -> None:
    log_run(id="top", experiment="other")
    runs = [log_run(parent_run_id="top") for _ in range(2)]
    (back,) = re.findall(r'<button formaction="/runs" name="back" value="([^"]*)"', client.get(page).text)
    selection_url = "/runs?" + urlencode({"ids": ",".join(runs), "back": html.unescape(back)})
    url_after_deletion = submit_form(client, selection_url, "/runs/trash")
    path, _, query = url_after_deletion.partition("?")
    assert path == page.partition("?")[0]
    assert dict(parse_qsl(query))["trashed"] == ",".join(runs)
    assert "2 runs are in the trash." in client.get(url_after_deletion).text
    url_after_undo = submit_form(client, url_after_deletion, "/runs/restore")
    assert url_after_undo == html.unescape(back)
    assert client.get(url_after_undo).text.count('type="checkbox" name="ids"') == 2
    assert "2 runs are in the trash." not in client.get(url_after_deletion).text, "they have been restored"


def test_back_parameter_never_leads_to_another_site(client: FlaskClient, log_run: LogRun) -> None:
    text = client.get("/runs", query_string={"ids": log_run(), "back": "https://example.com/"}).text
    assert 'href="https://example.com' not in text
    assert 'name="then" value="https://example.com' not in text
