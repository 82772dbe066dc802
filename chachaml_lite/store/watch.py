"""Changes on disk as reported by the kernel: inotify(7), where it exists and the disk is local.

The kernel queues an event before the system call that caused it returns, so a read of the queue covers every change
that was complete by then. Checking all runs costs one read(2) instead of four lstat(2) for each of them (10 ms for a
thousand runs). Where it isn't available (macOS, a network file system, whose other clients the kernel doesn't notice, a
store with more runs than there are watches), `add` returns False, and the caller checks the files each time.

Not reported: writes through mmap(2) by another process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterator

_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO = 0x2, 0x4, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_OVERFLOW, _IGNORED, _UNMOUNT = 0x4000, 0x8000, 0x2000
_ONLY_FOLDERS, _NO_LINKS = 0x1000000, 0x2000000
_MASK = (_MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF) | (
    _ONLY_FOLDERS | _NO_LINKS
)
_ENTRIES = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDERS | _NO_LINKS
_HEADER = struct.Struct("iIII")
_READ_BYTES = 256 * 1024

#: File systems on which every change goes through this kernel.
_LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})


class Watch:
    """The watched folders and what happened in them. Not locked: callers take turns."""

    def __init__(self, root: str) -> None:
        """Prepare to watch folders below `root`, if that is possible."""
        self._descriptor = -1
        self._names: dict[int, str] = {}
        self._lost_ids: set[str] = set()
        self._room = 0
        self._descriptor = _open_folder(root)
        if self._descriptor < 0:
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        # Three quarters of this user's limit: editors and file managers need watches, too.
        with contextlib.suppress(OSError), open("/proc/sys/fs/inotify/max_user_watches") as file:
            self._room = int(file.read()) * 3 // 4

    def add(self, name: str, path: str) -> bool:
        """Watch the folder at `path` as `name`; return False if that is not possible.

        The caller must then check the folder's files instead.
        """
        if self._descriptor < 0 or len(self._names) >= self._room:
            return False
        number = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), _MASK)
        if number < 0:
            return False
        self._names[number] = name
        return True

    def take_touched(self) -> set[str] | None:
        """Return the names of the folders in which something happened since the last call. None means possibly all."""
        run_ids: set[str] = set()
        overflow = False
        for number, mask, _ in _events(self._descriptor):
            overflow = overflow or bool(mask & _OVERFLOW)
            name = self._names.get(number)
            if name is not None:
                run_ids.add(name)
                if mask & (_DELETE_SELF | _MOVE_SELF):
                    # A watch is on a folder, not on its name, which another folder may have by now.
                    self._libc.inotify_rm_watch(self._descriptor, number)
                    del self._names[number]
                    self._lost_ids.add(name)
        return None if overflow else run_ids

    def take_lost(self) -> set[str]:
        """Return the names whose folders were removed or renamed since the last call; these must be added again."""
        run_ids, self._lost_ids = self._lost_ids, set()
        return run_ids

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class EntryWatch:
    """The entries of one folder that came, went or were replaced. Not locked: callers take turns."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        #: Whether the kernel reports changes of this folder's entries.
        self.is_on = False
        #: Whether the watched folder has since been replaced by another one, or removed.
        self.is_lost = False

    def start(self) -> None:
        """Watch the folder that is now at the path, if that is possible."""
        self.close()
        self.is_lost = False
        self._descriptor = _open_folder(self._path)
        if self._descriptor < 0:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        self.is_on = libc.inotify_add_watch(self._descriptor, os.fsencode(self._path), _ENTRIES) >= 0
        if not self.is_on:
            self.close()

    def read_changes(self) -> set[str] | None:
        """Return the names of the entries that changed since the last call. None means possibly all."""
        names: set[str] = set()
        overflow = False
        for _, mask, name in _events(self._descriptor):
            if mask & (_DELETE_SELF | _MOVE_SELF | _IGNORED | _UNMOUNT):
                self.is_lost = True
            overflow = overflow or bool(mask & _OVERFLOW)
            if name:
                names.add(os.fsdecode(name))
        return None if overflow or self.is_lost else names

    def close(self) -> None:
        """Stop watching."""
        self.is_on = False
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_folder(path: str) -> int:
    """Return an inotify descriptor, or -1 unless every change of the disk below `path` goes through this kernel."""
    if sys.platform == "linux" and _file_system(path) in _LOCAL:
        with contextlib.suppress(OSError, AttributeError):
            return int(ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    return -1


def _events(descriptor: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the pending events, each as the number of its watch, its mask and the name of the entry."""
    while descriptor >= 0:
        try:
            events = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            break
        at = 0
        while at < len(events):
            number, mask, _, length = _HEADER.unpack_from(events, at)
            at += _HEADER.size + length
            yield number, mask, events[at - length : at].rstrip(b"\0")


def _file_system(path: str) -> str:
    """Return the type of the file system of `path` from the kernel's table of mounts, or "" if it is unknown."""
    best, kind = "", ""
    with (
        contextlib.suppress(OSError),
        open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts,
    ):
        for line in mounts:
            fields, _, rest = line.partition(" - ")
            mounted = fields.split()[4]
            if (path == mounted or path.startswith(mounted.rstrip("/") + "/")) and len(mounted) >= len(best):
                best, kind = mounted, rest.split()[0]
    return kind
