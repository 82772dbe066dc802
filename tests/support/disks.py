"""Small disks of a test's own: a tmpfs that can be filled, and made read-only, where the machine allows it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.servers import PATIENCE_SECONDS

_PAGE_BYTES = 4096


@dataclass
class Disk:
    """A mounted tmpfs."""

    path: Path

    def fill(self) -> None:
        """Leave no page free."""
        with (self.path / "filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(_PAGE_BYTES))
            except OSError as fault:
                assert fault.errno == errno.ENOSPC

    def free(self) -> None:
        """Take away what `fill` wrote."""
        (self.path / "filler").unlink()


@contextlib.contextmanager
def mount_tmpfs(path: Path, size: str) -> Iterator[Disk]:
    """A tmpfs of a size ("1m") at a new folder. OSError where this machine or user can't mount one."""
    path.mkdir()
    options = f"size={size},mode=700,uid={os.getuid()},gid={os.getgid()}"
    _as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        _as_root("umount", str(path))


@contextlib.contextmanager
def mount_read_only(path: Path) -> Iterator[None]:
    """A folder that can only be read while the block lasts, as when the kernel finds a fault on a disk.

    A disk with a file that is open to write can't be remounted, so the folder is mounted read-only on top of itself.
    What is open already would go on as it was, which it doesn't after a fault: so the metrics files that a server keeps
    open for a second after the last point are waited for.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _open_metrics(path):
        assert time.monotonic() < deadline, "a metrics file stays open"
        time.sleep(0.02)
    _as_root("mount", "--bind", str(path), str(path))
    try:
        _as_root("mount", "-o", "remount,bind,ro", str(path))
        yield
    finally:
        _as_root("umount", str(path))


def _open_metrics(path: Path) -> list[str]:
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith(str(path)) and target.endswith("/metrics.jsonl"):
                found.append(target)
    return found


def _as_root(*command: str) -> None:
    if os.getuid() != 0:
        if shutil.which("sudo") is None:
            raise OSError("mounting needs root, or sudo without a password")
        command = ("sudo", "-n", *command)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip() or f"{command[0]} failed")
