"""Deletion of runs that were chosen on a page: it leads back to that page, which offers Undo."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]


def post(client: FlaskClient, page: str, action: str) -> str:
    """Send the page's form for some runs with this action as a browser without scripts does; the page that follows."""
    text = client.get(page).text
    forms = re.findall(rf'<form [^>]*action="{action}">(.*?)</form>', text, re.DOTALL)
    (form,) = (form for form in forms if 'name="ids"' in form)
    sent: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form):
        sent.setdefault(name, []).append(html.unescape(value))
    answer = client.post(action, data=sent, headers={"Origin": "http://localhost"})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


@pytest.mark.parametrize(
    "page", ["/experiments/iris", "/experiments/iris?part=table&q=status+%3D+running", "/runs/top"]
)
def test_deletion_leads_back_to_the_page_with_undo(client: FlaskClient, log_run: LogRun, page: str) -> None:
    log_run(id="top", experiment="other")
    runs = [log_run(parent_run_id="top") for _ in range(2)]
    (back,) = re.findall(r'<button formaction="/runs" name="back" value="([^"]*)"', client.get(page).text)
    chosen = "/runs?" + urlencode({"ids": ",".join(runs), "back": html.unescape(back)})
    after = post(client, chosen, "/runs/trash")
    path, _, asked = after.partition("?")
    assert path == page.partition("?")[0]
    assert dict(parse_qsl(asked))["trashed"] == ",".join(runs)
    assert "2 runs are in the trash." in client.get(after).text
    again = post(client, after, "/runs/restore")
    assert again == html.unescape(back)
    assert client.get(again).text.count('type="checkbox" name="ids"') == 2
    assert "2 runs are in the trash." not in client.get(after).text, "they are not any more"


def test_way_back_is_never_to_another_site(client: FlaskClient, log_run: LogRun) -> None:
    text = client.get("/runs", query_string={"ids": log_run(), "back": "https://example.com/"}).text
    assert 'href="https://example.com' not in text
    assert 'name="then" value="https://example.com' not in text
