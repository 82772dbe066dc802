"""Runs and comparisons saved as one HTML file: complete, without scripts, and without any external source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support.calls import LogRun
from support.commands import cli
from support.servers import Server
from support.strict_html import StrictPage

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf500f00038801"
    "015a2dbc5e0000000049454e44ae426082"
)
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def upload(client: FlaskClient, run_id: str, name: str, content: bytes) -> None:
    path = f"/api/w/runs/{run_id}/artifacts"
    answer = client.post(path, query_string={"name": name}, data=content, content_type="application/octet-stream")
    assert answer.status_code == 200, answer.text


@pytest.fixture
def run_id(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run that has something of everything, with hostile text."""
    points = [{"loss": 1 / step, "system/cpu": step % 7, "step": step} for step in range(1, 60)]
    run_id = log_run(name=HOSTILE, params={"lr": 0.1, HOSTILE: [HOSTILE]}, metrics=points, tags={"a": HOSTILE})
    client.post(f"/api/w/runs/{run_id}/note", json={"note": f"# Result\n\n![plot](plot.png)\n\n{HOSTILE}"})
    upload(client, run_id, "plot.png", PNG)
    upload(client, run_id, "large.png", PNG + bytes(1_000_000))
    upload(client, run_id, "weights.bin", b"\0" * 10)
    return run_id


def assert_self_contained(text: str) -> None:
    """Assert that the file is strict HTML without scripts, in which each source is a data URL."""
    for tag, attributes in StrictPage(text).elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        assert attributes.get("src", "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|url\((?!['\"]?data:)", text.partition("</style>")[0])


def test_saved_run_is_complete_and_self_contained(client: FlaskClient, run_id: str) -> None:
    answer = client.get(f"/runs/{run_id}?format=html")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{run_id}.html"'
    policy = answer.headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    text = answer.text
    assert_self_contained(text)
    assert "light-dark(" in text and "@media print" in text
    assert text.count("<svg") >= 2, "a chart for each metric, of closed sections too"
    assert text.count("data:image/png;base64,") == 2, "in the note, and among the artifacts"
    for part in ("lr", "0.1", "system/cpu", "Result", "weights.bin", "large.png"):
        assert part in text
    assert client.get(f"/runs/{run_id}?format=html").headers["Content-Security-Policy"] == policy, (
        "the same on a second request"
    )


def test_saved_comparison_is_complete_and_self_contained(client: FlaskClient, run_id: str, log_run: LogRun) -> None:
    other = log_run(name="other", params={"lr": 0.2}, metrics=[{"loss": 2 / step, "step": step} for step in (1, 2)])
    answer = client.get(f"/compare?ids={run_id},{other}&format=html")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="comparison.html"'
    assert_self_contained(answer.text)
    assert "Comparison of 2 runs" in answer.text and answer.text.count("<figure") == 2
    assert "★" in answer.text


def test_saved_comparison_has_complete_sections(client: FlaskClient, log_run: LogRun) -> None:
    keys = [f"{part}/{number}" for part in ("grad", "weight", "system") for number in range(300)]
    ids = [log_run(metrics=dict.fromkeys(keys, number), params=dict.fromkeys(keys, number)) for number in range(2)]
    text = client.get(f"/compare?ids={','.join(ids)}&format=html").text
    rows = re.findall(r'<th scope="row" class="key">([^<]*)</th>', text)
    assert sorted(key for key in rows if key in keys) == sorted(2 * keys)
    sections = re.findall(r"<details( open)?><summary>(\w+) <small>300", text)
    assert (
        sections == [(is_open, part) for part, is_open in (("grad", " open"), ("weight", " open"), ("system", ""))] * 2
    )
    assert "left out of this file" not in text


@pytest.mark.parametrize("path", ["/runs/RUN", "/compare?ids=RUN,RUN2"])
def test_unknown_format_of_a_page_is_400(client: FlaskClient, log_run: LogRun, path: str) -> None:
    log_run(id="RUN")
    log_run(id="RUN2")
    answer = client.get(path + ("&" if "?" in path else "?") + "format=pdf")
    assert answer.status_code == 400 and "format=html" in answer.text


def test_report_command_writes_the_file(server: Server, tmp_path: Path) -> None:
    with_url = {"CHACHAML_URL": server.url}
    cli("run", "-e", "iris", "--id", "one", "--no-env", "--", "true", env=with_url)
    for where in (["--url", server.url], ["--data", str(server.data)]):
        result = cli("report", "one", "--format", "html", *where)
        assert result.stdout.startswith("<!doctype html>")
        assert ("Saved from" in result.stdout) == ("--url" in where)
    error = cli("report", "iris", "--format", "html", "--url", server.url, code=2)
    assert "use a run" in error.stderr
