"""The folders in runs/, models/ and experiments/, found by listing, so that manual copies and removals are noticed.

models/ and experiments/ (`FolderScan`): one lstat per request (2 µs). A folder's own stamp changes whenever an entry is
added, renamed or removed, so the entries are listed again (5 ms for 10,000) only if it has changed. A stamp has the
resolution of the file system's clock, so a listing made within a tick of the last change is repeated.

runs/ (`RunFolders`): each new run changes the folder's stamp, and listing it again for each of 10,000 runs logged one
after the other took most of their time. So the kernel reports which entries came and went (inotify), and only those are
examined. Where it doesn't, runs/ is listed again at most once every `LOOK_SECONDS`.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from . import reading
from .reading import NO_FILE, Stamp
from .watch import EntryWatch

#: A tick of the file system's clock, generously: 4 ms on ext4, xfs and btrfs, 1 ns on APFS.
_TICK_NS = 50_000_000
#: Seconds for which a listing stays valid where the kernel doesn't report changes (contract, section 4).
LOOK_SECONDS = 1.0


class Folders(NamedTuple):
    """The entries of a folder; names that begin with a dot are skipped."""

    folders: frozenset[str]
    #: Files, links and anything else: not part of the store, and left alone.
    strays: frozenset[str]


class FolderScan:
    """The entries of one folder. Not locked: two threads that list it at the same time get the same result."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last_listing: tuple[Stamp, Folders] = (NO_FILE, Folders(frozenset(), frozenset()))
        #: The last stamp that was too recent to rely on, and when it was first seen, in ns of a monotonic clock.
        self._fresh: tuple[Stamp, int] = (NO_FILE, 0)

    def folders(self) -> Folders:
        """Return the current entries, the same object while they are unchanged; none if the folder is gone.

        Raises OSError.
        """
        current = self.list_again()
        return self._last_listing[1] if current is None else current

    def list_again(self) -> Folders | None:
        """Return the current entries if they may have changed since the last listing, else None. Raises OSError."""
        stamp = reading.stamp(self._path)
        known_stamp, folders = self._last_listing
        if stamp == known_stamp:
            return None
        is_settled = self._is_settled(stamp)
        current = list_folder(self._path)
        if current == folders:
            current = folders
        self._last_listing = (stamp if is_settled else NO_FILE, current)
        return current

    def _is_settled(self, stamp: Stamp) -> bool:
        """Return whether no further change can have this stamp; must be called before the entries are listed.

        That is so once the clock is more than a tick past the stamp; for a stamp in the future, once it has been the
        same for longer than a tick.
        """
        if time.time_ns() - max(stamp.mtime_ns, stamp.changed_ns) - _TICK_NS > 0:
            return True
        now = time.monotonic_ns()
        fresh, since = self._fresh
        if stamp != fresh:
            self._fresh = (stamp, now)
            return False
        return now - since > _TICK_NS


def list_folder(path: str) -> Folders:
    """List a folder now; return its entries, or none if it is gone. Raises OSError."""
    folders: list[str] = []
    strays: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir(follow_symlinks=False) else strays).append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return Folders(frozenset(folders), frozenset(strays))


class Changes(NamedTuple):
    """The entries of runs/ that changed since the last call."""

    #: Folders that are new, or may have replaced others of the same name.
    new: Iterable[str] = ()
    removed: Iterable[str] = ()
    #: New entries that aren't folders.
    strays: Iterable[str] = ()


_NOTHING = Changes()


class RunFolders:
    """The folders in runs/, kept up to date from reported changes.

    Each change is returned by one call only, so callers hold a lock until they have acted on it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._names: set[str] = set()
        self._strays: set[str] = set()
        self._lock = threading.Lock()
        self._watch = EntryWatch(path)
        self._scan = FolderScan(path)
        self._identity: tuple[int, int] | None = None
        self._last_look = float("-inf")
        self._folds_case = _is_same(path, f"{os.path.dirname(path)}/{os.path.basename(path).upper()}")

    def is_there(self, name: str) -> bool:
        """Return whether there is now a folder, not a link, with this name; case is ignored if the disk ignores it."""
        try:
            return stat.S_ISDIR(os.lstat(f"{self._path}/{name}").st_mode)
        except OSError:
            return False

    def changes(self) -> Changes:
        """Return the changes that the kernel reports, else those found by listing, once in a while. Raises OSError."""
        with self._lock:
            identity = _identity(self._path)
            if identity != self._identity or self._watch.is_lost:
                # Not the watched folder any more: the data folder was moved, or removed and created again.
                self._identity = identity
                self._watch.start()  # before listing, so that changes in between are reported
                return self._compare(list_folder(self._path))
            if self._watch.is_on:
                names = self._watch.read_changes()
                return self._compare(list_folder(self._path)) if names is None else self._recheck(names)
            now = time.monotonic()
            if now - self._last_look < LOOK_SECONDS:
                return _NOTHING
            current = self._scan.list_again()
            self._last_look = now
            return _NOTHING if current is None else self._compare(current)

    def changes_of(self, name: str) -> Changes:
        """Return the change of one entry that was noticed to have come or gone. Raises OSError."""
        with self._lock:
            if self._folds_case:  # only a listing shows how the name is spelled
                return self._compare(list_folder(self._path))
            return self._recheck((name,))

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()

    def _compare(self, current: Folders) -> Changes:
        """Adopt a listing; return the differences from the previous state.

        The listing was made under the lock, so it is newer than any previous look.
        """
        self._last_look = time.monotonic()
        changes = Changes(
            current.folders - self._names, self._names - current.folders, current.strays.difference(self._strays)
        )
        self._names, self._strays = set(current.folders), set(current.strays)
        return changes

    def _recheck(self, names: Iterable[str]) -> Changes:
        """Return the changes of these entries by their current state, whatever the order of the events was."""
        new, removed, strays = [], [], []
        for name in names:
            if name.startswith("."):
                continue
            if self.is_there(name):
                self._strays.discard(name)
                self._names.add(name)
                new.append(name)
                continue
            if name in self._names:
                self._names.remove(name)
                removed.append(name)
            if not os.path.lexists(f"{self._path}/{name}"):
                self._strays.discard(name)
            elif name not in self._strays:
                self._strays.add(name)
                strays.append(name)
        return Changes(new, removed, strays)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _is_same(path: str, other: str) -> bool:
    return _identity(path) is not None and _identity(path) == _identity(other)
