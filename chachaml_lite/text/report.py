"""One run as a report: Markdown that GitHub renders in a job's summary, or text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ..tracking.environment import flatten
from ..tracking.series.summary import number_from
from .format import format_duration, format_number, format_size, format_time
from .gfm import code, quoted_text, table
from .plot import mermaid, sparkline
from .safe import printable, truncate
from .table import WIDTH, Column, Table, as_text

#: Points of a chart, and of a sparkline.
CHART_POINTS, SPARK_POINTS = 50, 20
#: A browser draws each chart by itself, and a job's summary ends at 1 MiB.
MAX_CHARTS = 50
#: Of an error's and a note's text; the whole of it is in the JSON.
_MAX_CHARACTERS = 5000
_MAX_DATASETS = 50
_MAX_ENV_CHARACTERS = 1000
_MARKS = {"completed": "✅", "failed": "❌", "running": "⏳"}

Series = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """The content of a report: a run as `run_details` returns it, its series thinned for charts and sparklines."""

    run: dict[str, Any]
    charts: Series
    sparks: Series
    #: Where the run's page is; None where no server shows it.
    url: str | None


def as_markdown(report: Report) -> str:
    """Return the report for GitHub. Text of users is in code spans and blocks, where nothing acts (see `gfm`)."""
    run = report.run
    lines = [f"## {_MARKS[run['status']]} {code(run['name'] or run['id'])} {run['status']}", ""]
    facts = ((name, shown if name in _OURS else code(shown)) for name, shown in _facts(run))
    lines += [*table(("", ""), facts), ""]
    if run["error"]:
        lines += ["**Error**", "", *quoted_text(run["error"], _MAX_CHARACTERS), ""]
    if run["params"]:
        params = [(code(key), code(format_number(value))) for key, value in run["params"].items()]
        lines += ["### Params", "", *table(("param", "value"), params), ""]
    if run["metric_summary"]:
        lines += ["### Metrics", "", *_metric_table(report), "", *_charts(report.charts)]
    if run["artifacts"]:
        artifacts = [(code(a["name"]), format_size(a["size"]), code(a["sha256"])) for a in run["artifacts"]]
        lines += ["### Artifacts", "", *table(("artifact", "size", "sha256"), artifacts, right=(1,)), ""]
    if run["datasets"]:
        datasets = [[code(cell) for cell in _dataset(each)] for each in run["datasets"][:_MAX_DATASETS]]
        lines += ["### Data sets", "", *table(("data set", *_DATASET_COLUMNS), datasets, right=(2,)), ""]
    if run["env"]:
        env = [(code(path), code(_value(value))) for path, value in flatten(run["env"]).items()]
        lines += ["### Environment", "", *table(("environment", "value"), env), ""]
    if run["note"]:
        lines += ["### Note", "", *quoted_text(run["note"], _MAX_CHARACTERS), ""]
    return "\n".join(lines)


_DATASET_COLUMNS = ("role", "rows", "hash", "source")


def _dataset(described: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a data set, which has any of these, or none."""
    name, role, rows, checksum, source = (described.get(f) for f in ("name", "role", "n_rows", "hash", "source"))
    counted = format_number(rows) if isinstance(rows, int) else ""
    return (str(name or ""), str(role or ""), counted, str(checksum or ""), str(source or ""))


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
        for key, series, spark in _series_of(report)
    ]
    return table(("metric", "first", "last", "min", "max", "points", "trend"), rows, right=range(1, 6))


def _series_of(report: Report) -> Iterable[tuple[str, dict[str, Any], str]]:
    for key, series in report.run["metric_summary"].items():
        values = [value for _, value in _finite(report.sparks.get(key))]
        yield key, series, sparkline(values) if len(values) > 1 else ""


def _value(value: Any) -> str:
    """Return a value of the environment, cut where it is long: a command may be."""
    return truncate(format_number(value), _MAX_ENV_CHARACTERS)


def _format(value: Any) -> str:
    return "" if value is None else format_number(value)


def _finite(series: dict[str, Any] | None) -> list[tuple[int, float]]:
    """Return the steps and values of a thinned series that can be drawn."""
    found = []
    for point in series["points"] if series else ():
        value = number_from(point["value"])
        if value is not None and value - value == 0:
            found.append((point["step"], value))
    return found


def _charts(charts: Series) -> list[str]:
    lines: list[str] = []
    drawn = 0
    for key, series in charts.items():
        points = _finite(series)
        if len(points) < 2:
            continue
        drawn += 1
        if drawn <= MAX_CHARTS:
            lines += [*mermaid(key, *zip(*points, strict=True)), ""]
    if drawn > MAX_CHARTS:
        lines += [f"{drawn - MAX_CHARTS} more charts are left out.", ""]
    return lines


# -- a terminal


def as_plain_text(report: Report) -> str:
    """Return the report for a terminal."""
    run = report.run
    facts = _facts(run)
    wide = max(len(name) for name, _ in facts)
    title = f"{printable(run['name'] or run['id'])}  {run['status']}"
    lines = [title, ""]
    # The ids are there to be pasted, and never cut.
    lines += [
        f"{name:<{wide}}  {text if name in ('run', 'parent') else truncate(text, WIDTH - wide - 2)}"
        for name, text in ((name, printable(value)) for name, value in facts)
    ]
    parts = [
        _part("param", ("value",), [(key, value) for key, value in run["params"].items()]),
        _part(
            "metric",
            ("first", "last", "min", "max", "points", "trend"),
            [
                (key, *(series[field] for field in ("first", "last", "min", "max", "count")), spark or None)
                for key, series, spark in _series_of(report)
            ],
        ),
        _part(
            "artifact",
            ("size", "sha256"),
            [(a["name"], format_size(a["size"]), a["sha256"][:12]) for a in run["artifacts"]],
        ),
        _part("data set", _DATASET_COLUMNS, [_dataset(each) for each in run["datasets"][:_MAX_DATASETS]]),
        _part("environment", ("value",), list(flatten(run["env"]).items())),
    ]
    text = "\n".join(lines) + "\n" + "".join("\n" + part for part in parts if part)
    for name in ("error", "note"):
        if run[name]:
            shown = [truncate(printable(line), WIDTH - 2) for line in run[name][:_MAX_CHARACTERS].splitlines()]
            text += f"\n{name}\n" + "".join(f"  {line}\n" for line in shown)
    return f"{text}\n{report.url}\n" if report.url else text


def _part(name: str, headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """One section's table; nothing without rows."""
    if not rows:
        return ""
    widest = (30, 66 if len(headings) == 1 else 20)
    columns = [
        Column(heading, itemgetter(place), 0, heading, most=widest[min(place, 1)])
        for place, heading in enumerate((name, *headings))
    ]
    return as_text(Table(columns, rows))
