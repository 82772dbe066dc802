"""When written bytes are forced to the disk: the contract's section 5, in the terms of Redis' appendfsync.

`always`: before the answer. `everysec`: points within a second, everything else before the answer. `no`: when the
system likes. Whatever the mode, written bytes are the kernel's before the answer, so they outlive the process.

An fsync that failed is never tried again and called fine: the kernel may have dropped the pages and call the second
try a success. What was to be answered is an error then; a file whose fsync failed in the background takes no more
points until the server has been started anew and has read what is really there.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading

log = logging.getLogger(__name__)

#: Seconds between two background rounds.
INTERVAL_SECONDS = 1.0
#: Files that may wait for a round, each with an open descriptor; the next one starts a round at once.
MAX_WAITING = 256


class Durability:
    """The fsync mode of one store, and the thread that `everysec` needs."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._waiting: dict[str, int] = {}
        self._failed: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if mode == "everysec":
            self._thread = threading.Thread(target=self._rounds, name="fsync", daemon=True)
            self._thread.start()

    def sync(self, descriptor: int) -> None:
        """Force a file or a folder to the disk before the answer, in every mode but `no`. OSError when that fails."""
        if self.mode != "no":
            os.fsync(descriptor)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable: a new file is only as safe as its entry."""
        if self.mode != "no":
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def sync_within_a_second(self, path: str, descriptor: int) -> None:
        """Take over the open `descriptor` of points that were appended to `path`, and close it when it is done with.

        The descriptor that wrote is the one that is synced: one opened later would not be told of an error
        that the kernel met in between.
        """
        if self.mode == "everysec":
            with self._lock:
                held = self._waiting.setdefault(path, descriptor) is descriptor
                crowded = len(self._waiting) >= MAX_WAITING
            if not held:
                os.close(descriptor)
            if crowded:
                self._round()
            return
        try:
            if self.mode == "always":
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def refuse_failed(self, path: str) -> None:
        """Raise OSError (EIO) when an earlier fsync of `path` failed behind an answer that had been given."""
        if path in self._failed:
            raise OSError(errno.EIO, "an earlier fsync of this file failed", path)

    def close(self) -> None:
        """A last round, then the thread ends."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._round()

    def _rounds(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self._round()

    def _round(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for path, descriptor in waiting.items():
            try:
                os.fsync(descriptor)
            except OSError:
                self._failed.add(path)
                log.exception("fsync failed: the last second of %s may not be on the disk", path)
            with contextlib.suppress(OSError):
                os.close(descriptor)
