"""Every URL in a response is built from the routes, so that all of them work below --url-prefix."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]

WEB = Path(__file__).resolve().parents[1] / "chachaml_lite/web"
#: The first segments of the server's paths, by which a hard-coded one is recognized.
ROOTS = "runs|api|search|compare|diff|experiments|models|login|logout|docs|static|llms.txt"
#: A path of the server at the start of a string or an attribute; in commands $HOST or {{ host }} precedes it.
_HARD_CODED = re.compile(rf"""(?:["'`(=]|\]\(|Location: )/(?:{ROOTS})\b""")
#: Paths that are compared with a request's path, below the prefix, before it is routed.
_EXCEPTIONS = {
    "auth.py": {"/login", "/logout"},
    "errors.py": {"/api", "/api/"},
    "metrics_fast_path.py": {r"/api/w/runs/([A-Za-z0-9._-]+)/metrics\Z"},
}
PREFIX = "/tracker"
BELOW = {"base_url": f"http://localhost{PREFIX}"}


def find_strings(path: Path) -> Iterator[str]:
    """Yield the strings in a module, except those in its docstrings and decorators."""
    tree = ast.parse(path.read_text())
    skipped_nodes = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
            if ast.get_docstring(node) is not None:
                skipped_nodes.add(node.body[0].value)  # type: ignore[attr-defined]
            for decorator in getattr(node, "decorator_list", []):
                skipped_nodes.update(ast.walk(decorator))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped_nodes:
            yield node.value


@pytest.mark.parametrize("path", sorted(WEB.rglob("*.py")), ids=lambda path: str(path.relative_to(WEB)))
def test_module_hard_codes_no_url(path: Path) -> None:
    wrong = {text for text in find_strings(path) if re.match(rf"/(?:{ROOTS})\b", text)}
    assert wrong <= _EXCEPTIONS.get(path.name, set())


@pytest.mark.parametrize(
    "path",
    sorted((*WEB.glob("templates/*"), *WEB.glob("static/*.js"), *WEB.glob("static/*.css"))),
    ids=lambda p: p.name,
)
def test_template_or_script_hard_codes_no_url(path: Path) -> None:
    assert not _HARD_CODED.findall(path.read_text())


@pytest.mark.parametrize(
    "text",
    ['<a href="/runs">', "<form action='/login'>", "fetch(`/api/runs`)", 'const a = "/search";', "[m](/docs/api)"],
)
def test_hard_coded_url_is_detected(text: str) -> None:
    assert _HARD_CODED.search(text)


# -- responses below a prefix


@pytest.fixture
def full_client(client: FlaskClient, log_run: LogRun) -> FlaskClient:
    """A client of a store with everything that pages show; names have slashes, spaces and special characters."""
    for name in ("a/../b", "Größe & co?"):
        log_run(experiment=name)
    parent = log_run(id="parent", experiment="iris", params={"lr": 1})
    points = [{"train/loss": 2, "val/loss": 1, "step": 1}, {"train/loss": 1, "val/loss": 3, "step": 2}]
    for run_id in ("one", "two"):
        artifacts = {
            "docs/read me.md": b"![p](p.png) [m](m.bin) [r](/runs/one)",
            "docs/p.png": b"\x89PNG\r\n\x1a\n",
            "docs/m.bin": b"m",
        }
        log_run(id=run_id, params={"lr": 2}, metrics=points, artifacts=artifacts, parent_run_id=parent)
        client.post(f"/api/w/runs/{run_id}/note", json={"note": "![p](docs/p.png) [one](/runs/one) [above](#top)"})
        body = {"name": "m & n", "run_id": run_id, "artifact": "docs/p.png"}
        assert client.post("/api/w/models", json=body).status_code == 200
    log_run(id="gone")
    client.post("/api/w/runs/gone/trash")
    return client


def find_links(text: str, attributes: str) -> set[str]:
    """Return the values of some attributes of a page, without fragments."""
    values = re.findall(rf'\b(?:{attributes})="([^"]*)"', text)
    return {html.unescape(each).partition("#")[0] for each in values} - {""}


def test_every_link_of_every_page_leads_below_the_prefix(full_client: FlaskClient) -> None:
    """Follow the links from page to page, one for each set of query parameters."""
    browser = {"Accept": "text/html"}
    pending, seen_kinds = [f"{PREFIX}/runs", f"{PREFIX}/runs?deleted=true"], set()
    while pending:
        url = pending.pop()
        kind = re.sub("=[^&]*", "", url)
        if kind in seen_kinds:
            continue
        seen_kinds.add(kind)
        answer = full_client.get(url.removeprefix(PREFIX), headers=browser, **BELOW)
        assert answer.status_code == 200, (url, answer.text)
        if answer.mimetype != "text/html":
            continue
        assert all(each.startswith(f"{PREFIX}/") for each in find_links(answer.text, "action|formaction")), url
        local_links = {
            each for each in find_links(answer.text, "href|src|data-page") if not each.startswith(("http", "data:"))
        }
        assert all(each.startswith(f"{PREFIX}/") for each in local_links), (url, local_links)
        pending += sorted(local_links)
    pages = {re.sub(r"\?.*", "", url) for url in seen_kinds}
    for path in (
        "experiments/a%2F..%2Fb",
        "runs/one/charts",
        "runs/one/artifacts/docs/read%20me.md",
        "docs/reverse-proxy",
    ):
        assert f"{PREFIX}/{path}" in pages
    assert {f"{PREFIX}/runs/one/images/docs/p.png", f"{PREFIX}/models/m%20&%20n", f"{PREFIX}/static/page.js"} <= pages


def test_redirects_and_link_headers_lead_below_the_prefix(full_client: FlaskClient) -> None:
    browser = {"Accept": "text/html"}
    assert full_client.get("/", headers=browser, **BELOW).headers["Location"] == f"{PREFIX}/runs"
    answer = full_client.get("/diff/m%20&%20n?one=1&other=2", headers=browser, **BELOW)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PREFIX}/diff/m%20&%20n/1/2")
    following = full_client.get("/api/runs?limit=2&q=status+%3D+running", **BELOW).headers["Link"]
    assert re.fullmatch(rf'<{PREFIX}/api/runs\?limit=2&q=status\+%3D\+running&offset=2>; rel="next"', following)


def test_commands_and_reports_contain_the_prefix(full_client: FlaskClient) -> None:
    host = f"http://localhost{PREFIX}"
    for path in ("/", "/llms.txt"):
        assert f"HOST={host}\n" in full_client.get(path, **BELOW).text
    assert f"curl {host}/docs/" in full_client.get("/docs", **BELOW).text
    assert f"{host}/runs/one" in full_client.get("/api/runs/one?format=txt", **BELOW).text
    assert f'RUN="{host}/api/w/runs/one"' in html.unescape(full_client.get("/runs/one", **BELOW).text)
    model = html.unescape(full_client.get("/models/m%20&%20n", **BELOW).text)
    assert f'"{host}/api/models/m%20&%20n/latest/download"' in model
    detail = full_client.post("/api/w/runs", data=b"{}", **BELOW).get_json()["detail"]
    assert f"curl {host}/api/w/runs" in detail


def test_name_in_a_command_is_escaped_for_the_shell(client: FlaskClient, log_run: LogRun) -> None:
    log_run(id="r", artifacts={"$HOME/!!.bin": b"x"})
    page = html.unescape(client.get("/runs/r/artifacts/$HOME/!!.bin").text)
    assert '"http://localhost/api/artifacts/r/%24HOME/%21%21.bin/download"' in page


def test_login_redirects_only_below_the_prefix(make_app: Callable[..., Any]) -> None:
    client = make_app(token="s3cret").test_client()
    redirect = client.get("/runs?experiment=iris", headers={"Accept": "text/html"}, **BELOW)
    assert redirect.headers["Location"] == f"{PREFIX}/login?next={PREFIX}/runs?experiment%3Diris"
    for next_url, location in ((f"{PREFIX}/models", f"{PREFIX}/models"), ("/other", f"{PREFIX}/runs")):
        answer = client.post("/login", data={"token": "s3cret", "next": next_url}, **BELOW)
        assert answer.headers["Location"] == location
