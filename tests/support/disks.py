"""Small disks for one test: a tmpfs that can be filled, or made read-only, if the machine allows it."""

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
        """Write until no page is free."""
        with (self.path / "filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(_PAGE_BYTES))
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def free(self) -> None:
        """Delete the file that `fill` wrote."""
        (self.path / "filler").unlink()


@contextlib.contextmanager
def mount_tmpfs(path: Path, size: str) -> Iterator[Disk]:
    """Mount a tmpfs of a size ("1m") at a new folder. Raises OSError if this machine or user can't do that."""
    path.mkdir()
    options = f"size={size},mode=700,uid={os.getuid()},gid={os.getgid()}"
    _run_as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        _run_as_root("umount", str(path))


@contextlib.contextmanager
def mount_read_only(path: Path) -> Iterator[None]:
    """Make a folder read-only for the duration of the block, like a disk on which the kernel has found an error.

    A disk with a file that is open for writing can't be remounted, so the folder is mounted read-only on top of itself.
    Files that are already open would stay writable, which they don't after a disk error. So this waits until the server
    has closed its metrics files, which it keeps open for a second after the last point.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _find_open_metrics(path):
        assert time.monotonic() < deadline, "a metrics file stays open"
        time.sleep(0.02)
    _run_as_root("mount", "--bind", str(path), str(path))
    try:
        _run_as_root("mount", "-o", "remount,bind,ro", str(path))
        yield
    finally:
        _run_as_root("umount", str(path))


def _find_open_metrics(path: Path) -> list[str]:
    files = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith(str(path)) and target.endswith("/metrics.jsonl"):
                files.append(target)
    return files


def _run_as_root(*command: str) -> None:
    if os.getuid() != 0:
        if shutil.which("sudo") is None:
            raise OSError("mounting needs root, or sudo without a password")
        command = ("sudo", "-n", *command)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise OSError(result.stderr.strip() or f"{command[0]} failed")
