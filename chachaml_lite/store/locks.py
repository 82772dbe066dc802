"""Locks: one for each run or model, between threads of this server; one for the store, between servers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import Any

from ..errors import StoreUnusable

#: `verify` holds the store's lock for a few µs to see who else does; a server that starts just then tries again.
_TRIES = 3
_PAUSE_SECONDS = 0.02


class _HeldLock:
    """A named lock as a context manager. A class, because a generator would cost as much again as the lock itself."""

    __slots__ = ("_locks", "_name")

    def __init__(self, locks: NamedLocks, name: str) -> None:
        self._locks = locks
        self._name = name

    def __enter__(self) -> None:
        self._locks.acquire(self._name)

    def __exit__(self, *_: object) -> None:
        self._locks.release(self._name)


class NamedLocks:
    """A lock for each name that is currently in use. Re-entrant, so that one rule may call another."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, list[Any]] = {}  # the lock, and how many threads hold it or wait for it

    def hold(self, name: str) -> _HeldLock:
        """Return a context manager that holds the lock of `name`."""
        return _HeldLock(self, name)

    def acquire(self, name: str) -> None:
        """Wait for the lock of `name` and take it."""
        with self._guard:
            entry = self._locks.setdefault(name, [threading.RLock(), 0])
            entry[1] += 1
        entry[0].acquire()

    def release(self, name: str) -> None:
        """Release the lock of `name`."""
        with self._guard:
            entry = self._locks[name]
            entry[0].release()
            entry[1] -= 1
            if not entry[1]:
                del self._locks[name]


class StoreLock:
    """An advisory lock (flock) on the file `path`, held while this process serves the store.

    The kernel releases it when the process dies, for whatever reason. The file's text is for people. A clean stop
    empties the file, so text in it when the lock is taken means that the last owner was killed.
    """

    def __init__(self, path: str) -> None:
        """Take the lock. Raises OSError; StoreUnusable if another process holds it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            self._take()
        except BlockingIOError as fault:
            owner = os.read(self._descriptor, 200).decode(errors="replace").strip() or "it is just starting"
            os.close(self._descriptor)
            raise StoreUnusable(
                f"another server owns this store ({owner}); stop it, or serve another folder", owner
            ) from fault
        status = os.fstat(self._descriptor)
        #: When the last owner started, in ns since 1970, if it was killed; None after a clean stop.
        self.killed_since_ns = status.st_mtime_ns if status.st_size else None
        self.tell(f"process {os.getpid()}")

    def tell(self, owner: str) -> None:
        """Write who holds the lock to its file, for anybody else who wants it."""
        text = f"{owner}\n".encode()
        # A full disk has no room for the text; but the server must start even then, so that runs can be deleted.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, text, 0)  # before truncating: an empty file means a clean stop
            os.ftruncate(self._descriptor, len(text))

    def _take(self) -> None:
        """Take the lock. Raises BlockingIOError if another process holds it and keeps it."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_PAUSE_SECONDS)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Release the lock after a clean stop. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
