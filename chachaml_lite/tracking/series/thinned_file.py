"""The file `.thinned` beside summary.json: a run's series in bounded size. It may be deleted at any time.

It starts with a line that holds the name of the format, and the length and checksum of the header. The header is JSON:
the size and mtime of the metrics.jsonl that the file was made from, and the position of each series' columns. The
columns follow, little-endian, with a checksum per series. Only the columns of the requested series are read. Anything
inconsistent raises Damaged, upon which metrics.jsonl is parsed.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ...store.reading import Damaged, Stamp
from .curves import Curve, View, curve_of
from .points import Series
from .summary import Number
from .thinned import EXACT_POINTS, Buckets, Thinned, thin

_FORMAT = b"chachaml-lite thinned 1 "
#: The length of the first line, padded with spaces.
_LINE_BYTES = 48
#: Integers up to this size can be converted to a float and back.
_EXACT = 2**53


class ThinnedRun:
    """The series of a run in its thinned file. `read(start, size)` returns some of the file's bytes."""

    def __init__(self, read: Callable[[int, int], bytes], points: Stamp) -> None:
        """Read the header. `points` is the current stamp of metrics.jsonl.

        Raises Damaged if the header is damaged, or was written for another state of metrics.jsonl.
        """
        line = read(0, _LINE_BYTES)
        try:
            size, checksum = map(int, line.removeprefix(_FORMAT).split())
            header = read(_LINE_BYTES, size)
            if not line.startswith(_FORMAT) or zlib.crc32(header) != checksum:
                raise Damaged("its header is damaged")
            content = json.loads(header)
        except ValueError as fault:
            raise Damaged("its header is damaged") from fault
        if (content["size"], content["mtime_ns"]) != (points.size, points.mtime_ns):
            raise Damaged("metrics.jsonl has changed since")
        self._read = read
        self._start = _LINE_BYTES + size
        self._entries: dict[str, dict[str, Any]] = content["series"]

    def curves(self, keys: Collection[str] | None, view: View, start_ms: int) -> dict[str, Curve] | None:
        """Return curves as `metrics.get_curves` does (`keys` None: of all series); None if the points are needed."""
        entries = self._entries
        requested = [key for key in (entries if keys is None else keys) if key in entries]
        since_ms = min([start_ms, *(entries[key]["first_time"] for key in requested)])
        curves = {}
        for key in requested:
            series = self._load(key)
            curve = curve_of(series, view, since_ms) if isinstance(series, Series) else series.curve(view, since_ms)
            if curve is None:
                return None
            curves[key] = curve
        return curves

    def points(self, keys: Collection[str] | None, max_points: int) -> dict[str, tuple[Series, list[int], int]] | None:
        """Return at most `max_points` points of each series, as `Series.thinned` chooses them, by key.

        Each is a tuple of a series that contains them, their indexes in it, and the length of the whole series. Returns
        None if the points themselves are needed.
        """
        selected = {}
        for key, entry in self._entries.items():
            if keys is not None and key not in keys:
                continue
            if entry["is_rounded"]:
                return None
            series = self._load(key)
            if isinstance(series, Series):
                selected[key] = (series, series.thin(series.between(), max_points), len(series))
                continue
            places = series.places(max_points)
            if places is None:
                return None
            selected[key] = (series.by_step.samples, places, series.total)
        return selected

    def check(self) -> bool:
        """Read the whole file and return True. Raises Damaged."""
        return all(self._block(key, entry) for key, entry in self._entries.items())

    def _block(self, key: str, entry: Mapping[str, Any]) -> bytes:
        block = self._read(self._start + entry["at"], entry["bytes"])
        if len(block) != entry["bytes"] or zlib.crc32(block) != entry["crc32"]:
            raise Damaged(f"the columns of {key!r} are damaged")
        return block

    def _load(self, key: str) -> Series | Thinned:
        entry = self._entries[key]
        columns = _Columns(self._block(key, entry))
        if "by_step" not in entry:
            series = columns.points(entry)
            series.one_a_step = entry["one_a_step"]
            return series
        by_step = columns.buckets(entry["by_step"])
        by_time = columns.buckets(entry["by_time"]) if entry["by_time"] else None
        return Thinned(entry["count"], entry["first_time"], entry["is_at_one_step"], by_step, by_time)


class _Columns:
    """The columns of a series, read in sequence."""

    def __init__(self, block: bytes) -> None:
        self._block = memoryview(block)

    def _take(self, kind: str, count: int) -> Any:
        column: array[Any] = array(kind)
        size = count * column.itemsize
        column.frombytes(self._block[:size])
        self._block = self._block[size:]
        return column if sys.byteorder == "little" else _swap_bytes(column)

    def points(self, entry: Mapping[str, Any]) -> Series:
        """Read points, in the order in which they are stored."""
        count = entry["points"]
        series = Series()
        series.steps, series.timestamps, series.values = (self._take(kind, count) for kind in "qqd")
        if entry["has_integers"]:
            kinds = self._take("B", count)
            series.values = [int(value) if kind else value for value, kind in zip(series.values, kinds, strict=True)]
        series.has_nonfinite = entry["has_nonfinite"]
        return series

    def buckets(self, entry: Mapping[str, Any]) -> Buckets:
        """Read buckets with their points."""
        points = self.points(entry)
        ends, counts, finite_counts, steps, times = (self._take("q", entry["buckets"]) for _ in range(5))
        return Buckets(points, ends, counts, finite_counts, self._take("d", entry["buckets"]), steps, times)


def thinned_file(by_key: Mapping[str, Series], points: Stamp, start_ms: int) -> Iterable[bytes]:
    """Return the content of the file in pieces. `points` is the stamp of metrics.jsonl, `start_ms` the run's start."""
    entries: dict[str, dict[str, Any]] = {}
    blocks: list[bytes] = []
    at = 0
    for key, series in by_key.items():
        block, entry = _pack(series, start_ms)
        entries[key] = {**entry, "at": at, "bytes": len(block), "crc32": zlib.crc32(block)}
        at += len(block)
        blocks.append(block)
    header = json.dumps({"size": points.size, "mtime_ns": points.mtime_ns, "series": entries}).encode()
    line = _FORMAT + b"%d %d" % (len(header), zlib.crc32(header))
    return [line.ljust(_LINE_BYTES - 1) + b"\n", header, *blocks]


def _pack(series: Series, start_ms: int) -> tuple[bytes, dict[str, Any]]:
    """Return the columns of a series, and its entry in the header."""
    entry: dict[str, Any] = {"first_time": series.timestamps[0], "is_rounded": _is_rounded(series.values)}
    if len(series) <= EXACT_POINTS:
        return _pack_points(series), {**entry, **_about(series), "one_a_step": series.one_a_step}
    thinned = thin(series, start_ms)
    block = b""
    for name, buckets in (("by_step", thinned.by_step), ("by_time", thinned.by_time)):
        entry[name] = None
        if buckets is not None:
            entry[name] = {**_about(buckets.samples), "buckets": len(buckets.ends)}
            columns = [buckets.ends, buckets.counts, buckets.finite_counts, buckets.steps, buckets.times]
            block += _pack_points(buckets.samples)
            block += b"".join(map(_bytes_of, columns)) + _bytes_of(buckets.means)
    return block, {**entry, "count": thinned.total, "is_at_one_step": thinned.is_at_one_step}


def _about(series: Series) -> dict[str, Any]:
    has_integers = isinstance(series.values, list)
    return {"points": len(series), "has_nonfinite": series.has_nonfinite, "has_integers": has_integers}


def _pack_points(series: Series) -> bytes:
    values = series.values
    content = _bytes_of(series.steps) + _bytes_of(series.timestamps) + _bytes_of(array("d", values))
    return content if isinstance(values, array) else content + bytes(type(value) is int for value in values)


def _is_rounded(values: Sequence[Number]) -> bool:
    """Return whether `values` has an integer that a float can't represent."""
    return isinstance(values, list) and any(type(value) is int and abs(value) > _EXACT for value in values)


def _bytes_of(column: array[Any]) -> bytes:
    return (column if sys.byteorder == "little" else _swap_bytes(column[:])).tobytes()


def _swap_bytes(column: array[Any]) -> array[Any]:
    column.byteswap()
    return column
