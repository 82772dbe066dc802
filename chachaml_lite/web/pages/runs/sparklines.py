"""Sparklines: a small chart of one metric for each run of a list, drawn by the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from ....tracking import metrics
from ....tracking.index.run_entry import Run
from ....tracking.index.run_parts import SUMMARY
from ....tracking.series.curves import View
from ....tracking.tracker import Tracker
from ...charts import sparkline

#: The points of a line.
_POINTS = 40
#: The most bytes of metrics.jsonl read for the lines of one page: they take half a second to parse, once.
_MOST_BYTES = 32_000_000


def draw_sparklines(tracker: Tracker, runs: Sequence[Run], key: str) -> Iterator[Markup | None]:
    """Yield the lines of a page's runs, in order: "" if there is no such metric, None beyond the limit."""
    remaining_bytes = _MOST_BYTES
    for run in runs:
        if key not in run.summary:
            yield Markup("")
            continue
        remaining_bytes -= run.stamps[SUMMARY].size
        yield _draw_line(tracker, run, key) if remaining_bytes >= 0 else None


def _draw_line(tracker: Tracker, run: Run, key: str) -> Markup:
    curve = metrics.get_curves(tracker, run.id, [key], View(buckets=_POINTS)).get(key)
    return Markup("") if curve is None else sparkline(curve.ys, label=f"{key}, {curve.total} points")
