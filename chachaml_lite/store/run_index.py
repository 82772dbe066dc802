"""The index of runs: one line per run, with the stamp of its meta.json and the fields that determine its position.

It saves a starting server from reading every meta.json: a run costs one lstat instead of an open, a read and a parse.
It is a cache in one file whose name begins with a dot: rebuildable, never synced to disk, and lost at no cost but time.
A checksum detects a torn or edited file, which is then ignored. A line is only used while its stamp is that of the
run's meta.json.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from . import reading
from .atomic import replace_file
from .layout import Layout
from .reading import Damaged, Stamp

log = logging.getLogger(__name__)

#: The number changes with the format of the lines.
_FORM = b"chachaml-lite index of runs, form 1, sha256 "
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Place(NamedTuple):
    """The fields of a run's meta.json by which runs are ordered and grouped."""

    start_time: int
    experiment: str
    parent_run_id: str | None


class Lines:
    """The lines of an index as they were read, each of them converted only when it is requested."""

    def __init__(self, rows: list[list[Any]]) -> None:
        self._rows = {row[0]: row for row in rows}

    def place(self, run_id: str, stamp: Stamp) -> Place | None:
        """Return the place of a run whose meta.json has this stamp, or None if the index has no such line.

        It may be called once per run: a line is released when it is returned, so that its memory is reused (20 of 200
        MB).
        """
        row = self._rows.pop(run_id, None)
        if row is None or (row[1], row[2], row[3], row[4]) != stamp:
            return None
        return Place(row[5], row[6], row[7])


NO_LINES = Lines([])


class RunIndex:
    """The index of one store. Reading and writing it never fail: without it, everything is read again."""

    def __init__(self, places: Layout, *, read_only: bool) -> None:
        self._path = places.index
        self._read_only = read_only

    def load(self) -> Lines:
        """Return the lines as they were last saved, or none if there is no valid index."""
        try:
            content, _ = reading.read_whole(self._path, reading.MAX_RECORDS_BYTES)
        except (OSError, Damaged):
            return NO_LINES
        head, _, body = content.partition(b"\n")
        if head != _FORM + _checksum(body):
            log.info("the index of runs is damaged or of another version, and is rebuilt")
            return NO_LINES
        # The checksum shows that the index is ours; for 100,000 lines, strict_json's checks would take as long as all
        # the rest.
        return Lines(json.loads(body))

    def save(self, runs: Iterable[tuple[str, Stamp, Place]]) -> None:
        """Write a new index. Does nothing in a read-only store."""
        if self._read_only:
            return
        lines = ",\n".join([_encode((run_id, *stamp, *place)) for run_id, stamp, place in runs])
        body = f"[\n{lines}\n]\n".encode()
        try:
            replace_file(self._path, _FORM + _checksum(body) + b"\n" + body, None)
        except OSError as fault:
            log.info("the index of runs can't be written: %s", fault)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
