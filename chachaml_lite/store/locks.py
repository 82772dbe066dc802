"""Locks: one for each run or model, for the threads of this server; one on the store, for servers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import Any

from ..errors import StoreUnusable

#: `verify` holds the store's lock for some µs, to see who else does: a server that starts in them tries again.
_TRIES = 3
_PAUSE_SECONDS = 0.02


class _Held:
    """A named lock, for one `with`. A class, for a generator costs as much again as the lock."""

    __slots__ = ("_locks", "_name")

    def __init__(self, locks: NamedLocks, name: str) -> None:
        self._locks = locks
        self._name = name

    def __enter__(self) -> None:
        self._locks.acquire(self._name)

    def __exit__(self, *_: object) -> None:
        self._locks.release(self._name)


class NamedLocks:
    """A lock for each name that is in use right now. Re-entrant, so that a rule may call another one's."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, list[Any]] = {}  # the lock, and how many hold or wait for it

    def held(self, name: str) -> _Held:
        """Hold the lock of `name` within a `with`; nobody else does meanwhile."""
        return _Held(self, name)

    def acquire(self, name: str) -> None:
        """Wait for the lock of `name`, and take it."""
        with self._guard:
            entry = self._locks.setdefault(name, [threading.RLock(), 0])
            entry[1] += 1
        entry[0].acquire()

    def release(self, name: str) -> None:
        """Give the lock of `name` back."""
        with self._guard:
            entry = self._locks[name]
            entry[0].release()
            entry[1] -= 1
            if not entry[1]:
                del self._locks[name]


class StoreLock:
    """An advisory lock (flock) on the file `path`, held while this process serves the store.

    The kernel gives it back when the process dies, however it dies. The file's text is for people, and it is
    emptied by a clean stop: text that is found when the lock is taken means that the last owner was killed.
    """

    def __init__(self, path: str) -> None:
        """Take the lock. StoreUnusable when another process has it."""
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
        #: When the last owner began, in ns since 1970, where it was killed; None after a clean stop.
        self.killed_since_ns = status.st_mtime_ns if status.st_size else None
        self.tell(f"process {os.getpid()}")

    def tell(self, owner: str) -> None:
        """Say who has the lock, in words for whoever wants it too."""
        text = f"{owner}\n".encode()
        # On a full disk there is no room for the text, and a server that can't start could not be asked to delete runs.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, text, 0)  # before the rest is cut off: an empty file tells of a clean stop
            os.ftruncate(self._descriptor, len(text))

    def _take(self) -> None:
        """Take the lock. BlockingIOError when another process has it, and keeps it."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_PAUSE_SECONDS)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Give the lock back after a clean stop."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
