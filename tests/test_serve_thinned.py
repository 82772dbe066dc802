"""The file of a long run's thinned series: with it, no chart reads metrics.jsonl; its loss costs only time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import requests
from conftest import open_app
from support.servers import Server, await_ready
from support.verifying import list_problems, load_report

START_MS = 1_700_000_000_000
#: Enough points to be thinned, and more than a cache of SMALL_CACHE holds.
POINTS = 20_000
SMALL_CACHE = ("--series-cache", "100000")


def write_run(data: Path, run_id: str, status: str = "completed", points: int = POINTS) -> Path:
    """Put a long run into a store's folder, like a copy from elsewhere; return its metrics.jsonl."""
    folder = data / "runs" / run_id
    folder.mkdir(parents=True)
    meta = {"id": run_id, "experiment": "long", "name": run_id, "status": status, "start_time": START_MS}
    (folder / "meta.json").write_text(json.dumps({**meta, "end_time": START_MS + 10**9, "error": None}))
    lines = (
        f'{{"key":"loss","value":{math.cos(at / 999) + 2},"step":{at},"timestamp":{START_MS + at * 7}}}\n'
        for at in range(points)
    )
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder / "metrics.jsonl"


def make_unreadable(metrics: Path) -> None:
    """Replace every byte of a file, but keep its size and mtime: parsing it gives no points."""
    status = metrics.stat()
    metrics.write_bytes(b"x" * status.st_size)
    os.utime(metrics, ns=(status.st_atime_ns, status.st_mtime_ns))


CHARTS = [
    *("/runs/a", "/runs/a?x=relative", "/runs/a/charts?key=loss", "/runs/a/charts.svg?key=loss&log_x=1"),
    *("/compare?ids=a,b", "/compare/charts.svg?ids=a,b&key=loss", "/runs?spark=loss", "/runs/b"),
    "/runs/a/charts.svg?key=loss&smoothing=0.9",
]


def count_drawn_points(url: str, path: str) -> int:
    """Return the number of points in the lines of a page's charts, by their paths."""
    answer = requests.get(url + path)
    assert answer.status_code == 200, answer.text
    return answer.text.count("L") + answer.text.count(",")


def test_charts_of_long_runs_are_drawn_without_their_points_even_after_a_restart(
    serve: Callable[..., Server], data: Path
) -> None:
    files = {run_id: write_run(data, run_id) for run_id in ("a", "b")}
    first = serve(*SMALL_CACHE)
    before = {path: count_drawn_points(first.url, path) for path in CHARTS}
    first.stop()
    for metrics in files.values():
        make_unreadable(metrics)
    server = serve(*SMALL_CACHE)
    for _ in range(2):  # two runs in turn, neither of which fits
        for path in CHARTS:
            assert count_drawn_points(server.url, path) > before[path] * 0.8, path
    for query in ("max_points=200", "key=loss&max_points=50"):
        series = requests.get(f"{server.url}/api/runs/a/metrics?{query}").json()["loss"]
        assert (series["total"], series["points"][0]["step"], series["points"][-1]["step"]) == (POINTS, 0, POINTS - 1)
        assert [point["value"] for point in series["points"]] == [
            math.cos(point["step"] / 999) + 2 for point in series["points"]
        ]
    assert "```mermaid" in requests.get(f"{server.url}/api/runs/a?format=md").text
    # The points can't be read, so the charts above were drawn from the other file: else this test would prove nothing.
    assert requests.get(f"{server.url}/api/runs/a/metrics?key=loss").json() == {}


def test_stale_or_damaged_thinned_file_is_ignored_and_rebuilt(serve: Callable[..., Server], data: Path) -> None:
    metrics = write_run(data, "a")
    server = serve(*SMALL_CACHE)
    thinned_file = metrics.with_name(".thinned")
    assert count_drawn_points(server.url, "/runs/a") and thinned_file.exists()
    good = thinned_file.read_bytes()
    chart = "/api/runs/a/metrics?max_points=20"
    expected = requests.get(server.url + chart).json()
    server.stop()

    for content in (b"", good[: len(good) // 2], good[:60] + b"?" + good[61:], good[:-9] + b"x" * 9):
        thinned_file.write_bytes(content)
        server = serve(*SMALL_CACHE)
        assert requests.get(server.url + chart).json()["loss"]["total"] == POINTS
        assert count_drawn_points(server.url, "/runs/a?x=wall")
        server.stop()
        assert thinned_file.read_bytes() == good

    with metrics.open("a") as file:
        file.write(f'{{"key":"loss","value":77.5,"step":{POINTS},"timestamp":{START_MS}}}\n')
    server = serve(*SMALL_CACHE)
    series = requests.get(server.url + chart).json()["loss"]
    assert (series["total"], series["points"][-1]["value"]) == (POINTS + 1, 77.5)
    assert series != expected["loss"]
    thinned_file.unlink()
    assert requests.get(server.url + chart).status_code == 200


def test_thinned_file_is_neither_copied_with_its_run_nor_reported_by_verify(
    serve: Callable[..., Server], data: Path, tmp_path: Path
) -> None:
    metrics = write_run(data, "a")
    thinned_file = metrics.with_name(".thinned")
    server, other = serve(), serve("--data", str(tmp_path / "other"))
    digest = requests.get(f"{server.url}/api/digests?ids=a").json()
    assert count_drawn_points(server.url, "/runs/a") and thinned_file.exists()
    assert requests.get(f"{server.url}/api/digests?ids=a").json() == digest
    assert ".thinned" not in requests.get(f"{server.url}/api/runs/a/manifest").text
    assert requests.get(f"{server.url}/api/runs/a/files/.thinned").status_code == 404
    with zipfile.ZipFile(BytesIO(requests.get(f"{server.url}/api/runs/a/download").content)) as archive:
        assert not [name for name in archive.namelist() if "thinned" in name]
    push = [sys.executable, "-m", "chachaml_lite", "push", other.url, "--data", str(data)]
    subprocess.run(push, capture_output=True, text=True, check=True)
    assert (tmp_path / "other/runs/a/metrics.jsonl").exists()
    assert not (tmp_path / "other/runs/a/.thinned").exists()
    server.stop()
    assert load_report(data)["problems"] == []
    (metrics.parent / "..thinned.tmp").write_bytes(b"half of it")
    assert [problem[1] for problem in list_problems(data)] == ["leftover"]


def test_read_only_server_writes_no_thinned_file(serve: Callable[..., Server], data: Path) -> None:
    metrics = write_run(data, "a")
    server = serve("--read-only")
    assert count_drawn_points(server.url, "/runs/a")
    assert sorted(path.name for path in metrics.parent.iterdir()) == ["meta.json", "metrics.jsonl"]


def test_run_gets_no_thinned_file_before_its_end(server: Server, data: Path) -> None:
    run = requests.post(f"{server.url}/api/w/runs", json={"experiment": "long"}).json()
    base, thinned_file = f"{server.url}/api/w/runs/{run['id']}", data / "runs" / run["id"] / ".thinned"
    points = [{"loss": at / 3, "step": at} for at in range(6000)]
    assert requests.post(f"{base}/metrics", json=points).status_code == 200
    assert count_drawn_points(server.url, f"/runs/{run['id']}") and not thinned_file.exists()
    assert requests.post(f"{base}/end").status_code == 200
    assert count_drawn_points(server.url, f"/runs/{run['id']}") and thinned_file.exists()


KILL_ON_RENAME = """
import os, signal, sys
rename = os.rename
def killing(source, target):
    if str(target).endswith(".thinned"):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.rename = killing
from chachaml_lite.cli import main
main()
"""


def test_leftover_of_a_server_killed_while_writing_the_file_is_removed(
    serve: Callable[..., Server], data: Path, tmp_path: Path
) -> None:
    metrics = write_run(data, "a")
    ready = tmp_path / "ready"
    options = ["serve", "--port", "0", "--data", str(data), "--ready-file", str(ready)]
    process = subprocess.Popen([sys.executable, "-c", KILL_ON_RENAME, *options], stderr=subprocess.DEVNULL)
    url = await_ready(process, ready, tmp_path / "ready")
    with pytest.raises(requests.RequestException):
        requests.get(f"{url}/runs/a")
    assert process.wait(60) == -9
    assert (metrics.parent / "..thinned.tmp").exists()
    server = serve()
    assert not (metrics.parent / "..thinned.tmp").exists()
    assert count_drawn_points(server.url, "/runs/a") and metrics.with_name(".thinned").exists()


def test_thinned_file_of_another_program_never_breaks_a_page(data: Path) -> None:
    metrics = write_run(data, "a")
    with open_app(data) as app:
        assert app.test_client().get("/runs/a").status_code == 200
    thinned_file = metrics.with_name(".thinned")
    header = json.dumps({"size": metrics.stat().st_size, "mtime_ns": metrics.stat().st_mtime_ns, "series": {"loss": 5}})
    line = b"chachaml-lite thinned 1 %d %d" % (len(header), zlib.crc32(header.encode()))
    strays: list[Callable[[], object]] = [
        *(thinned_file.mkdir, lambda: thinned_file.symlink_to(metrics), lambda: os.mkfifo(thinned_file)),
        lambda: thinned_file.write_bytes(line.ljust(47) + b"\n" + header.encode()),
        lambda: thinned_file.write_bytes(b"chachaml-lite thinned 1 99999999999999 1".ljust(47) + b"\n"),
    ]
    for create_stray in strays:
        thinned_file.unlink() if not thinned_file.is_dir() else thinned_file.rmdir()
        create_stray()
        with open_app(data) as app:
            assert app.test_client().get("/runs/a").status_code == 200
