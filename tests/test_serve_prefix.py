"""A server with --url-prefix, without a proxy: routes with the prefix and without, for programs and commands."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import requests
from support.commands import cli
from support.servers import Server

Serve = Callable[..., Server]
OCTETS = {"Content-Type": "application/octet-stream"}
#: An ordinary prefix, and one whose first segment is also a route's.
PREFIXES = ["/tracker", "/runs/api"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("is_stripped", [False, True], ids=["forwarded", "stripped"])
def test_requests_work_with_the_prefix_forwarded_or_stripped(serve: Serve, prefix: str, is_stripped: bool) -> None:
    server = serve("--url-prefix", prefix, "--max-json", "1000")
    base = server.url.removesuffix(prefix) if is_stripped else server.url
    assert server.url == f"http://localhost:{server.port}{prefix}"
    run = requests.post(f"{base}/api/w/runs", json={"experiment": "iris", "id": "r"})
    assert run.status_code == 200
    assert requests.post(f"{base}/api/w/runs/r/metrics", json={"loss": 1}).json() == {"ok": True, "logged": 1}
    # Larger than any other body may be: the server recognizes an upload by its path.
    content = b"x" * 100_000
    upload = requests.post(f"{base}/api/w/runs/r/artifacts?name=m", data=content, headers=OCTETS)
    assert upload.json()["size"] == len(content)
    assert requests.get(f"{base}/api/artifacts/r/m/download").content == content
    too_large = requests.post(f"{base}/api/w/runs/r/note", json={"note": "x" * 2000})
    assert too_large.status_code == 413
    page = requests.get(f"{base}/runs/r", headers={"Accept": "text/html"}).text
    assert f'href="{prefix}/static/style.css"' in page and f'action="{prefix}/runs/r/note"' in page


def test_upload_without_the_token_is_401_and_login_works_below_the_prefix(serve: Serve) -> None:
    server = serve("--url-prefix", "/tracker", CHACHAML_TOKEN="s3cret")
    answer = requests.post(
        f"{server.url}/api/w/runs/r/artifacts?name=m", data=b"x" * 100_000, headers={**OCTETS, "Connection": "close"}
    )
    assert answer.status_code == 401
    browser = requests.Session()
    answer = browser.post(f"{server.url}/login", data={"token": "s3cret", "next": "/tracker/models"})
    assert answer.url == f"{server.url}/models"
    assert [cookie.path for cookie in browser.cookies] == ["/tracker"]
    assert browser.post(f"{server.url}/logout").url == f"{server.url}/login"
    assert not list(browser.cookies)


def test_commands_accept_a_url_with_a_path(serve: Serve) -> None:
    server = serve("--url-prefix", "/tracker")
    cli("run", "--url", server.url, "-e", "iris", "--id", "r", "--", "echo", "done")
    assert "r" in cli("runs", "--url", server.url).stdout
    assert json.loads(cli("show", "r", "--json", "--url", f"{server.url}/").stdout)["status"] == "completed"
