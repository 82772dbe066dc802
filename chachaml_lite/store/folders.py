"""Folders inside a run's folder, made on the way to a file, and never through a link that somebody put there."""

from __future__ import annotations

import contextlib
import errno
import os

from .atomic import FOLDER_MODE
from .durability import Durability

#: How a folder is opened that has to be one itself, not a link to one.
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class InTheWay(Exception):
    """Where a file is to be, or one of its folders, there is something that nobody uploaded. The text names it."""


def made(folder: str, path: str, durability: Durability) -> str:
    """Where `path`, relative and with /, is below `folder`; the folders above it made. InTheWay; OSError."""
    *inner, name = path.split("/")
    here = folder
    for each in inner:
        above, here = here, f"{here}/{each}"
        is_new = False
        with contextlib.suppress(FileExistsError):
            os.mkdir(here, FOLDER_MODE)
            is_new = True
        try:
            os.close(os.open(here, FOLDER))
        except OSError as fault:
            if fault.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InTheWay("/".join(inner)) from fault
            raise
        if is_new:
            durability.sync_folder(above)
    return f"{here}/{name}"
