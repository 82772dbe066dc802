"""The manual over HTTP: each page for browsers and for curl, its links, its examples with the host of the request."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import chachaml_lite

DOCS = Path(chachaml_lite.__file__).parent / "docs"
NAMES = sorted(path.stem for path in DOCS.glob("*.md"))
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def read_source(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def build_path(name: str) -> str:
    return "/docs" if name == "index" else f"/docs/{name}"


def find_anchors(source: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#{1,6} (.*)", re.sub(r"^```.*?^```", "", source, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_page_is_html_for_a_browser_and_markdown_for_curl(shared_client: FlaskClient, name: str) -> None:
    title = read_source(name).partition("\n")[0].removeprefix("# ")
    page = shared_client.get(build_path(name), headers=BROWSER)
    assert page.status_code == 200 and page.mimetype == "text/html"
    assert f"<title>{title}" in page.text
    text = shared_client.get(build_path(name), headers={"Accept": "*/*"})
    assert (text.status_code, text.mimetype) == (200, "text/markdown")
    assert text.text.startswith(f"# {title}\n")
    assert shared_client.get(f"/docs/{name}.md").text == text.text


@pytest.mark.parametrize("name", NAMES)
def test_links_of_a_page_lead_to_pages_and_headings_that_exist(shared_client: FlaskClient, name: str) -> None:
    source = read_source(name)
    for page, anchor in re.findall(r"\]\(([a-z-]+)\.md(?:#([\w-]+))?\)", source):
        assert page in NAMES, f"{name} links to {page}"
        assert not anchor or anchor in find_anchors(read_source(page)), f"{name} links to {page}#{anchor}"
        href = f"{build_path(page)}#{anchor}" if anchor else build_path(page)
        assert f'href="{href}"' in shared_client.get(build_path(name), headers=BROWSER).text
        assert not anchor or f'id="{anchor}"' in shared_client.get(build_path(page), headers=BROWSER).text


def test_index_lists_every_page(shared_client: FlaskClient) -> None:
    listed_names = re.findall(r"^- \[.*?\]\(([a-z-]+)\.md\): .", read_source("index"), re.M)
    assert sorted([*listed_names, "index"]) == NAMES
    page = shared_client.get("/docs", headers=BROWSER).text
    assert all(f'href="/docs/{name}"' in page for name in listed_names)


@pytest.mark.parametrize("name", NAMES)
def test_no_page_uses_html_which_the_renderer_shows_as_text(name: str) -> None:
    assert not re.search(r"^</?(details|summary|br|img|a)\b", read_source(name), re.M)


def test_examples_name_the_host_that_was_called(shared_client: FlaskClient) -> None:
    answer = shared_client.get("/docs", base_url="http://localhost:9123")
    assert "http://localhost:9123/docs/NAME" in answer.text and "localhost:8080" not in answer.text


def test_unknown_page_is_404_as_a_page_and_as_json(shared_client: FlaskClient) -> None:
    for name in ("nothing", "..%2fsecret", "index.html", "INDEX"):
        answer = shared_client.get(f"/docs/{name}", headers=BROWSER)
        assert answer.status_code == 404 and answer.mimetype == "text/html", name


def test_page_is_304_while_the_version_is_the_same(shared_client: FlaskClient) -> None:
    first = shared_client.get("/docs")
    shared_client.post("/api/w/runs", json={"experiment": "iris"})
    assert shared_client.get("/docs", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_llms_txt_names_routes_that_exist_and_its_example_logs_a_run(shared_client: FlaskClient) -> None:
    text = shared_client.get("/llms.txt").text
    assert "HOST=http://localhost\n" in text
    paths = re.findall(r"^- (GET|POST) \$HOST(/[^ ?]*)", text, re.M)
    assert len(paths) > 15
    rules = shared_client.application.url_map.bind("localhost")
    for method, path in paths:
        assert rules.match(path.rstrip(",").replace("ID", "r"), method), path
