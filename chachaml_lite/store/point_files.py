"""Metrics files that are being written to: kept open while points arrive, and synced after the responses.

A training loop sends a point every few milliseconds. Opening the file for each, checking whether its last line is
whole, and closing it again costs as much as the rest of the request. An open file whose stamp is the one that our last
write left needs none of that: nobody else has changed it.
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

#: Seconds between two rounds of the syncing thread: a point written right after one round waits for the next, whose
#: fsync has the other half of the second.
INTERVAL_SECONDS = 0.5
#: The most files open at once: a quarter of the descriptors that a process usually may have.
MAX_OPEN = 256


class _Open:
    __slots__ = ("busy", "descriptor", "dirty", "stamp", "used")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        #: The stamp after our last write, which ended with whole lines; None before it.
        self.stamp: Stamp | None = None
        self.busy = True
        self.dirty = False
        self.used = True


class PointFiles:
    """The open metrics files of one store by path, least recently used first.

    Callers hold the lock of the path's run.
    """

    def __init__(self, durability: Durability) -> None:
        self._durability = durability
        self._open: OrderedDict[str, _Open] = OrderedDict()
        # By path and inode: a run may be deleted and created again, or its file be repaired by replacing it.
        self._failed: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._rounds, name="points", daemon=True)
        self._thread.start()

    def append(self, path: str, lines: bytes, expected: Stamp) -> Stamp | None:
        """Append whole lines with one write(2) to the file at `path` if its stamp is `expected`; return its new stamp.

        Returns None if the stamp differs; nothing is written then. If the last line lacks its line end, one is added
        first in the same write. Raises OSError, after restoring the file's old length.

        After a failed fsync behind a response, a file accepts no more points until the server is restarted and has read
        what is really there.
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
        """Close the file if it is open, because its run is removed or another file has taken its place."""
        self._forget(path, only_idle=False)

    def close(self) -> None:
        """Run a last round and close all files."""
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
        """Open the file and mark it as busy, if its stamp is as expected; create it if none is expected.

        Else return None.
        """
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
        """Sync the files written to since the last round, and close those not used since."""
        batches: list[tuple[str, int]] = []
        idle: list[str] = []
        with self._lock:
            for path, file in self._open.items():
                if file.dirty:
                    # A duplicate of the descriptor: it can be synced while the first one is written to or closed, and
                    # reports the same errors, which a descriptor from another open(2) would not.
                    with contextlib.suppress(OSError):
                        batches.append((path, os.dup(file.descriptor)))
                        file.dirty = False
                else:  # `_forget` leaves a file open that is busy or has been used by then
                    idle.append(path)
                file.used = False
        for path, descriptor in batches:
            self._sync(path, descriptor)
            os.close(descriptor)
        for path in idle:
            self._forget(path, only_idle=True)
