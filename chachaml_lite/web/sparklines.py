"""A small line for each run of a list: one metric's course, drawn by the server."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from ..tracking import metrics
from ..tracking.records import SUMMARY
from ..tracking.run import Run
from ..tracking.tracker import Tracker

#: Points that a line is drawn of.
_POINTS = 40
#: The most that is read for the lines of one page, in bytes of metrics.jsonl: what takes half a second to parse, once.
_MOST_BYTES = 32_000_000
_WIDTH, _HEIGHT, _EDGE = 96, 22, 2


def sparklines(tracker: Tracker, runs: Sequence[Run], key: str) -> Iterator[Markup | None]:
    """The lines of a page's runs, in their order: "" where there is no such metric, None where it is too much."""
    left = _MOST_BYTES
    for run in runs:
        if key not in run.summary:
            yield Markup("")
            continue
        left -= run.stamps[SUMMARY].size
        yield _line_of(tracker, run, key) if left >= 0 else None


def _line_of(tracker: Tracker, run: Run, key: str) -> Markup:
    found = metrics.get_series(tracker, run.id, key, max_points=_POINTS)
    points = found[key]["points"] if key in found else []
    return drawn([(point["step"], point["value"]) for point in points], f"{key}: {len(points)}")


def drawn(points: list[tuple[int, float | str]], title: str) -> Markup:
    """A line through the finite ones of some points, from the least to the greatest value."""
    there = [(step, value) for step, value in points if not isinstance(value, str)]
    if not there:
        return Markup("")
    low, high = min(value for _, value in there), max(value for _, value in there)
    first, last = there[0][0], there[-1][0]

    def place(step: int, value: float) -> str:
        x = _EDGE + (_WIDTH - 2 * _EDGE) * ((step - first) / (last - first) if last > first else 0.5)
        share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
        y = _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * (share if math.isfinite(share) else 0.5)
        return f"{x:.1f},{y:.1f}"

    places = " ".join(place(step, value) for step, value in there)
    shape = Markup('<polyline points="{}"/>') if len(there) > 1 else Markup('<circle r="2" cx="{}" cy="{}"/>')
    inner = shape.format(places) if len(there) > 1 else shape.format(*places.split(","))
    frame = Markup('<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>')
    return frame.format(_WIDTH, _HEIGHT, _WIDTH, _HEIGHT, title, inner)
