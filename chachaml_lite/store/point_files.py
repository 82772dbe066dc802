"""The metrics files that are being written to: kept open for as long as points come, and synced behind the answers.

A training loop sends a point every few milliseconds. Opening the file for each of them, finding out whether its last
line is whole, and closing it again costs as much as the rest of the request; an open file whose stamp is the one that
our last write left needs none of that: nobody else has touched it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections import OrderedDict

from .atomic import ends_torn, open_to_append, write_lines
from .durability import Durability
from .reading import NO_FILE, Stamp, stamp_of

log = logging.getLogger(__name__)

#: Seconds between two rounds of the thread that syncs: points that are answered right after one wait for the next, and
#: its fsync has the other half of the second.
INTERVAL_SECONDS = 0.5
#: Files open at once; a quarter of the descriptors that a process usually may have.
MAX_OPEN = 256


class _Open:
    __slots__ = ("busy", "descriptor", "dirty", "stamp", "used")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        #: What our last write left, whole lines to the end; None before it.
        self.stamp: Stamp | None = None
        self.busy = True
        self.dirty = False
        self.used = True


class PointFiles:
    """The open metrics files of one store, by path, those used last at the end. Callers hold the run of a path."""

    def __init__(self, durability: Durability) -> None:
        self._durability = durability
        self._open: OrderedDict[str, _Open] = OrderedDict()
        # By path and inode: a run may be deleted and made anew, or its file be mended by putting another one in place.
        self._failed: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._rounds, name="points", daemon=True)
        self._thread.start()

    def append(self, path: str, lines: bytes, expected: Stamp) -> Stamp | None:
        """Append whole lines with one write(2) to the file at `path`, if it is as `expected`; returns its stamp then.

        None: it is not as expected, and nothing was written. A last line that was left without its end gets one first,
        in the same write. Raises OSError; then the file has its old length again.

        After a failed fsync behind an answer, a file takes no more points until the server has been started anew, and
        has read what is really there.
        """
        if (path, expected.inode) in self._failed:
            raise OSError(errno.EIO, "an earlier fsync of this file failed", path)
        file = self._take(path)
        try:
            if file is not None and stamp_of(os.fstat(file.descriptor)) != expected:
                self.forget(path)
                file = None
            if file is None:
                file = self._open_file(path, expected)
                if file is None:
                    return None
            size = expected.size
            if file.stamp != expected and ends_torn(file.descriptor, size):
                lines = b"\n" + lines
            write_lines(file.descriptor, size, lines, self._durability.sync_points)
            stamp = stamp_of(os.fstat(file.descriptor))
        except OSError:
            self.forget(path)
            if expected == NO_FILE:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise
        self._give_back(path, file, stamp)
        return stamp

    def forget(self, path: str) -> None:
        """Close the file, when it is open: its run is removed, or it isn't the file of that name any more."""
        self._forget(path, only_idle=False)

    def close(self) -> None:
        """A last round, and all files closed."""
        self._stop.set()
        self._thread.join()
        for path in list(self._open):
            self.forget(path)

    def _take(self, path: str) -> _Open | None:
        with self._lock:
            file = self._open.get(path)
            if file is not None:
                file.busy = True
        return file

    def _open_file(self, path: str, expected: Stamp) -> _Open | None:
        """The file, opened and held, if it is as expected, or made where none is expected."""
        descriptor, is_new = open_to_append(path)
        if is_new != (expected == NO_FILE) or not (is_new or stamp_of(os.fstat(descriptor)) == expected):
            os.close(descriptor)
            return None
        file = _Open(descriptor)
        with self._lock:
            self._open[path] = file
            crowded = len(self._open) > MAX_OPEN
            oldest = next((other for other, each in self._open.items() if not each.busy), None) if crowded else None
            if oldest is not None:
                self._open[oldest].used = False
        if oldest is not None:
            self._forget(oldest, only_idle=True)
        if is_new:
            self._durability.sync_folder(os.path.dirname(path))
        return file

    def _give_back(self, path: str, file: _Open, stamp: Stamp) -> None:
        with self._lock:
            file.stamp = stamp
            file.dirty = file.used = True
            file.busy = False
            self._open.move_to_end(path)

    def _forget(self, path: str, *, only_idle: bool) -> None:
        with self._lock:
            file = self._open.get(path)
            if file is None or (only_idle and (file.busy or file.used)):
                return
            del self._open[path]
        if file.dirty:
            self._sync(path, file.descriptor)
        os.close(file.descriptor)

    def _sync(self, path: str, descriptor: int) -> None:
        if self._durability.mode == "everysec":
            try:
                os.fsync(descriptor)
            except OSError:
                self._failed.add((path, os.fstat(descriptor).st_ino))
                log.exception("fsync failed: the last second of %s may not be on the disk", path)

    def _rounds(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self._round()

    def _round(self) -> None:
        """Sync what was written since the last round, and close what was not used since."""
        batches: list[tuple[str, int]] = []
        idle: list[str] = []
        with self._lock:
            for path, file in self._open.items():
                if file.dirty:
                    # A second descriptor of the same opening: it may be synced while the first one is written to or
                    # closed, and is told of the same errors, which one from another open(2) would not be.
                    with contextlib.suppress(OSError):
                        batches.append((path, os.dup(file.descriptor)))
                        file.dirty = False
                else:  # `_forget` leaves open what is busy or was used by then
                    idle.append(path)
                file.used = False
        for path, descriptor in batches:
            self._sync(path, descriptor)
            os.close(descriptor)
        for path in idle:
            self._forget(path, only_idle=True)
