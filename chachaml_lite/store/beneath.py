"""Access to files inside a run's folder, creating folders as needed and never following a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import BinaryIO

from .atomic import FOLDER_MODE
from .durability import Durability
from .reading import Damaged

#: Flags for opening a folder that must not be a link.
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class InTheWay(Exception):
    """Something that was not uploaded occupies the place of a file or of one of its folders. The message names it."""


def create_folders(folder: str, path: str, durability: Durability) -> str:
    """Create the folders of `path` (relative, with /) below `folder`; return the full path.

    Raises InTheWay, OSError.
    """
    *inner, name = path.split("/")
    descriptor = folder
    for each in inner:
        above, descriptor = descriptor, f"{descriptor}/{each}"
        is_new = False
        with contextlib.suppress(FileExistsError):
            os.mkdir(descriptor, FOLDER_MODE)
            is_new = True
        try:
            os.close(os.open(descriptor, FOLDER))
        except OSError as fault:
            if fault.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InTheWay("/".join(inner)) from fault
            raise
        if is_new:
            durability.sync_folder(above)
    return f"{descriptor}/{name}"


def remove(folder: str, path: str, keep: str) -> None:
    """Remove the file at `path` (relative, with /) below `folder`, and each folder above it that is then empty.

    `keep` is the folder above it that is never removed. A missing file is no error. Never follows a link. Raises
    OSError.
    """
    *above, name = path.split("/")
    descriptors = [os.open(folder, FOLDER)]
    try:
        try:
            for each in above:
                descriptors.append(os.open(each, FOLDER, dir_fd=descriptors[-1]))
            os.unlink(name, dir_fd=descriptors[-1])
        except FileNotFoundError:
            pass
        while len(descriptors) > 1 and "/".join(above) != keep:
            os.close(descriptors.pop())
            try:
                os.rmdir(above.pop(), dir_fd=descriptors[-1])
            except OSError:  # the folder isn't empty
                break
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def open_file(folder: str, path: str) -> BinaryIO:
    """Open the file at `path` (relative, with /) below `folder` for reading.

    Each folder on the way is opened separately and never through a link, so nothing outside `folder` can be reached,
    whatever was put there and whenever. Raises FileNotFoundError, OSError; Damaged for anything but a regular file.
    """
    *above, name = path.split("/")
    folder_descriptor = os.open(folder, FOLDER)
    try:
        for each in above:
            inner = os.open(each, FOLDER, dir_fd=folder_descriptor)
            os.close(folder_descriptor)
            folder_descriptor = inner
        descriptor = os.open(name, _FILE, dir_fd=folder_descriptor)
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise Damaged(f"{path} is not a file of this run") from fault
    finally:
        os.close(folder_descriptor)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Damaged(f"{path} is not a file of this run")
    return os.fdopen(descriptor, "rb")
