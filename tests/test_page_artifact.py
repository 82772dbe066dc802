"""GET /runs/:id/artifacts/:name and /images/:name: uploads are displayed, and none can execute a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import run_logger
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS, register, upload
from support.html_tables import Page

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
ATTACK = b"<script>alert(1)</script>\n<img src=x onerror=alert(2)>"
PAGES_POLICY = "script-src 'self'"


@pytest.fixture(scope="module")
def run_id(shared_client: FlaskClient) -> str:
    return run_logger(shared_client)(name="with files")


def store_artifact(client: FlaskClient, run_id: str, name: str, content: bytes) -> str:
    assert upload(client, run_id, name, content, overwrite="true") == 200
    return f"/runs/{run_id}/artifacts/{quote(name)}"


def test_page_shows_content_checksum_and_download_command(shared_client: FlaskClient, run_id: str) -> None:
    page = shared_client.get(store_artifact(shared_client, run_id, "plots/größe a.txt", b"hello\n")).text
    answer = shared_client.get(f"/api/runs/{run_id}/artifacts").get_json()[0]
    assert answer["sha256"] in page
    assert f"/api/artifacts/{run_id}/plots/gr%C3%B6%C3%9Fe%20a.txt/download" in Page(page).links
    assert "hello" in page
    assert "curl -fo &#39;größe a.txt&#39; " in page


@pytest.mark.parametrize(
    "name",
    ["a.html", "a.svg", "a.txt", "a.csv", "a.json", "a.jsonl", "a.md", "a.png", "a.js", "a.xml", "a", "<script>x.txt"],
)
@pytest.mark.parametrize(
    "content", [ATTACK, b"a,b\n" + ATTACK, b'[{"' + b"<script>x</script>" + b'": "<b>"}]'], ids=["html", "csv", "json"]
)
def test_upload_is_displayed_as_text_on_its_page(
    shared_client: FlaskClient, run_id: str, name: str, content: bytes
) -> None:
    answer = shared_client.get(store_artifact(shared_client, run_id, name, content))
    assert answer.status_code == 200
    assert PAGES_POLICY in answer.headers["Content-Security-Policy"]
    assert "<script>" not in answer.text.lower()
    assert "<img src=x" not in answer.text
    assert "onerror" not in answer.text.replace("onerror=alert(2)&gt;", "")
    assert "<b>" not in answer.text
    image = shared_client.get(f"/runs/{run_id}/images/{quote(name)}")
    assert image.status_code == 400
    assert image.mimetype == "text/html"
    assert "PNG, JPEG, GIF, WebP" in image.text


@pytest.mark.parametrize(
    ("name", "content", "media_type", "disposition"),
    [
        ("a.png", PNG, "image/png", "inline"),
        ("a.html", PNG + ATTACK, "image/png", "inline"),
        ("a.js", b"GIF89a=1;alert(1)", "image/gif", "inline"),
        ("b.jpeg", b"\xff\xd8\xff\xe0" + ATTACK, "image/jpeg", "inline"),
        ("b.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp", "inline"),
        ("c.svg", SVG, "image/svg+xml", "attachment"),
    ],
)
def test_image_has_the_type_of_its_bytes_and_a_strict_policy(
    shared_client: FlaskClient, run_id: str, name: str, content: bytes, media_type: str, disposition: str
) -> None:
    page = shared_client.get(store_artifact(shared_client, run_id, f"images of/{name}", content)).text
    path = f"/runs/{run_id}/images/images%20of/{name}"
    assert f'<img src="{path}?v=' in page
    assert (f'href="{path}' in page) == (disposition == "inline")
    answer = shared_client.get(path)
    assert (answer.status_code, answer.data, answer.mimetype) == (200, content, media_type)
    assert answer.headers["Content-Disposition"].startswith(disposition)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    again = shared_client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    part = shared_client.get(path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.headers["Content-Range"]) == (206, f"bytes 2-4/{len(content)}")


def test_page_of_a_large_file_shows_its_beginning_or_its_end(shared_client: FlaskClient, run_id: str) -> None:
    lines = "".join(f"line {number}\n" for number in range(50_000)).encode()
    path = store_artifact(shared_client, run_id, "train.log", lines)
    beginning, end = shared_client.get(path).text, shared_client.get(f"{path}?part=end").text
    assert "the first 64.0 kB of" in beginning
    assert "line 0\n" in beginning
    assert "line 49999" not in beginning
    assert "the last 64.0 kB of" in end
    assert "line 49999\n" in end
    assert "line 0\n" not in end
    assert max(len(beginning), len(end)) < 80_000
    table = Page(
        shared_client.get(store_artifact(shared_client, run_id, "rows.csv", b"a,b\n" + b"1,x\n" * 40_000)).text
    ).rows
    assert table == [["a", "b"]] + [["1", "x"]] * 200


def test_undisplayable_content_and_errors_have_a_page_with_the_reason(shared_client: FlaskClient, run_id: str) -> None:
    base = f"/runs/{run_id}/artifacts"
    assert "<pre" in shared_client.get(store_artifact(shared_client, run_id, "model.pkl", bytes(range(256)))).text
    assert "00000010  10 11" in shared_client.get(f"{base}/model.pkl").text
    assert "The file is empty." in shared_client.get(store_artifact(shared_client, run_id, "empty.txt", b"")).text
    for path, status, message in (
        (f"{base}/none", 404, "the run has no artifact"),
        ("/runs/none/artifacts/a", 404, "no run has the id"),
        (f"{base}/empty.txt?part=middle", 400, "part must be start or end"),
        (f"{base}/empty.txt?x=1", 400, "unknown query parameter"),
        (f"{base}/../../etc/passwd", 404, ""),
        (f"{base}/%2e%2e%2fmeta.json", 404, ""),
        (f"/runs/{run_id}/images/none", 404, "the run has no artifact"),
        (f"/runs/{run_id}/images/empty.txt", 400, "no image"),
    ):
        answer = shared_client.get(path)
        assert (answer.status_code, answer.mimetype) == (status, "text/html"), path
        assert message in answer.text


def test_missing_bytes_are_404(client: FlaskClient, data: Path) -> None:
    run_id = run_logger(client)(artifacts={"a.png": PNG})
    (data / "runs" / run_id / "blobs" / "a.png").unlink()
    for kind in ("artifacts", "images"):
        answer = client.get(f"/runs/{run_id}/{kind}/a.png")
        assert (answer.status_code, answer.mimetype) == (404, "text/html")


def test_artifact_is_registered_on_its_page(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    run_id = run_logger(client)(artifacts={"a": b"weights"})
    register(client, run_id, "known")
    page = client.get(f"/runs/{run_id}/artifacts/a").text
    assert '<option value="known">' in page
    assert "known 1</a>" in page
    assert 'action="/models"' in page
    form = {"run_id": run_id, "artifact": "a", "name": "known", "stage": "staging"}
    answer = client.post("/models", data={**form, "description": "", "then": f"/runs/{run_id}/artifacts/a"})
    assert answer.status_code == 303
    assert "known 2</a>" in client.get(answer.headers["Location"]).text
    assert "/models/known" in Page(client.get(f"/runs/{run_id}").text).links


def test_read_only_server_offers_no_writes(make_app: Callable[..., Flask]) -> None:
    run_id = run_logger(make_app().test_client())(artifacts={"a": b"weights"})
    client = make_app(read_only=True).test_client()
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/artifacts/a"):
        page = client.get(path)
        assert page.status_code == 200
        assert 'method="post"' not in page.text
    assert "POST" not in client.get(f"/runs/{run_id}").text


def test_page_of_an_artifact_is_304_until_its_bytes_change(shared_client: FlaskClient, run_id: str) -> None:
    path = store_artifact(shared_client, run_id, "live.log", b"one\n")
    etag = {"If-None-Match": shared_client.get(path).headers["ETag"]}
    assert shared_client.get(path, headers=etag).status_code == 304
    store_artifact(shared_client, run_id, "live.log", b"one\ntwo\n")
    answer = shared_client.get(path, headers=etag)
    assert answer.status_code == 200
    assert "two" in answer.text
    assert shared_client.get(path, headers={"Accept": OCTETS}).mimetype == "text/html"


def test_images_have_thumbnails_neighbours_and_a_strip_by_step(client: FlaskClient) -> None:
    run = run_logger(client)(name="samples")
    for step in (1, 2, 10):
        assert upload(client, run, f"samples/step_{step}.png", PNG) == 200
    assert upload(client, run, "notes.txt", b"text") == 200
    page = client.get(f"/runs/{run}").text
    assert page.count('class="thumb"') == 3
    image = client.get(f"/runs/{run}/artifacts/samples/step_2.png").text
    assert f'href="/runs/{run}/artifacts/samples/step_1.png" rel="prev"' in image
    assert f'href="/runs/{run}/artifacts/samples/step_10.png" rel="next"' in image
    assert [part.partition('"')[0] for part in image.split('data-step="')[1:]] == ["1", "2", "10"]
    assert 'data-step="2" data-image="' in image and image.partition('data-step="2"')[2].partition(">")[0].endswith(
        'aria-current="true"'
    )
    assert 'rel="prev"' not in client.get(f"/runs/{run}/artifacts/notes.txt").text
