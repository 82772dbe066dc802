"""Access control: Host, Origin and Sec-Fetch-Site, the token, a browser's login; and the headers of every response."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.servers import Server

from chachaml_lite.web.auth import cookie_name, cookie_value

TOKEN = "s3cret and long"
MakeApp = Callable[..., Flask]


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


# -- Host


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LocalHost:8080", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8080"],
)
def test_host_of_this_machine_is_accepted(client: FlaskClient, host: str) -> None:
    assert client.get("/api/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "localhost.",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "::1",
        "[::1",
        "x[::1]",
        "[::1]x",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "localhost?evil.example",
        "localhost#evil.example",
        "localhost\\evil.example",
        "localhost:80:90",
        "localhost:http",
        "localhost:123456",
        "localhost:$(id)",
        "localhost, evil.example",
        "local host",
        "localhost\t",
        "ｌｏｃａｌｈｏｓｔ".encode().decode("latin-1"),
        "",
    ],
)
def test_another_host_is_403_on_every_route(client: FlaskClient, host: str) -> None:
    for path in ("/api/health", "/api/runs", "/api/no/such/route"):
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code, answer.get_json()["error"]) == (403, "forbidden")
    page = client.get("/runs", headers={"Host": host})
    assert (page.status_code, page.mimetype) == (403, "text/html")


def test_request_without_a_host_is_403(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /api/health HTTP/1.0\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 403
        assert b'"error": "forbidden"' in answer.read()


def test_allowed_hosts_are_those_of_the_setting_and_the_bound_address(make_app: MakeApp) -> None:
    client = make_app(allowed_hosts=("Runs.Example", "[fe80::1]", "tracker:9000"), host="10.0.0.7").test_client()
    for host, status in [
        ("runs.example", 200),
        ("RUNS.example:443", 200),
        ("10.0.0.7:8080", 200),
        ("[fe80::1]:8080", 200),
        ("tracker", 200),
        ("localhost", 200),
        ("a.runs.example", 403),
        ("10.0.0.8", 403),
    ]:
        assert client.get("/api/health", headers={"Host": host}).status_code == status, host


def test_binding_to_every_address_allows_no_host_named_after_it(make_app: MakeApp) -> None:
    client = make_app(host="0.0.0.0").test_client()
    assert client.get("/api/health", headers={"Host": "0.0.0.0:8080"}).status_code == 403


# -- writes of other sites

WRITE = ("/api/w/runs", {"experiment": "iris"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost:8080"},
        {"Origin": "HTTP://LOCALHOST:8080"},
        {"Origin": "https://localhost:8080"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8080"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://tracker.example.org"},  # behind a proxy with this name
    ],
)
def test_write_of_own_page_or_of_a_program_is_accepted(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post(WRITE[0], json=WRITE[1], headers={"Host": "localhost:8080", **headers})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Origin": "http://localhost:8080.evil.example"},
        {"Origin": "http://localhost:8080/"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8080"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "none", "Origin": "null"},
    ],
)
def test_write_of_another_sites_page_is_403_and_stores_nothing(client: FlaskClient, headers: dict[str, str]) -> None:
    before = client.get("/api/runs").headers["X-Total-Count"]
    answer = client.post(WRITE[0], json=WRITE[1], headers={"Host": "localhost:8080", **headers})
    assert (answer.status_code, answer.get_json()["error"]) == (403, "forbidden")
    assert client.get("/api/runs").headers["X-Total-Count"] == before


def test_deleting_and_logging_in_are_writes_too(make_app: MakeApp) -> None:
    client = make_app(token=TOKEN).test_client()
    origin = {"Origin": "http://evil.example", "Authorization": f"Bearer {TOKEN}"}
    assert client.delete("/api/w/runs/x", headers=origin).status_code == 403
    assert client.post("/login", data={"token": TOKEN}, headers=origin).status_code == 403
    assert client.post("/logout", headers=origin).status_code == 403


def test_login_form_works_over_http_on_a_lan_without_sec_fetch_site(make_app: MakeApp) -> None:
    client = make_app(token=TOKEN, allowed_hosts=("tracker.test",)).test_client()
    lan = {"Host": "tracker.test:8080"}
    # With this policy our own forms send our Origin; with no-referrer it would be `null`, as another site's may be.
    assert client.get("/login", headers=lan).headers["Referrer-Policy"] == "same-origin"
    for origin, status in (("http://tracker.test:8080", 303), ("null", 403), ("http://evil.test:8080", 403)):
        for path in ("/login", "/logout"):
            answer = client.post(path, data={"token": TOKEN}, headers={**lan, "Origin": origin})
            assert answer.status_code == status, (origin, path)


def test_write_through_a_proxy_is_accepted_from_the_public_url(make_app: MakeApp) -> None:
    client = make_app(public_url="https://tracker.example.org:8443").test_client()
    for host in ("tracker.example.org:8443", "tracker.example.org", "localhost:8080"):  # as proxies keep or change it
        for origin, status in (
            ("https://tracker.example.org:8443", 200),
            ("https://other.example.org:8443", 403),
            ("null", 403),
        ):
            answer = client.post(WRITE[0], json=WRITE[1], headers={"Host": host, "Origin": origin})
            assert answer.status_code == status, (host, origin)


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("runs.lab.example:8080", ["'runs.lab.example:8080'", "--allowed-host runs.lab.example ", "--public-url"]),
        ("", ["no Host header", "--allowed-host NAME"]),
        ("evil@x\x1b[31m", ["--allowed-host NAME"]),
        ("$(id)", ["--allowed-host NAME"]),
        ("-rf", ["--allowed-host NAME"]),
        ("[fe80::1]:80", ["--allowed-host fe80::1 "]),
        ("größe.example".encode().decode("latin-1"), ["--allowed-host NAME"]),
        ("x" * 5000, ["--allowed-host xxx"]),
    ],
)
def test_403_for_an_unknown_host_names_it_and_the_option_that_allows_it(
    client: FlaskClient, host: str, parts: list[str]
) -> None:
    answer = client.get("/api/runs", headers={"Host": host})
    assert answer.status_code == 403
    detail = answer.get_json()["detail"]
    assert all(part in detail for part in parts) and detail.isascii() and detail.isprintable() and len(detail) < 1000


def test_read_of_another_sites_page_is_answered_without_cors_headers(client: FlaskClient) -> None:
    answer = client.get("/api/runs", headers={"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]


# -- the token

#: The routes that a probe, a login and the pages' static files need, and no others.
OPEN_ROUTES = {"service.health", "login.form", "login.log_in", "static"}


def test_every_route_but_the_open_ones_requires_the_token(make_app: MakeApp) -> None:
    app = make_app(token=TOKEN)
    client = app.test_client()
    endpoints = set()
    for rule in app.url_map.iter_rules():
        endpoints.add(rule.endpoint)
        with app.test_request_context():
            path = rule.build(dict.fromkeys(rule.arguments, "1")) or (None, "")
        for method in sorted(rule.methods or ()):
            if (rule.endpoint, method) == ("login.log_in", "POST"):
                continue  # the view itself responds with 401 to a wrong token
            status = client.open(path[1], method=method).status_code
            assert (status == 401) == (rule.endpoint not in OPEN_ROUTES), (rule, method)
    assert endpoints > OPEN_ROUTES
    assert client.get("/api/no/such/route").status_code == 401
    assert client.get("/no/such/page").status_code == 401


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer   {TOKEN} ", 200),
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN.upper()}", 401),
        ("Bearer \xff\xfe", 401),
    ],
)
def test_token_is_accepted_only_as_bearer(make_app: MakeApp, header: str | None, status: int) -> None:
    client = make_app(token=TOKEN).test_client()
    answer = client.get("/api/runs", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == status
    if status == 401:
        assert answer.get_json()["error"] == "unauthorized"
        assert "Authorization: Bearer" in answer.get_json()["detail"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_non_ascii_token_is_accepted_as_curl_sends_it(make_app: MakeApp) -> None:
    client = make_app(token="geheimnß").test_client()
    as_sent = "Bearer geheimnß".encode().decode("latin-1")  # a server sees the bytes of a header as latin-1
    assert client.get("/api/runs", headers={"Authorization": as_sent}).status_code == 200
    assert client.post("/login", data={"token": "geheimnß"}).status_code == 303


def test_wrong_token_stores_nothing(make_app: MakeApp) -> None:
    client = make_app(token=TOKEN).test_client()
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post(WRITE[0], json=WRITE[1], headers={"Authorization": "Bearer no"}).status_code == 401
    assert client.get("/api/runs", headers=right).get_json() == []
    assert client.post(WRITE[0], json=WRITE[1], headers=right).status_code == 200


def test_server_without_a_token_ignores_the_authorization_header(client: FlaskClient) -> None:
    assert client.get("/api/runs", headers={"Authorization": "Bearer whatever"}).status_code == 200


# -- login in a browser


def test_browser_logs_in_once_and_out_again(make_app: MakeApp) -> None:
    client = make_app(token=TOKEN).test_client()
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    redirect = client.get("/runs?experiment=iris", headers=browser)
    assert (redirect.status_code, redirect.headers["Location"]) == (303, "/login?next=/runs?experiment%3Diris")

    form = client.get(redirect.headers["Location"], headers=browser)
    assert form.status_code == 200
    assert '<input type="hidden" name="next" value="/runs?experiment=iris">' in form.text

    wrong = client.post("/login", data={"token": "guess", "next": "/runs"})
    assert (wrong.status_code, wrong.mimetype) == (401, "text/html")
    assert "Wrong token." in wrong.text
    assert "Set-Cookie" not in wrong.headers

    right = client.post("/login", data={"token": TOKEN, "next": "/runs?experiment=iris"})
    assert (right.status_code, right.headers["Location"]) == (303, "/runs?experiment=iris")
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    page = client.get("/runs", headers=browser)
    assert page.status_code == 200 and 'action="/logout"' in page.text
    assert client.get("/api/runs").status_code == 200

    logout = client.post("/logout")
    assert (logout.status_code, logout.headers["Location"]) == (303, "/login")
    assert client.get("/api/runs").status_code == 401


def test_login_page_redirects_without_a_token(make_app: MakeApp) -> None:
    client = make_app().test_client()
    answer = client.get("/login?next=/runs%3Fexperiment=iris")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs?experiment=iris")
    assert "/logout" not in client.get("/runs").text


def test_cookie_of_another_token_is_refused(make_app: MakeApp) -> None:
    client = make_app(token="the old one").test_client()
    assert client.post("/login", data={"token": "the old one"}).status_code == 303
    cookie = client.get_cookie(cookie_name("the old one"))
    assert cookie is not None
    client = make_app(token=TOKEN).test_client()
    for name in (cookie_name("the old one"), cookie_name(TOKEN)):
        for value in (cookie.value, TOKEN, cookie_name(TOKEN)):
            client.set_cookie(name, value)
            assert client.get("/api/runs").status_code == 401


def test_two_servers_of_one_host_do_not_log_each_other_out(make_app: MakeApp) -> None:
    cookies: dict[str, str] = {}
    for token in ("one", "other"):
        client = make_app(token=token).test_client()
        for name, value in cookies.items():
            client.set_cookie(name, value)
        client.post("/login", data={"token": token})
        cookies |= {cookie.key: cookie.value for cookie in [client.get_cookie(cookie_name(token))] if cookie}
    assert len(cookies) == 2
    for token in ("one", "other"):  # a browser sends both to both: it keeps them by host, not by port
        client = make_app(token=token).test_client()
        for name, value in cookies.items():
            client.set_cookie(name, value)
        assert client.get("/api/runs").status_code == 200
        out = client.post("/logout")
        assert [line.partition("=")[0] for line in out.headers.getlist("Set-Cookie")] == [cookie_name(token)]
        assert token not in cookie_name(token)


@pytest.mark.parametrize(
    ("public_url", "is_secure"),
    [("https://tracker.example.org", True), ("http://tracker.example.org", False), (None, False)],
)
def test_cookie_is_secure_where_the_public_url_is_https(
    make_app: MakeApp, public_url: str | None, is_secure: bool
) -> None:
    client = make_app(token=TOKEN, public_url=public_url).test_client()
    for path in ("/login", "/logout"):
        cookie = client.post(path, data={"token": TOKEN}).headers["Set-Cookie"]
        assert ("; Secure" in cookie) == is_secure
        client = client.application.test_client()
        client.set_cookie(cookie_name(TOKEN), cookie_value(TOKEN))


def test_commands_and_reports_contain_the_public_url(make_app: MakeApp) -> None:
    client = make_app(public_url="https://tracker.example.org").test_client()
    run_id = client.post("/api/w/runs", json={"experiment": "iris"}).get_json()["id"]
    ours = "https://tracker.example.org"
    assert f"\nHOST={ours}\n" in client.get("/").text
    assert f'RUN="{ours}/api/w/runs/{run_id}"' in unescape(client.get(f"/runs/{run_id}").text)
    assert f"{ours}/runs/{run_id}" in client.get(f"/api/runs/{run_id}?format=txt").text
    assert f"curl {ours} shows" in client.get("/api/runs?experiment=none&format=txt").text
    assert ours in client.get("/docs").text
    for page in ("/", f"/runs/{run_id}", "/docs", "/search", "/api/runs?format=txt"):
        assert "http://localhost" not in client.get(page).text, page


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\n/evil.example",
        "/runs\r\nSet-Cookie: a=b",
        "\t//evil.example",
        " //evil.example",
        "/\x00",
        "",
    ],
)
def test_login_never_leads_to_another_site(make_app: MakeApp, elsewhere: str) -> None:
    client = make_app(token=TOKEN).test_client()
    answer = client.post("/login", data={"token": TOKEN, "next": elsewhere})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs")
    form = client.get("/login", query_string={"next": elsewhere})
    assert '<input type="hidden" name="next" value="/runs">' in form.text


def test_browser_gets_the_login_page_and_a_program_the_error(make_app: MakeApp) -> None:
    client = make_app(token=TOKEN).test_client()
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 303
    assert client.get("/", headers={"Accept": "*/*"}).status_code == 401
    assert client.post("/api/w/runs", json={}, headers={"Accept": "text/html"}).status_code == 401


# -- headers


@pytest.mark.parametrize(
    "path", ["/api/runs", "/runs", "/", "/api/none", "/none", "/static/style.css", "/api/runs/none", "/login"]
)
def test_every_response_has_the_security_headers(client: FlaskClient, path: str) -> None:
    for host in ("localhost", "evil.example"):
        headers = client.get(path, headers={"Host": host}).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_uploaded_page_is_downloaded_as_a_file_in_a_sandbox(client: FlaskClient, log_run: Callable[..., str]) -> None:
    run_id = log_run(artifacts={"evil.html": b"<script>alert(1)</script>"})
    answer = client.get(f"/api/artifacts/{run_id}/evil.html/download")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


def test_server_header_is_not_sent(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/api/runs")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.getheader("Server") is None
