"""The lists of the API as tables: their columns, ranked by usefulness for people."""

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
#: The most params, metrics and tags to display, each; a terminal has room for few.
_MOST_KEYS = 12
#: The width of a metric's name in a table of points, in terminal columns.
_MOST_OF_A_KEY = 40


def _field(name: str) -> Callable[[Record], Any]:
    return lambda record: record[name]


def _format_minute(at_ms: int) -> str:
    return format_time(at_ms)[:16]


def _format_status(status: str) -> str:
    return _MARKS.get(status, status)


# -- runs


def run_columns(params: Iterable[str], metrics: Iterable[str], tags: Iterable[str]) -> list[Column]:
    """Return all columns of runs with these keys, for programs."""
    return [
        Column("id", _field("id"), 0, "id", most=None),
        Column("experiment", _field("experiment"), 2, "experiment", most=16),
        Column("name", _field("name"), 1, "name", most=20),
        Column("status", _field("status"), 0, "status", is_ours=True, show=_format_status),
        Column("start_time", _field("start_time"), 7, "started (UTC)", show=_format_minute),
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
        # A param may be null, which differs from a missing one.
        return _value(values[key]) if key in values else None

    return Column(f"{kind}.{key}", get, None, key, is_key=True, most=16)


def _env_column(path: str) -> Column:
    def get(run: Record) -> Any:
        value = value_at(run["env"], path)
        return None if value is MISSING else _value(value)

    return Column(f"env.{path}", get, None, path, is_key=True, most=24)


def _value(value: Any) -> Any:
    """Return a number or a string unchanged, any other JSON value as text."""
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else strict_json.dumps(value)


def list_keys(runs: Iterable[Record], field: str) -> list[str]:
    """Return the keys of all runs in "params", "metrics" or "tags", sorted."""
    return sorted({key for run in runs for key in run[field]})


def run_table(runs: Sequence[Record], footer: Sequence[str] = ()) -> Table:
    """Return a table of runs. A param is more useful the more runs have it, and if its values differ.

    Columns with different values come before those that all runs share; a failed run's error is near its status.
    """
    columns = run_columns(*(list_keys(runs, field) for field in ("params", "metrics", "tags")))
    ranks = {"experiment": 2 if len({run["experiment"] for run in runs}) > 1 else 60, "error": 2}
    for kind, field, first, step in (("metric", "metrics", 3, 2), ("param", "params", 4, 2), ("tag", "tags", 30, 1)):
        for place, key in enumerate(rank_keys(runs, field)):
            is_shared = len(runs) > 1 and all(
                key in run[field] and run[field][key] == runs[0][field][key] for run in runs
            )
            ranks[f"{kind}.{key}"] = first + step * place + (40 if is_shared else 0)
    return Table([_with_rank(column, ranks) for column in columns], runs, footer)


def _with_rank(column: Column, ranks: dict[str, int]) -> Column:
    rank = ranks.get(column.name)
    return column if rank is None else column.with_rank(rank)


def find_columns(names: Sequence[str]) -> list[Column]:
    """Return the id column and those with the given names: `params.lr`, `duration`, `env.git.commit`. Raises KeyError.

    Columns of `env` need records with the environment, which a list has only if it is requested.
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


def rank_keys(runs: Sequence[Record], field: str) -> list[str]:
    """Return up to twelve keys in "params", "metrics" or "tags" that best distinguish the runs, best first."""
    counts: dict[str, int] = {}
    values: dict[str, Any] = {}
    differing_keys: set[str] = set()
    for run in runs:
        for key, value in run[field].items():
            counts[key] = counts.get(key, 0) + 1
            if values.setdefault(key, value) != value:
                differing_keys.add(key)
    return sorted(counts, key=lambda key: (key not in differing_keys, -counts[key], key))[:_MOST_KEYS]


# -- the other lists


def artifact_table(artifacts: Sequence[Record]) -> Table:
    """Return a table of a run's artifacts, with the id that a download's URL needs."""
    return Table(
        [
            Column("id", _field("id"), 0, "id", most=None),
            Column("run_id", _field("run_id"), None),
            Column("name", _field("name"), None),
            Column("size", _field("size"), 0, "size", show=format_size),
            Column("sha256", _field("sha256"), 3, "sha256", most=12),
            Column("content_type", _field("content_type"), 2, "type"),
            Column("created_at", _field("created_at"), 1, "uploaded (UTC)", show=_format_minute),
        ],
        artifacts,
    )


def experiment_table(experiments: Sequence[Record]) -> Table:
    """Return a table of experiments."""

    def count(status: str) -> Callable[[Record], Any]:
        return lambda experiment: experiment["by_status"][status]

    return Table(
        [
            Column("name", _field("name"), 0, "experiment", most=40),
            Column("runs", _field("runs"), 0, "runs"),
            *(Column(status, count(status), 2, status) for status in STATUSES),
            Column("last_start_time", _field("last_start_time"), 1, "last started (UTC)", show=_format_minute),
            Column("description", _field("description"), 4, "description", most=40),
        ],
        experiments,
    )


def model_table(models: Sequence[Record]) -> Table:
    """Return a table of models."""
    return Table(
        [
            Column("name", _field("name"), 0, "model", most=40),
            Column("versions", _field("versions"), 1, "versions"),
            Column("latest", _field("latest"), 2, "latest"),
            Column("production", _field("production"), 0, "production"),
            Column("created_at", _field("created_at"), 3, "created (UTC)", show=_format_minute),
            Column("description", _field("description"), 4, "description", most=40),
        ],
        models,
    )


def point_table(series: Mapping[str, Selection]) -> Table:
    """Return a table of a run's points, as in metrics.jsonl, with lazily created records."""

    def points() -> Iterator[Record]:
        for key, selection in series.items():
            for step, value, timestamp in selection.points():
                number = value if value - value == 0 else number_to_json(value)  # the call would double the cost
                yield {"key": key, "step": step, "value": number, "timestamp": timestamp}

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
    """Return the width of the widest value: at most -1.2346e-100 for a float, all digits for an integer."""
    with_integers = [each.series.values for each in series.values() if isinstance(each.series.values, list)]
    longest = max((len(repr(value)) for values in with_integers for value in values if type(value) is int), default=0)
    return max(12, min(longest, 24))


def comparison_table(comparison: Record, headings: Sequence[str], places: range | None = None) -> Table:
    """Return a table of a comparison: a row for each metric, param and environment value, a column for each run.

    Rows with different values come first. `headings` are the runs' headings for people; programs get the ids.
    """
    runs = comparison["runs"]
    places = range(len(runs)) if places is None else places
    records = [
        {"kind": kind, "key": key, "group": group, "values": [values] * len(runs) if group == "same" else values}
        for group in ("differ", "partial", "same")
        for kind, parts in (
            ("metric", comparison["metrics"]),
            ("param", comparison["params"]),
            ("env", comparison["env"]),
        )
        for key, values in parts[group].items()
    ]

    def value(place: int) -> Callable[[Record], Any]:
        def get(record: Record) -> Any:
            cell = record["values"][place]
            return None if cell is None and record["group"] == "partial" else _value(cell)

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
    """Return a comparison as text for a terminal, in blocks of as many runs as fit side by side."""
    runs = comparison["runs"]
    # Besides the runs, a block has "metric", a key and "partial", with a gap before each run.
    runs_per_block = max(1, (WIDTH - 6 - 2 - 24 - 2 - 7) // (2 + max(map(cells, headings))))
    blocks = [range(len(runs))[start : start + runs_per_block] for start in range(0, len(runs), runs_per_block)]
    return "\n".join(as_text(comparison_table(comparison, headings, places)) for places in blocks)
