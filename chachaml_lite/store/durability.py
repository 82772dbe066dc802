"""Moments at which bytes are forced to the disk: the contract's section 5, in the terms of Redis' appendfsync.

`always`: before the answer. `everysec`: points within a second (see `point_files`), everything else before the answer.
`no`: when the system likes. Whatever the mode, written bytes are the kernel's before the answer, so they outlive the
process.

An fsync that failed is never tried again and called fine: the kernel may have dropped the pages and call the second
try a success. What was to be answered is an error then.
"""

from __future__ import annotations

import os


class Durability:
    """The fsync mode of one store."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def sync(self, descriptor: int) -> None:
        """Force a file or a folder to the disk before the answer, in every mode but `no`. OSError when that fails."""
        if self.mode != "no":
            os.fsync(descriptor)

    def sync_points(self, descriptor: int) -> None:
        """Force points to the disk before the answer, where the mode says so. OSError when that fails."""
        if self.mode == "always":
            os.fsync(descriptor)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable: a new file is only as safe as its entry."""
        if self.mode != "no":
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
