"""A chart of 1,000 points from a very long series."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from . import wire
from .bench import Bench
from .gauges import peak_bytes, resident_bytes
from .stores import write_long_series
from .table import Goal, format_duration, format_megabytes, median, print_heading, print_row


def build_chart_request(run_id: str, key: str = "loss") -> bytes:
    """Build a request for a chart of 1,000 points."""
    return wire.get(f"/api/runs/{run_id}/metrics?key={key}&max_points=1000")


def time_parsing(path: Path) -> float:
    """Return the duration of a plain loop of json.loads over the lines of a file."""
    start = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - start


def section(bench: Bench) -> None:
    """Print the time of the first chart, of later ones, and of only the new points."""
    sizes = bench.sizes
    print_heading(f"series: a chart of 1,000 points from one series of {sizes.series_points:,}")
    store = bench.folder("series")
    original = write_long_series(bench.folder("long") / "runs" / "long", bench.templates()[0], sizes.series_points)
    parse, first, again, svg, tail = [], [], [], [], []
    resident, peak = 0.0, 0.0
    for number in range(sizes.series_rounds):  # each on a folder that is new to the server
        run_id = f"long-{number}"
        folder = store / "runs" / run_id
        shutil.copytree(original.parent, folder)
        meta = json.loads((folder / "meta.json").read_bytes())
        (folder / "meta.json").write_text(json.dumps({**meta, "id": run_id}))
        parse.append(time_parsing(original))
        with bench.server(store) as server, wire.Connection(server.url) as connection:
            first += wire.measure_times(connection, [build_chart_request(run_id)])
            again += wire.measure_times(connection, [build_chart_request(run_id)] * 5)
            since = f"/api/runs/{run_id}/metrics?key=loss&since_step={sizes.series_points - 100}"
            tail += wire.measure_times(connection, [wire.get(since)] * 3)
            svg += wire.measure_times(connection, [wire.get(f"/runs/{run_id}/charts.svg?key=loss")] * 5)[1:]
            resident = max(resident, resident_bytes(server.process.pid))
            peak = max(peak, peak_bytes(server.process.pid))
        shutil.rmtree(folder)
    bench.memory.append((f"after charts of a series of {sizes.series_points:,}", resident))
    print_row(
        "first time, to a plain loop of json.loads over the file",
        format_duration(median(first)),
        format_duration(median(parse)),
        median([one / floor for one, floor in zip(first, parse, strict=True)]),
        Goal(1.5, "<= 1.5x"),
    )
    print_row("again", format_duration(median(again)), "", None, Goal(0.050, "<= 50 ms"), median(again))
    print_row("drawn as SVG, again", format_duration(median(svg)))
    print_row("the last 100 points (since_step)", format_duration(median(tail)))
    print_row("memory after that, and at its peak", format_megabytes(resident), format_megabytes(peak))
