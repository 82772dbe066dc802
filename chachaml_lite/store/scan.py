"""Which folders there are in runs/ and models/: found by looking, so that one copied in or removed by hand is seen.

What is checked on each request, and what it costs: one lstat of runs/ (2 µs). A folder's own stamp changes whenever an
entry is added, renamed or removed, so the entries are listed again (5 ms for 10,000) only when it has. Since a stamp
has the resolution of the file system's clock, a listing that was made within a tick of the last change is not
believed and made again.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from . import reading
from .reading import NO_FILE, Stamp

#: A generous tick: 4 ms on ext4, xfs and btrfs, 1 ns on APFS.
_TICK_NS = 50_000_000


class Folders(NamedTuple):
    """What a folder holds; names with a dot in front are passed over."""

    folders: frozenset[str]
    #: Files, links and the rest: not ours, left alone.
    strays: frozenset[str]


class FolderScan:
    """The entries of one folder. Not locked: two threads that list at once find the same."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[Stamp, Folders] = (NO_FILE, Folders(frozenset(), frozenset()))

    def folders(self) -> Folders:
        """What is there now, the same object while nothing changed; nothing, where the folder is gone. OSError."""
        stamp = reading.stamp(self._path)
        known, found = self._seen
        if stamp == known:
            return found
        now_ns = time.time_ns()
        listed = self._list()
        if listed == found:
            listed = found
        settled = now_ns - stamp.mtime_ns > _TICK_NS
        self._seen = (stamp if settled else NO_FILE, listed)
        return listed

    def _list(self) -> Folders:
        folders: list[str] = []
        strays: list[str] = []
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        (folders if entry.is_dir(follow_symlinks=False) else strays).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            pass
        return Folders(frozenset(folders), frozenset(strays))
