"""Every URL that the server gives is built from its routes, so that below --url-prefix all of them lead on."""

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
#: The first segments of the server's paths; what follows one may be a path that was written out.
ROOTS = "runs|api|search|compare|diff|experiments|models|login|logout|docs|static|llms.txt"
#: A path of ours at the beginning of a string or an attribute; $HOST and {{ host }} stand before those in commands.
_WRITTEN_OUT = re.compile(rf"""(?:["'`(=]|\]\(|Location: )/(?:{ROOTS})\b""")
#: Paths that are compared with a request's, below the prefix, before there is a route.
_COMPARED = {
    "auth.py": {"/login", "/logout"},
    "errors.py": {"/api", "/api/"},
    "metrics_fast_path.py": {r"/api/w/runs/([A-Za-z0-9._-]+)/metrics\Z"},
}
PREFIX = "/tracker"
BELOW = {"base_url": f"http://localhost{PREFIX}"}


def strings(path: Path) -> Iterator[str]:
    """The texts in a module: not those of its docstrings, nor its routes."""
    tree = ast.parse(path.read_text())
    passed_over = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
            if ast.get_docstring(node) is not None:
                passed_over.add(node.body[0].value)  # type: ignore[attr-defined]
            for decorator in getattr(node, "decorator_list", []):
                passed_over.update(ast.walk(decorator))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed_over:
            yield node.value


@pytest.mark.parametrize("path", sorted(WEB.rglob("*.py")), ids=lambda path: str(path.relative_to(WEB)))
def test_module_writes_out_no_url(path: Path) -> None:
    wrong = {text for text in strings(path) if re.match(rf"/(?:{ROOTS})\b", text)}
    assert wrong <= _COMPARED.get(path.name, set())


@pytest.mark.parametrize(
    "path",
    sorted((*WEB.glob("templates/*"), *WEB.glob("static/*.js"), *WEB.glob("static/*.css"))),
    ids=lambda p: p.name,
)
def test_template_or_script_writes_out_no_url(path: Path) -> None:
    assert not _WRITTEN_OUT.findall(path.read_text())


@pytest.mark.parametrize(
    "text",
    ['<a href="/runs">', "<form action='/login'>", "fetch(`/api/runs`)", 'const a = "/search";', "[m](/docs/api)"],
)
def test_written_out_url_is_found(text: str) -> None:
    assert _WRITTEN_OUT.search(text)


# -- what is answered below a prefix


@pytest.fixture
def stored(client: FlaskClient, log_run: LogRun) -> FlaskClient:
    """Some of everything that pages show; names have slashes, spaces and what a query string takes for its own."""
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
        register = {"name": "m & n", "run_id": run_id, "artifact": "docs/p.png"}
        assert client.post("/api/w/models", json=register).status_code == 200
    log_run(id="gone")
    client.post("/api/w/runs/gone/trash")
    return client


def links(text: str, attributes: str) -> set[str]:
    """The values of some attributes of a page, without anchors."""
    found = re.findall(rf'\b(?:{attributes})="([^"]*)"', text)
    return {html.unescape(each).partition("#")[0] for each in found} - {""}


def test_every_link_of_every_page_leads_below_the_prefix(stored: FlaskClient) -> None:
    """From page to page by the links alone, one of each kind of query string."""
    browser = {"Accept": "text/html"}
    waiting, seen = [f"{PREFIX}/runs", f"{PREFIX}/runs?deleted=true"], set()
    while waiting:
        url = waiting.pop()
        kind = re.sub("=[^&]*", "", url)
        if kind in seen:
            continue
        seen.add(kind)
        answer = stored.get(url.removeprefix(PREFIX), headers=browser, **BELOW)
        assert answer.status_code == 200, (url, answer.text)
        if answer.mimetype != "text/html":
            continue
        assert all(each.startswith(f"{PREFIX}/") for each in links(answer.text, "action|formaction")), url
        ours = {each for each in links(answer.text, "href|src|data-page") if not each.startswith(("http", "data:"))}
        assert all(each.startswith(f"{PREFIX}/") for each in ours), (url, ours)
        waiting += sorted(ours)
    pages = {re.sub(r"\?.*", "", url) for url in seen}
    for path in (
        "experiments/a%2F..%2Fb",
        "runs/one/charts",
        "runs/one/artifacts/docs/read%20me.md",
        "docs/reverse-proxy",
    ):
        assert f"{PREFIX}/{path}" in pages
    assert {f"{PREFIX}/runs/one/images/docs/p.png", f"{PREFIX}/models/m%20&%20n", f"{PREFIX}/static/page.js"} <= pages


def test_redirects_and_link_headers_lead_below_the_prefix(stored: FlaskClient) -> None:
    browser = {"Accept": "text/html"}
    assert stored.get("/", headers=browser, **BELOW).headers["Location"] == f"{PREFIX}/runs"
    answer = stored.get("/diff/m%20&%20n?one=1&other=2", headers=browser, **BELOW)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PREFIX}/diff/m%20&%20n/1/2")
    following = stored.get("/api/runs?limit=2&q=status+%3D+running", **BELOW).headers["Link"]
    assert re.fullmatch(rf'<{PREFIX}/api/runs\?limit=2&q=status\+%3D\+running&offset=2>; rel="next"', following)


def test_commands_and_reports_name_the_prefix(stored: FlaskClient) -> None:
    host = f"http://localhost{PREFIX}"
    for path in ("/", "/llms.txt"):
        assert f"HOST={host}\n" in stored.get(path, **BELOW).text
    assert f"curl {host}/docs/" in stored.get("/docs", **BELOW).text
    assert f"{host}/runs/one" in stored.get("/api/runs/one?format=txt", **BELOW).text
    assert f'RUN="{host}/api/w/runs/one"' in html.unescape(stored.get("/runs/one", **BELOW).text)
    model = html.unescape(stored.get("/models/m%20&%20n", **BELOW).text)
    assert f'"{host}/api/models/m%20&%20n/latest/download"' in model
    refused = stored.post("/api/w/runs", data=b"{}", **BELOW).get_json()["detail"]
    assert f"curl {host}/api/w/runs" in refused


def test_name_in_a_command_does_nothing_in_a_shell(client: FlaskClient, log_run: LogRun) -> None:
    log_run(id="r", artifacts={"$HOME/!!.bin": b"x"})
    page = html.unescape(client.get("/runs/r/artifacts/$HOME/!!.bin").text)
    assert '"http://localhost/api/artifacts/r/%24HOME/%21%21.bin/download"' in page


def test_login_leads_back_below_the_prefix_alone(make_app: Callable[..., Any]) -> None:
    client = make_app(token="s3cret").test_client()
    asked = client.get("/runs?experiment=iris", headers={"Accept": "text/html"}, **BELOW)
    assert asked.headers["Location"] == f"{PREFIX}/login?next={PREFIX}/runs?experiment%3Diris"
    for wanted, followed in ((f"{PREFIX}/models", f"{PREFIX}/models"), ("/other", f"{PREFIX}/runs")):
        answer = client.post("/login", data={"token": "s3cret", "next": wanted}, **BELOW)
        assert answer.headers["Location"] == followed
