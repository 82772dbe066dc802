"""Behind nginx and Caddy with TLS, configured as the manual says, at the root and below a path."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect
from support.browsers import Viewer
from support.servers import PATIENCE_SECONDS, Server, free_port, wait_until

pytest_plugins = "support.browsers"

MANUAL = Path(__file__).parents[1] / "chachaml_lite/docs/reverse-proxy.md"
NAME = "tracker.test"
TOKEN = "s3cret"


@dataclass
class Site:
    """A server behind a proxy, below `prefix`. `curl` sends requests like the manual's commands and returns bodies."""

    url: str
    prefix: str
    server: Server
    curl: Callable[..., bytes]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def adapt_block(language: str, *replacements: tuple[str, str]) -> str:
    """Return the manual's block of a language, with its example values replaced by those of this test."""
    match = re.search(rf"```{language}\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    assert match is not None
    block = match[1]
    for placeholder, replacement in replacements:
        assert placeholder in block
        block = block.replace(placeholder, replacement)
    return block


def make_nginx_config(port: int, upstream: int, folder: Path, prefix: str) -> str:
    """Return a complete configuration from the manual's block, with the ports and files of this test."""
    server = adapt_block(
        "nginx",
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/certs/tracker.pem", f"{folder}/tracker.pem"),
        ("/etc/ssl/private/tracker.key", f"{folder}/tracker.key"),
        ("tracker.example.org", NAME),
        ("http://127.0.0.1:8080;", f"http://127.0.0.1:{upstream};"),
        ("location / {", f"location {prefix}/ {{"),
    )
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};\n" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}}}\n"
    )


def make_caddy_config(port: int, upstream: int, folder: Path, prefix: str) -> str:
    """Return the same for Caddy, with a certificate of this test: Caddy would fetch one."""
    server = adapt_block(
        "caddy",
        ("tracker.example.org {", f"https://{NAME}:{port} {{\n    bind 127.0.0.1\n    tls tracker.pem tracker.key"),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
    )
    if prefix:
        assert "`handle /tracker/* { ... }`" in MANUAL.read_text()
        server = server.replace("reverse_proxy", f"handle {prefix}/* {{\n        reverse_proxy")
        server = server.replace(f":{upstream}\n", f":{upstream}\n    }}\n")
    return f"{{\n    admin off\n    auto_https off\n    storage file_system {folder}\n}}\n{server}"


def configure_proxy(name: str, program: str, port: int, upstream: int, folder: Path, prefix: str) -> list[str]:
    """Return the command of a proxy that serves `upstream` on `port`, with its configuration in `folder`."""
    if name == "caddy":
        (folder / "Caddyfile").write_text(make_caddy_config(port, upstream, folder, prefix))
        return [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    (folder / "nginx.conf").write_text(make_nginx_config(port, upstream, folder, prefix))
    return [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]


PROXIES = [(name, prefix) for name in ("nginx", "caddy") for prefix in ("", "/tracker")]


@pytest.fixture(params=PROXIES, ids=[f"{name}{prefix}" for name, prefix in PROXIES])
def site(
    serve: Callable[..., Server], tool: Callable[[str], str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Site]:
    name, prefix = request.param
    program, openssl, curl = tool(name), tool("openssl"), tool("curl")
    folder = tmp_path / "proxy"
    folder.mkdir()
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
        + ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", "tracker.key", "-out", "tracker.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    port = free_port()
    url = f"https://{NAME}:{port}{prefix}"
    server = serve("--public-url", url, CHACHAML_TOKEN=TOKEN)
    assert server.url.endswith(f":{server.port}{prefix}")
    command = configure_proxy(name, program, port, server.port, folder, prefix)
    with (folder / "error.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def run_curl(path: str, *options: str) -> bytes:
        return subprocess.run(
            [curl, "-sS", "--fail-with-body", "--resolve", f"{NAME}:{port}:127.0.0.1"]
            + ["--cacert", str(folder / "tracker.pem"), "-H", f"Authorization: Bearer {TOKEN}", *options, url + path],
            capture_output=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        ).stdout

    try:
        wait_until(lambda: is_listening(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Site(url, prefix, server, run_curl)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


JSON = ("-H", "Content-Type: application/json", "-d")


def test_upload_of_100_mb_and_a_range_of_it_pass_through_the_proxy(site: Site, tmp_path: Path) -> None:
    piece = bytes(range(256)) * 4096
    content = tmp_path / "model.bin"
    with content.open("wb") as file:
        for _ in range(100):
            file.write(piece)
    site.curl("/api/w/runs", *JSON, '{"experiment": "iris", "id": "r"}')
    octets = ("-H", "Content-Type: application/octet-stream", "--data-binary", f"@{content}")
    upload = json.loads(site.curl("/api/w/runs/r/artifacts?name=a%2Fmodel.bin", *octets))
    assert upload["size"] == content.stat().st_size
    assert upload["sha256"] == hashlib.sha256(content.read_bytes()).hexdigest()
    path = "/api/artifacts/r/a%2Fmodel.bin/download"
    assert site.curl(path, "-r", "104857500-") == content.read_bytes()[104857500:]
    assert b"content-range: bytes 5-9/104857600" in site.curl(path, "-r", "5-9", "-i").lower()
    assert not list((tmp_path / "proxy/client_body").glob("**/*.*"))  # the proxy writes no copy of it


def test_texts_and_links_contain_the_public_url(site: Site) -> None:
    assert f"\nHOST={site.url}\n" in site.curl("/").decode()
    run_id = site.curl("/api/w/runs?format=id", *JSON, '{"experiment": "iris"}').decode().strip()
    assert f"{site.url}/runs/{run_id}" in site.curl(f"/api/runs/{run_id}?format=txt").decode()
    assert f"curl {site.url}/docs" in site.curl("/docs").decode()
    for _ in range(2):
        site.curl("/api/w/runs", *JSON, '{"experiment": "iris"}')
    head, _, _ = site.curl("/api/runs?limit=1", "-i").decode().partition("\r\n\r\n")
    next_link = re.search(r"(?i)^link: <([^>]+)>", head, re.MULTILINE)
    assert next_link is not None and next_link[1].startswith(f"{site.prefix}/api/runs?")
    assert len(json.loads(site.curl(next_link[1].removeprefix(site.prefix)))) == 1
    stranger = requests.get(f"{site.server.url}/api/runs", headers={"Host": "other.test"})
    assert (stranger.status_code, "--public-url" in stranger.json()["detail"]) == (403, True)


def test_login_forms_live_updates_and_downloads_work_in_a_browser_behind_the_proxy(site: Site, viewer: Viewer) -> None:
    site.curl("/api/w/runs", *JSON, '{"experiment": "iris", "id": "r", "name": "behind it"}')
    page = viewer.open(f"{site.url}/runs/r", ignore_https_errors=True)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site.url}/runs/r")
    (cookie,) = page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    assert cookie["path"] == (site.prefix or "/")

    site.curl("/api/w/runs/r/metrics", *JSON, '[{"loss": 0.5, "step": 1}, {"loss": 0.25, "step": 2}]')
    expect(page.locator("#metrics td").first).to_contain_text("0.25")  # without a reload
    expect(page.locator("svg.chart")).to_be_visible()

    page.get_by_text("Write a note").click()
    page.get_by_label("Note, in Markdown").fill("seen **through** it")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note strong")).to_have_text("through")
    with page.expect_download() as download:
        page.get_by_role("link", name="Zip").click()
    assert download.value.suggested_filename == "r.zip"

    svg = page.get_by_role("link", name="SVG").get_attribute("href")
    assert page.evaluate("(url) => fetch(url).then((answer) => answer.headers.get('Content-Type'))", svg) == (
        "image/svg+xml; charset=utf-8"
    )
    page.locator("figcaption a").first.click()
    expect(page).to_have_url(f"{site.url}/runs/r/charts?key=loss")
    expect(page.locator("figure.chart-figure svg.chart")).to_be_visible()
    expect(page.locator("#keys")).to_be_visible()  # the keyboard script is loaded
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page).to_have_url(f"{site.url}/experiments")
    page.get_by_role("link", name="iris").click()
    page.get_by_role("link", name="behind it").first.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("This run is in the trash")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("This run is in the trash")).to_be_hidden()
    page.goto(f"{site.url}/")
    expect(page).to_have_url(f"{site.url}/runs")

    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{site.url}/login")


@pytest.mark.parametrize("with_script", [True, False])
def test_login_works_over_http_on_a_host_that_is_not_loopback(
    serve: Callable[..., Server], viewer: Viewer, with_script: bool
) -> None:
    """Browsers send no Sec-Fetch-Site there, but the Origin of a form's page, thanks to our referrer policy."""
    server = serve("--allowed-host", NAME, CHACHAML_TOKEN=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris", "id": "r"}, headers=headers)
    url = f"http://{NAME}:{server.port}"
    page = viewer.open(f"{url}/runs/r", java_script_enabled=with_script)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{url}/runs/r")
    page.get_by_text("Write a note").click()
    page.get_by_label("Note, in Markdown").fill("on a LAN")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note .rendered")).to_have_text("on a LAN")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{url}/login")
    page.goto(f"{url}/runs")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
