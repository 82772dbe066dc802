"""A chart of 1,000 points from a very long series."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from . import wire
from .bench import Bench
from .gauges import peak_bytes, resident_bytes
from .stores import make_long_series
from .table import Goal, duration, heading, median, megabytes, row


def chart(run_id: str, key: str = "loss") -> bytes:
    """A request for a chart of 1,000 points."""
    return wire.get(f"/api/runs/{run_id}/metrics?key={key}&max_points=1000")


def parse_seconds(path: Path) -> float:
    """Return the duration of a plain loop of json.loads over the lines of a file."""
    start = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - start


def section(bench: Bench) -> None:
    """First time, again, and only what is new."""
    sizes = bench.sizes
    heading(f"series: a chart of 1,000 points from one series of {sizes.series_points:,}")
    store = bench.folder("series")
    original = make_long_series(bench.folder("long") / "runs" / "long", bench.templates()[0], sizes.series_points)
    parse, first, again, drawn, tail = [], [], [], [], []
    held, peak = 0.0, 0.0
    for number in range(sizes.series_rounds):  # each on a folder that the server has not seen
        run_id = f"long-{number}"
        folder = store / "runs" / run_id
        shutil.copytree(original.parent, folder)
        meta = json.loads((folder / "meta.json").read_bytes())
        (folder / "meta.json").write_text(json.dumps({**meta, "id": run_id}))
        parse.append(parse_seconds(original))
        with bench.server(store) as server, wire.Connection(server.url) as connection:
            first += wire.times(connection, [chart(run_id)])
            again += wire.times(connection, [chart(run_id)] * 5)
            since = f"/api/runs/{run_id}/metrics?key=loss&since_step={sizes.series_points - 100}"
            tail += wire.times(connection, [wire.get(since)] * 3)
            drawn += wire.times(connection, [wire.get(f"/runs/{run_id}/charts.svg?key=loss")] * 5)[1:]
            held = max(held, resident_bytes(server.process.pid))
            peak = max(peak, peak_bytes(server.process.pid))
        shutil.rmtree(folder)
    bench.memory.append((f"after charts of a series of {sizes.series_points:,}", held))
    row(
        "first time, to a plain loop of json.loads over the file",
        duration(median(first)),
        duration(median(parse)),
        median([one / floor for one, floor in zip(first, parse, strict=True)]),
        Goal(1.5, "<= 1.5x"),
    )
    row("again", duration(median(again)), "", None, Goal(0.050, "<= 50 ms"), median(again))
    row("drawn as SVG, again", duration(median(drawn)))
    row("the last 100 points (since_step)", duration(median(tail)))
    row("memory after that, and at its peak", megabytes(held), megabytes(peak))
