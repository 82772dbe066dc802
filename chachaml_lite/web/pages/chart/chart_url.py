"""The query string of charts: their x axis, log axes, smoothing, range and size."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ....errors import InvalidInput
from ....tracking.series.curves import AXES
from ...charts import Style
from ...query_string import Query
from ...urls import with_query

#: The parameters of every page with charts, and all those of a single chart.
PAGE_FIELDS = ("x", "log_x", "log_y", "smoothing")
CHART_FIELDS = (*PAGE_FIELDS, "key", "from", "to", "width", "height")
MAX_SMOOTHING = 0.99
#: Sizes in CSS pixels. More points than pixels can't be seen, so this also limits a response.
_WIDTHS, _HEIGHTS = range(200, 2001), range(120, 1501)
_INT64 = range(-(2**63), 2**63)


def parse_style(
    query: Query, width: int = Style.width, height: int = Style.height, *, standalone: bool = False
) -> Style:
    """Return the style in a query string, with defaults for absent fields. Raises InvalidInput."""
    x = query.text("x") or "step"
    if x not in AXES:
        raise InvalidInput(f"x must be one of {', '.join(AXES)}, not {x[:60]!r}")
    start, stop = _parse_end(query, "from"), _parse_end(query, "to")
    if start is not None and stop is not None and start > stop:
        raise InvalidInput(f"from is greater than to ({start} > {stop}); there is nothing between them")
    log_x = query.flag("log_x")
    if log_x and x == "wall":
        raise InvalidInput("x=wall can't have a log axis; use x=relative with log_x")
    return Style(
        x=x,
        log_x=log_x,
        log_y=query.flag("log_y"),
        smoothing=_parse_smoothing(query.text("smoothing")),
        width=_parse_size(query, "width", width, _WIDTHS),
        height=_parse_size(query, "height", height, _HEIGHTS),
        standalone=standalone,
        start=start,
        stop=stop,
    )


def _parse_end(query: Query, name: str) -> int | None:
    end = query.integer(name) if query.text(name) else None  # forms send empty fields, too
    if end is not None and end not in _INT64:
        raise InvalidInput(f"{name} must be a 64-bit integer: a step, or milliseconds")
    return end


def _parse_size(query: Query, name: str, default: int, sizes: range) -> int:
    requested = query.integer(name)
    if requested is not None and requested not in sizes:
        raise InvalidInput(f"{name} must be {sizes[0]} to {sizes[-1]} pixels, not {requested}")
    return default if requested is None else requested


def _parse_smoothing(text: str | None) -> float:
    try:
        value = float(text or 0)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_SMOOTHING:
        raise InvalidInput(f"smoothing must be a number from 0 (none) to {MAX_SMOOTHING}, not {(text or '')[:60]!r}")
    return value


def parse_hidden_keys(query: Query) -> tuple[str, ...]:
    """Return the keys of the lines that are hidden, in `hide`.

    The legend's buttons append a key, without JavaScript: an even number of times means that the line is shown.
    """
    keys = query.texts("hide")
    return tuple(key for key in dict.fromkeys(keys) if key and keys.count(key) % 2)


def parse_keys(query: Query) -> list[str]:
    """Return the requested metrics, without duplicates. Raises InvalidInput if there are none."""
    keys = list(dict.fromkeys(query.texts("key")))
    if not keys:
        raise InvalidInput("send the metric's name, as in ?key=loss; several as ?key=train/loss&key=val/loss")
    return keys


def url(path: str, style: Style, fields: Iterable[tuple[str, str]] = (), *, with_range: bool = False) -> str:
    """Return a URL with the settings of a style that aren't defaults, with `with_range` also its range."""
    return with_query(path, fields_of(style, fields, with_range=with_range))


def fields_of(
    style: Style, fields: Iterable[tuple[str, str]] = (), *, with_range: bool = False
) -> list[tuple[str, str]]:
    """Return the fields of that URL's query string."""
    pairs: list[tuple[str, str]] = [*fields]
    if style.x != "step":
        pairs.append(("x", style.x))
    pairs += [(name, "true") for name, on in (("log_x", style.log_x), ("log_y", style.log_y)) if on]
    if style.smoothing:
        pairs.append(("smoothing", f"{style.smoothing:g}"))
    if with_range:
        pairs += [(name, str(end)) for name, end in (("from", style.start), ("to", style.stop)) if end is not None]
    return pairs
