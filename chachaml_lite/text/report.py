"""A report of a run: Markdown for GitHub's job summaries, or text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ..tracking.environment import flatten
from ..tracking.series.summary import number_from
from .format import format_duration, format_number, format_size, format_time
from .gfm import code, quote_block, table
from .plot import render_mermaid, sparkline
from .safe import printable, truncate
from .table import WIDTH, Column, Table, as_text

#: Points of a chart, and of a sparkline.
CHART_POINTS, SPARK_POINTS = 50, 20
#: The browser renders each chart, and a job's summary is limited to 1 MiB.
MAX_CHARTS = 50
#: Characters of an error and of a note; the JSON has the whole text.
_MAX_CHARACTERS = 5000
_MAX_DATASETS = 50
_MAX_ENV_CHARACTERS = 1000
_MARKS = {"completed": "✅", "failed": "❌", "running": "⏳"}

Series = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """The content of a report: a run as in `run_details`, and its series reduced for charts and sparklines."""

    run: dict[str, Any]
    charts: Series
    sparks: Series
    #: The URL of the run's page; None without a server.
    url: str | None


def as_markdown(report: Report) -> str:
    """Format a report for GitHub. Users' text is in code spans and blocks, and so has no markup (see `gfm`)."""
    run = report.run
    lines = [f"## {_MARKS[run['status']]} {code(run['name'] or run['id'])} {run['status']}", ""]
    facts = ((name, text if name in _OURS else code(text)) for name, text in _facts(run))
    lines += [*table(("", ""), facts), ""]
    if run["error"]:
        lines += ["**Error**", "", *quote_block(run["error"], _MAX_CHARACTERS), ""]
    if run["params"]:
        params = [(code(key), code(format_number(value))) for key, value in run["params"].items()]
        lines += ["### Params", "", *table(("param", "value"), params), ""]
    if run["metric_summary"]:
        lines += ["### Metrics", "", *_metric_table(report), "", *_charts(report.charts)]
    if run["artifacts"]:
        artifacts = [(code(a["name"]), format_size(a["size"]), code(a["sha256"])) for a in run["artifacts"]]
        lines += ["### Artifacts", "", *table(("artifact", "size", "sha256"), artifacts, right=(1,)), ""]
    if run["datasets"]:
        datasets = [[code(cell) for cell in _dataset_cells(each)] for each in run["datasets"][:_MAX_DATASETS]]
        lines += ["### Datasets", "", *table(("dataset", *_DATASET_COLUMNS), datasets, right=(2,)), ""]
    if run["env"]:
        env = [(code(path), code(_format_env_value(value))) for path, value in flatten(run["env"]).items()]
        lines += ["### Environment", "", *table(("environment", "value"), env), ""]
    if run["note"]:
        lines += ["### Note", "", *quote_block(run["note"], _MAX_CHARACTERS), ""]
    return "\n".join(lines)


_DATASET_COLUMNS = ("role", "rows", "hash", "source")


def _dataset_cells(dataset: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a dataset, whose fields are all optional."""
    name, role, rows, checksum, source = (dataset.get(f) for f in ("name", "role", "n_rows", "hash", "source"))
    row_count = format_number(rows) if isinstance(rows, int) else ""
    return (str(name or ""), str(role or ""), row_count, str(checksum or ""), str(source or ""))


_OURS = frozenset({"started", "took", "page"})


def _facts(run: dict[str, Any]) -> list[tuple[str, str]]:
    tags = ", ".join(f"{key}={format_number(value)}" for key, value in run["tags"].items())
    facts = [
        ("run", run["id"]),
        ("experiment", run["experiment"]),
        ("started", format_time(run["start_time"]) + " UTC"),
        ("took", format_duration(run["duration_ms"])),
        ("created by", run["created_by"]),
        ("parent", run["parent_run_id"]),
        ("tags", tags),
        ("children", ", ".join(child["id"] for child in run["children"][:20])),
    ]
    return [(name, value) for name, value in facts if value]


def _metric_table(report: Report) -> list[str]:
    rows = [
        (code(key), *(_format(series[field]) for field in ("first", "last", "min", "max", "count")), spark)
        for key, series, spark in _iterate_series(report)
    ]
    return table(("metric", "first", "last", "min", "max", "points", "trend"), rows, right=range(1, 6))


def _iterate_series(report: Report) -> Iterable[tuple[str, dict[str, Any], str]]:
    for key, series in report.run["metric_summary"].items():
        values = [value for _, value in _finite_points(report.sparks.get(key))]
        yield key, series, sparkline(values) if len(values) > 1 else ""


def _format_env_value(value: Any) -> str:
    """Format a value of the environment; long ones, such as commands, are truncated."""
    return truncate(format_number(value), _MAX_ENV_CHARACTERS)


def _format(value: Any) -> str:
    return "" if value is None else format_number(value)


def _finite_points(series: dict[str, Any] | None) -> list[tuple[int, float]]:
    """Return the steps and values of the finite points of a reduced series."""
    points = []
    for point in series["points"] if series else ():
        value = number_from(point["value"])
        if value is not None and value - value == 0:
            points.append((point["step"], value))
    return points


def _charts(charts: Series) -> list[str]:
    lines: list[str] = []
    count = 0
    for key, series in charts.items():
        points = _finite_points(series)
        if len(points) < 2:
            continue
        count += 1
        if count <= MAX_CHARTS:
            lines += [*render_mermaid(key, *zip(*points, strict=True)), ""]
    if count > MAX_CHARTS:
        lines += [f"{count - MAX_CHARTS} more charts are left out.", ""]
    return lines


# -- a terminal


def as_plain_text(report: Report) -> str:
    """Format a report for a terminal."""
    run = report.run
    facts = _facts(run)
    width = max(len(name) for name, _ in facts)
    title = f"{printable(run['name'] or run['id'])}  {run['status']}"
    lines = [title, ""]
    # Ids are pasted, so they are never truncated.
    lines += [
        f"{name:<{width}}  {text if name in ('run', 'parent') else truncate(text, WIDTH - width - 2)}"
        for name, text in ((name, printable(value)) for name, value in facts)
    ]
    parts = [
        _part("param", ("value",), [(key, value) for key, value in run["params"].items()]),
        _part(
            "metric",
            ("first", "last", "min", "max", "points", "trend"),
            [
                (key, *(series[field] for field in ("first", "last", "min", "max", "count")), spark or None)
                for key, series, spark in _iterate_series(report)
            ],
        ),
        _part(
            "artifact",
            ("size", "sha256"),
            [(a["name"], format_size(a["size"]), a["sha256"][:12]) for a in run["artifacts"]],
        ),
        _part("dataset", _DATASET_COLUMNS, [_dataset_cells(each) for each in run["datasets"][:_MAX_DATASETS]]),
        _part("environment", ("value",), list(flatten(run["env"]).items())),
    ]
    text = "\n".join(lines) + "\n" + "".join("\n" + part for part in parts if part)
    for name in ("error", "note"):
        if run[name]:
            indented_lines = [truncate(printable(line), WIDTH - 2) for line in run[name][:_MAX_CHARACTERS].splitlines()]
            text += f"\n{name}\n" + "".join(f"  {line}\n" for line in indented_lines)
    return f"{text}\n{report.url}\n" if report.url else text


def _part(name: str, headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Format the table of one section; return "" without rows."""
    if not rows:
        return ""
    widest = (30, 66 if len(headings) == 1 else 20)
    columns = [
        Column(heading, itemgetter(place), 0, heading, most=widest[min(place, 1)])
        for place, heading in enumerate((name, *headings))
    ]
    return as_text(Table(columns, rows))
