"""Metrics: points added to a run's series (the contract, section 2, "Metrics")."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from .. import strict_json
from ..errors import InvalidInput, StorageBusy
from ..store.reading import Damaged
from .index.run_entry import Run
from .index.run_parts import META, SUMMARY
from .names import check_name, quote_name
from .series.curves import Curve, View
from .series.points import Point, Series, StoredPoint, format_points
from .series.summary import PRINTED, Number, copy_with_points
from .tracker import Tracker

#: The number of points that a long answer formats at a time.
_PIECE_POINTS = 5000
_INT64 = range(-(2**63), 2**63)
#: The number of attempts to append points to a file that another program keeps changing.
_TRIES = 5
_LARGEST = int(sys.float_info.max)
#: Up to this value a float represents every integer exactly.
_EXACT = 2**53
_TEN_YEARS_MS = 10 * 365 * 86_400_000
#: Milliseconds in each unit that other programs use for times.
_UNITS_MS = {"seconds": 1000.0, "microseconds": 1e-3, "nanoseconds": 1e-6}


class Logged(NamedTuple):
    """The number of points stored, and the number of values skipped because they were null."""

    points: int
    skipped: int


class InvalidEntry(InvalidInput):
    """An entry that can't be logged; `index` is its position in the request."""

    def __init__(self, detail: str, index: int) -> None:
        super().__init__(detail)
        self.index = index


def log_points(tracker: Tracker, run_id: str, entries: Iterable[dict[str, Any]], *, even_ended: bool = False) -> Logged:
    """Add the points of the entries to a run, all or none, in their order.

    An entry is one object of a request's body, flat (`{"loss": 0.5, "step": 3}`) or nested (`{"metrics": {"loss": 0.5},
    "step": 3, "timestamp": 1763884800123}`). A null is no value, and stores no point. `even_ended` also allows a run
    that has ended. Raises InvalidEntry, NotFound (or RunEnded), RunTrashed.
    """
    points, skipped_count = _points(entries, tracker.clock.now_ms())
    add_points(tracker, run_id, points, even_ended=even_ended)
    return Logged(len(points), skipped_count)


def add_points(tracker: Tracker, run_id: str, points: list[StoredPoint], *, even_ended: bool = False) -> None:
    """Add points to a run, all or none, in their order. Keys must have been checked; steps and times have 64 bits.

    `even_ended` also allows a run that has ended. Raises NotFound (or RunEnded), RunTrashed, StorageBusy.
    """
    lines = format_points(points)
    with tracker.open_run(run_id, even_ended=even_ended) as run:
        for _ in range(_TRIES if points else 0):
            before = run.part(SUMMARY)
            stamp = tracker.store.runs.append_points(run_id, lines, before.stamp)
            if stamp is not None:
                tracker.catalog.put(run, SUMMARY, copy_with_points(before.value, points), stamp)
                break
            run.look((SUMMARY,))  # another program has changed the file, so its summary must be read first
        else:
            if points:
                raise StorageBusy("another program keeps changing this run's metrics.jsonl; retry when it is done")


class Selection(NamedTuple):
    """Points selected from a series, by step and then by arrival; `total` is the length of the whole series."""

    series: Series
    places: Sequence[int]
    total: int

    def thin(self, max_points: int) -> Selection:
        """Return at most `max_points` of these points, one per step, keeping the extremes."""
        return self._replace(places=self.series.thin(self.places, max_points))

    def points(self) -> Iterator[Point]:
        """Yield the points in batches: a million of them at once would take 500 MB."""
        for start in range(0, len(self.places), _PIECE_POINTS):
            yield from self.series.points(self.places[start : start + _PIECE_POINTS])


def select_series(
    tracker: Tracker,
    run: Run | str,
    keys: Collection[str] | None = None,
    max_points: int | None = None,
    since_step: int | None = None,
    until_step: int | None = None,
) -> dict[str, Selection]:
    """Return the series of a run by key, or only those in `keys`; a key that the run lacks is left out.

    `run` is a run that was just loaded, or an id. `since_step` selects greater steps only, `until_step` no greater
    ones. `max_points` thins each series, to one point per step. Raises NotFound.
    """
    cache, run = tracker.series, _load(tracker, run)
    if max_points is not None and since_step is None and until_step is None:
        thinned = cache.from_thinned(run, lambda file: file.points(keys, max_points))
        if thinned is not None:
            return {key: Selection(*selected) for key, selected in thinned.items()}
    try:
        entry = cache.of(run)
    except (Damaged, FileNotFoundError):
        return {}  # the catalog has reported the damage
    selections = {}
    for name, series in entry.series.by_key.items():
        if keys is None or name in keys:
            places = series.between(since_step, until_step)
            selected = places if max_points is None else cache.thin(entry, name, series, places, max_points)
            selections[name] = Selection(series, selected, len(series))
    return selections


def _load(tracker: Tracker, run: Run | str) -> Run:
    return tracker.run(run, (META,)) if isinstance(run, str) else run


def count_points(tracker: Tracker, run_id: str) -> int:
    """Return the number of points of a run, without reading them. Raises NotFound."""
    return sum(series.count for series in tracker.run(run_id).summary.values())


def series_to_json(selections: Mapping[str, Selection]) -> dict[str, Any]:
    """Return series in the API's form, all of it in memory."""
    return {
        key: {"total": selection.total, "points": [point.public() for point in selection.points()]}
        for key, selection in selections.items()
    }


def series_to_lines(selections: Mapping[str, Selection]) -> Iterator[str]:
    """Yield the JSON of `series_to_json` in pieces of some thousand points, with one piece in memory at a time."""
    for number, (key, selection) in enumerate(selections.items()):
        yield f'{", " if number else "{"}{strict_json.dumps(key)}: {{"total": {selection.total}, "points": ['
        points = selection.points()
        first = True
        while piece := list(islice(points, _PIECE_POINTS)):
            text = strict_json.dumps([point.public() for point in piece])[1:-1]
            yield text if first else f", {text}"
            first = False
        yield "]}"
    yield "}\n" if selections else "{}\n"


def get_curves(tracker: Tracker, run: Run | str, keys: Collection[str] | None, view: View) -> dict[str, Curve]:
    """Return the curves of a run by key, in the order of `keys` (None: all, in order of first logging).

    A key that the run lacks is left out. `run` is a run that was just loaded, or an id. The curves of a long run that
    is at rest come from its thinned form (see `series.thinned`), which takes a few ms however many points there are,
    unless the points are in memory or the view covers too small a part of them.
    Relative time begins with the run, or with the first of the points shown if that one is earlier. Raises NotFound.
    """
    run = _load(tracker, run)
    start_ms = run.meta["start_time"]
    curves = tracker.series.from_thinned(run, lambda file: file.curves(keys, view, start_ms))
    if curves is not None:
        return curves
    try:
        entry = tracker.series.of(run)
    except (Damaged, FileNotFoundError):
        return {}  # the catalog has reported the damage
    every = entry.series.by_key
    result = {key: every[key] for key in (every if keys is None else keys) if key in every}
    since_ms = min([start_ms, *(series.timestamps[0] for series in result.values())])
    return {key: tracker.series.curve(entry, key, series, view, since_ms) for key, series in result.items()}


def _points(entries: Iterable[dict[str, Any]], now_ms: int) -> tuple[list[StoredPoint], int]:
    """Return the points of the entries, and the number of null values. Raises InvalidEntry."""
    points: list[StoredPoint] = []
    skipped_count = 0
    for index, entry in enumerate(entries):
        try:
            values, step, timestamp = _parts(entry, now_ms)
            for key, value in values.items():
                if key == "step" and values is entry:
                    continue
                name, number = check_name("metric", key), _value(key, value)
                if number is None:
                    skipped_count += 1
                else:
                    points.append((name, number, step, timestamp))
        except InvalidInput as fault:
            raise InvalidEntry(fault.detail, index) from fault
    return points, skipped_count


def _parts(entry: dict[str, Any], now_ms: int) -> tuple[dict[str, Any], int, int]:
    values, timestamp = entry, now_ms
    nested = entry.get("metrics", ...)
    if isinstance(nested, dict):
        unknown = next((field for field in entry if field not in ("metrics", "step", "timestamp")), None)
        if unknown is not None:
            raise InvalidInput(
                f'{quote_name(unknown)} stands beside "metrics"; '
                'put every metric into that object, or leave "metrics" out'
            )
        values = nested
        if entry.get("timestamp") is not None:
            timestamp = _timestamp(entry["timestamp"], now_ms)
    elif nested is None:
        raise InvalidInput('"metrics" is null; it is an object of metrics, as in {"metrics": {"loss": 0.5}, "step": 3}')
    step = entry.get("step", 0)
    if type(step) is not int or step not in _INT64:
        step = 0 if step is None else _integer(step, "step must be a 64-bit integer")
    if len(values) == (values is entry and "step" in entry):
        raise InvalidInput('no metric in the body; send at least one, as in {"loss": 0.5, "step": 3}')
    return values, step, timestamp


def _integer(value: Any, otherwise: str) -> int:
    """Return `value` as a 64-bit integer; a whole float is allowed. Raises InvalidInput(otherwise)."""
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if type(value) is not int or value not in _INT64:
        raise InvalidInput(otherwise)
    return value


def _timestamp(value: Any, now_ms: int) -> int:
    """Return a client's time in ms since 1970. Raises InvalidInput if it looks like a present time in another unit."""
    timestamp = _integer(value, "timestamp must be an integer: milliseconds since 1970, UTC")
    if abs(timestamp - now_ms) > _TEN_YEARS_MS:
        for unit, in_ms in _UNITS_MS.items():
            if abs(timestamp * in_ms - now_ms) <= _TEN_YEARS_MS:
                change = "multiply by 1,000" if in_ms > 1 else f"divide by {round(1 / in_ms):,}"
                raise InvalidInput(
                    f"timestamp {timestamp} is one in {unit}; it is milliseconds since 1970, so {change}"
                )
    return timestamp


def _value(key: str, value: Any) -> Number | None:
    """Return a metric's value as a number, or None for null. Raises InvalidInput."""
    kind = type(value)
    if kind is float:
        if value - value == 0:
            return float(value)
        # The parser returns NaN and the infinities as text, so a non-finite float here comes from a number like 1e400.
        raise InvalidInput(f"metric {quote_name(key)} exceeds the range of a double")
    if kind is int:
        if -_LARGEST <= value <= _LARGEST:
            return int(value)
        raise InvalidInput(f"metric {quote_name(key)} exceeds the range of a double")
    if value is None:
        return None
    if kind is str and (number := PRINTED.get(value.lower())) is not None:
        return number
    raise InvalidInput(f"metric {quote_name(key)} must be a number, NaN, Infinity, -Infinity, or null for no value")
