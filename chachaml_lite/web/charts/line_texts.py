"""The texts of a line chart: its notes, its summary for screen readers, its steps and times."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...text.format import format_duration, format_number
from .line_style import Line, Style
from .ticks import MINUS
from .times import duration, to_datetime

_NONFINITE_NAMES = {"nan": "NaN", "inf": "∞", "-inf": "−∞"}


def format_notes(lines: Sequence[Line], style: Style) -> tuple[str, ...]:
    """Return the notes below a chart: the parts of its lines that aren't shown, and the reasons."""
    curves = [line.curve for line in lines]
    drawn_count, total = sum(len(curve.xs) for curve in curves), sum(curve.total for curve in curves)
    notes = []
    is_thinned = any(curve.is_thinned for curve in curves)
    if drawn_count < total:
        if style.start is not None or style.stop is not None:
            count_text = f"{sum(curve.count_in_range for curve in curves):,} of {total:,} points in this range"
        elif is_thinned:
            count_text = f"{total:,} points"
        else:
            count_text = f"{drawn_count:,} of {total:,} points, the last at each step"
        band_text = ", min to max shaded" if any(map(style.shows_band, curves)) else ""
        notes.append(f"{count_text}, drawn as {drawn_count:,}: means{band_text}" if is_thinned else count_text)
    stepless = [line.label for line in lines if line.curve.is_stepless]
    if stepless and style.x == "step":
        notes.append(f"logged without steps, and a line over time only: {', '.join(stepless[:5])}")
    elif stepless and len(stepless) == len(lines):
        notes.append("logged without steps, so drawn over time")
    nonfinite = [(_NONFINITE_NAMES[str(value)], x) for curve in curves for x, value in curve.odd]
    for kind in dict.fromkeys(kind for kind, _ in nonfinite):
        places = [x for other, x in nonfinite if other == kind]
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        notes.append(f"{kind} at {format_x(places[0], style.x)}{more}")
    if style.log_y and any(low <= 0 for curve in curves for low in curve.lows):
        notes.append("values of 0 and less aren't on the log axis")
    if style.log_x and any(curve.xs and min(curve.xs) <= 0 for curve in curves):
        notes.append(f"{'steps' if style.x == 'step' else 'times'} of 0 and less aren't on the log axis")
    return tuple(notes)


def explain_emptiness(lines: Sequence[Line], style: Style) -> str:
    """Return the reason for a chart without lines."""
    curves = [line.curve for line in lines if any(map(math.isfinite, line.curve.ys))]
    if curves and style.log_y and all(high <= 0 for curve in curves for high in curve.highs if math.isfinite(high)):
        return "all values are 0 or less: a log axis has no place for them"
    if curves and style.log_x and all(x <= 0 for curve in curves for x in curve.xs):
        return f"all {'steps' if style.x == 'step' else 'times'} are 0 or less: a log axis has no place for them"
    return "no finite value here"


def format_x(x: int, axis: str) -> str:
    """Return a step or a time as text."""
    if axis == "step":
        return f"step {x:,}"
    if axis == "relative":
        return duration(x) if abs(x) < 60_000 else f"{MINUS * (x < 0)}{format_duration(abs(x))}"
    try:
        return f"{to_datetime(x):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return f"{x} ms"


def format_summary(lines: Sequence[Line], style: Style) -> str:
    """Return the description of a chart for screen readers."""
    sentences = []
    for line in lines[: 5 if style.is_sketch else 20]:
        curve = line.curve
        ends = [at for at, y in enumerate(curve.ys) if math.isfinite(y)]
        if not ends:
            sentences.append(f"{line.label}: no finite value.")
            continue
        low, high = min(ends, key=curve.lows.__getitem__), max(ends, key=curve.highs.__getitem__)
        last, least, greatest = (
            f"{format_number(value)} {preposition} {format_x(curve.xs[at], style.x)}"
            for value, at, preposition in (
                (curve.ys[ends[-1]], ends[-1], "at"),
                (curve.lows[low], low, "at" if curve.lows[low] == curve.ys[low] else "near"),
                (curve.highs[high], high, "at" if curve.highs[high] == curve.ys[high] else "near"),
            )
        )
        sentences.append(f"{line.label}: {last}, the last; least {least}, greatest {greatest}.")
    return " ".join([*sentences, *(f"{note}." for note in format_notes(lines, style))])
