"""Fsync modes: when bytes are forced to disk (contract, section 5), named as in Redis' appendfsync.

`always`: before the response. `everysec`: points within a second (see `point_files`), everything else before the
response. `no`: whenever the operating system decides. In every mode the kernel has the written bytes before the
response, so they survive the process.

A failed fsync is never retried and reported as a success: the kernel may have dropped the pages and report success the
second time. The request fails instead.
"""

from __future__ import annotations

import os


class Durability:
    """The fsync mode of one store."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def sync(self, descriptor: int) -> None:
        """Force a file or a folder to disk before the response, in every mode but `no`. Raises OSError."""
        if self.mode != "no":
            os.fsync(descriptor)

    def sync_points(self, descriptor: int) -> None:
        """Force points to disk before the response, in mode `always` only. Raises OSError."""
        if self.mode == "always":
            os.fsync(descriptor)

    def sync_folder(self, path: str) -> None:
        """Make a folder's entries durable: a new file is only as safe as its entry. Raises OSError."""
        if self.mode != "no":
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
