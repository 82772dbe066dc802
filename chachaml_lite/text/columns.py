"""The lists of the API as tables: their columns, and which of these are the most useful to people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .. import strict_json
from ..tracking.environment import MISSING, value_at
from ..tracking.index.run_parts import STATUSES
from ..tracking.metrics import Selection
from ..tracking.series.summary import number_to_json
from .format import format_duration, format_size, format_time
from .safe import cells, printable, truncate
from .table import WIDTH, Column, Table, as_text

Record = dict[str, Any]

_MARKS = {"completed": "✓ completed", "failed": "✗ failed", "running": "… running"}
#: Params, metrics and tags each that people are shown at most, whatever fits; a terminal has room for few.
_MOST_KEYS = 12
#: Columns of a terminal that a metric's name takes in a table of points.
_MOST_OF_A_KEY = 40


def _field(name: str) -> Callable[[Record], Any]:
    return lambda record: record[name]


def _minute(at_ms: int) -> str:
    return format_time(at_ms)[:16]


def _format_status(status: str) -> str:
    return _MARKS.get(status, status)


# -- runs


def run_columns(params: Iterable[str], metrics: Iterable[str], tags: Iterable[str]) -> list[Column]:
    """Every column that runs with these keys have, for programs."""
    return [
        Column("id", _field("id"), 0, "id", most=None),
        Column("experiment", _field("experiment"), 2, "experiment", most=16),
        Column("name", _field("name"), 1, "name", most=20),
        Column("status", _field("status"), 0, "status", is_ours=True, show=_format_status),
        Column("start_time", _field("start_time"), 7, "started (UTC)", show=_minute),
        Column("end_time", _field("end_time"), None),
        Column("duration_ms", _field("duration_ms"), 6, "took", show=format_duration),
        Column("error", _field("error"), 7, "error", most=30),
        Column("parent_run_id", _field("parent_run_id"), 90, "parent", most=None),
        Column("created_by", _field("created_by"), 80, "created by"),
        Column("last_write_time", _field("last_write_time"), None),
        *(_key_column("param", "params", key) for key in params),
        *(_key_column("metric", "metrics", key) for key in metrics),
        *(_key_column("tag", "tags", key) for key in tags),
    ]


def _key_column(kind: str, field: str, key: str) -> Column:
    def get(run: Record) -> Any:
        values = run[field]
        # A param may be null, which isn't nothing.
        return _value(values[key]) if key in values else None

    return Column(f"{kind}.{key}", get, None, key, is_key=True, most=16)


def _env_column(path: str) -> Column:
    def get(run: Record) -> Any:
        value = value_at(run["env"], path)
        return None if value is MISSING else _value(value)

    return Column(f"env.{path}", get, None, path, is_key=True, most=24)


def _value(value: Any) -> Any:
    """A number or a string as it is, any other JSON value as its text."""
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else strict_json.dumps(value)


def keys_of(runs: Iterable[Record], field: str) -> list[str]:
    """The keys that any of the runs has in "params", "metrics" or "tags", sorted."""
    return sorted({key for run in runs for key in run[field]})


def run_table(runs: Sequence[Record], footer: Sequence[str] = ()) -> Table:
    """A list of runs. To people a param is the more useful the more runs have it, and not at all alike.

    What tells the runs apart comes before what all of them share, and a failed run's error is near its status.
    """
    columns = run_columns(*(keys_of(runs, field) for field in ("params", "metrics", "tags")))
    ranks = {"experiment": 2 if len({run["experiment"] for run in runs}) > 1 else 60, "error": 2}
    for kind, field, first, step in (("metric", "metrics", 3, 2), ("param", "params", 4, 2), ("tag", "tags", 30, 1)):
        for place, key in enumerate(most_telling(runs, field)):
            is_shared = len(runs) > 1 and all(
                key in run[field] and run[field][key] == runs[0][field][key] for run in runs
            )
            ranks[f"{kind}.{key}"] = first + step * place + (40 if is_shared else 0)
    return Table([_ranked(column, ranks) for column in columns], runs, footer)


def _ranked(column: Column, ranks: dict[str, int]) -> Column:
    rank = ranks.get(column.name)
    return column if rank is None else column.with_rank(rank)


def named_columns(names: Sequence[str]) -> list[Column]:
    """The id of runs, and the columns of these names: `params.lr`, `duration`, `env.git.commit`. Raises KeyError.

    Those of `env` need the environment in the records, which a list has only where it is asked for.
    """
    fields = {column.name: column for column in run_columns((), (), ())}
    fields["duration"] = fields["duration_ms"]
    kinds = {"params": "param", "metrics": "metric", "tags": "tag"}
    columns = [fields["id"]]
    for name in names:
        field, _, key = name.partition(".")
        if key and field == "env":
            columns.append(_env_column(key))
        else:
            columns.append(_key_column(kinds[field], field, key) if key else fields[name])
    return [column.with_rank(0) for column in dict.fromkeys(columns)]


def most_telling(runs: Sequence[Record], field: str) -> list[str]:
    """The keys in "params", "metrics" or "tags" that tell most of the runs apart, best first; a dozen at most."""
    counts: dict[str, int] = {}
    values: dict[str, Any] = {}
    varied: set[str] = set()
    for run in runs:
        for key, value in run[field].items():
            counts[key] = counts.get(key, 0) + 1
            if values.setdefault(key, value) != value:
                varied.add(key)
    return sorted(counts, key=lambda key: (key not in varied, -counts[key], key))[:_MOST_KEYS]


# -- the other lists


def artifact_table(artifacts: Sequence[Record]) -> Table:
    """The artifacts of a run. The id is what a download's URL takes."""
    return Table(
        [
            Column("id", _field("id"), 0, "id", most=None),
            Column("run_id", _field("run_id"), None),
            Column("name", _field("name"), None),
            Column("size", _field("size"), 0, "size", show=format_size),
            Column("sha256", _field("sha256"), 3, "sha256", most=12),
            Column("content_type", _field("content_type"), 2, "type"),
            Column("created_at", _field("created_at"), 1, "uploaded (UTC)", show=_minute),
        ],
        artifacts,
    )


def experiment_table(experiments: Sequence[Record]) -> Table:
    """The experiments."""

    def count(status: str) -> Callable[[Record], Any]:
        return lambda experiment: experiment["by_status"][status]

    return Table(
        [
            Column("name", _field("name"), 0, "experiment", most=40),
            Column("runs", _field("runs"), 0, "runs"),
            *(Column(status, count(status), 2, status) for status in STATUSES),
            Column("last_start_time", _field("last_start_time"), 1, "last started (UTC)", show=_minute),
            Column("description", _field("description"), 4, "description", most=40),
        ],
        experiments,
    )


def model_table(models: Sequence[Record]) -> Table:
    """The models."""
    return Table(
        [
            Column("name", _field("name"), 0, "model", most=40),
            Column("versions", _field("versions"), 1, "versions"),
            Column("latest", _field("latest"), 2, "latest"),
            Column("production", _field("production"), 0, "production"),
            Column("created_at", _field("created_at"), 3, "created (UTC)", show=_minute),
            Column("description", _field("description"), 4, "description", most=40),
        ],
        models,
    )


def point_table(series: Mapping[str, Selection]) -> Table:
    """The points of a run, a row each, as metrics.jsonl has them; its records are made one after the other."""

    def points() -> Iterator[Record]:
        for key, selection in series.items():
            for step, value, timestamp in selection.points():
                shown = value if value - value == 0 else number_to_json(value)  # the call costs as much as the rest
                yield {"key": key, "step": step, "value": shown, "timestamp": timestamp}

    return Table(
        [
            Column("key", _field("key"), 0, "metric", most=_MOST_OF_A_KEY, width=_widest(series)),
            Column("step", _field("step"), 0, "step", is_ours=True, is_number=True, width=_widest_step(series)),
            Column("value", _field("value"), 0, "value", is_ours=True, is_number=True, width=_widest_value(series)),
            Column(
                *("timestamp", _field("timestamp"), 1, "logged (UTC)"),
                is_ours=True,
                show=format_time,
                is_number=True,
                width=19,
            ),
        ],
        points(),
    )


def _widest(names: Iterable[str]) -> int:
    return max((cells(truncate(printable(name), _MOST_OF_A_KEY)) for name in names), default=0)


def _widest_step(series: Mapping[str, Selection]) -> int:
    ends = (
        (each.series.steps[each.places[0]], each.series.steps[each.places[-1]])
        for each in series.values()
        if each.places
    )
    return max((len(str(step)) for steps in ends for step in steps), default=0)


def _widest_value(series: Mapping[str, Selection]) -> int:
    """A float of five digits is -1.2346e-100 at most; an integer is shown in full."""
    with_integers = [each.series.values for each in series.values() if isinstance(each.series.values, list)]
    longest = max((len(repr(value)) for values in with_integers for value in values if type(value) is int), default=0)
    return max(12, min(longest, 24))


def comparison_table(comparison: Record, headings: Sequence[str], places: range | None = None) -> Table:
    """A comparison: a row for each metric, param and part of the environment, what differs first; a column a run.

    `headings`: what people are shown above each run; programs get its id.
    """
    runs = comparison["runs"]
    places = range(len(runs)) if places is None else places
    records = [
        {"kind": kind, "key": key, "group": group, "values": [found] * len(runs) if group == "same" else found}
        for group in ("differ", "partial", "same")
        for kind, parts in (
            ("metric", comparison["metrics"]),
            ("param", comparison["params"]),
            ("env", comparison["env"]),
        )
        for key, found in parts[group].items()
    ]

    def value(place: int) -> Callable[[Record], Any]:
        def get(record: Record) -> Any:
            found = record["values"][place]
            return None if found is None and record["group"] == "partial" else _value(found)

        return get

    return Table(
        [
            Column("kind", _field("kind"), 0, "kind", is_ours=True),
            Column("key", _field("key"), 0, "key"),
            Column("group", _field("group"), 0, "group", is_ours=True),
            *(Column(runs[at], value(at), 0, headings[at], is_key=True, whole_heading=True) for at in places),
        ],
        records,
    )


def comparison_text(comparison: Record, headings: Sequence[str]) -> str:
    """A comparison for a terminal, as many runs side by side as fit, the next ones below."""
    runs = comparison["runs"]
    # "metric", a key, "partial", and a gap before each run
    together = max(1, (WIDTH - 6 - 2 - 24 - 2 - 7) // (2 + max(map(cells, headings))))
    blocks = [range(len(runs))[start : start + together] for start in range(0, len(runs), together)]
    return "\n".join(as_text(comparison_table(comparison, headings, places)) for places in blocks)
