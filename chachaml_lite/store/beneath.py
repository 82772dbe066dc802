"""The way to a file inside a run's folder, folders made where there are none, and never through a link put there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import BinaryIO

from .atomic import FOLDER_MODE
from .durability import Durability
from .reading import Damaged

#: How a folder is opened that has to be one itself, not a link to one.
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class InTheWay(Exception):
    """Something that nobody uploaded is in the place of a file or of one of its folders. The text names it."""


def made(folder: str, path: str, durability: Durability) -> str:
    """Make the folders of `path`, relative and with /, below `folder`; returns its path. Raises InTheWay, OSError."""
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
    """Remove the file at `path`, relative and with /, below `folder`, and the folders on the way that are empty then.

    `keep`: the one among them that stays. Fine where nothing is there. Never through a link. Raises OSError.
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
            except OSError:  # it isn't empty
                break
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def opened(folder: str, path: str) -> BinaryIO:
    """The file at `path`, relative and with /, below `folder`, to read. FileNotFoundError; Damaged for what is no file.

    Each folder on the way is opened by itself and never through a link, so nothing outside of `folder` can be
    reached, whatever was put there and whenever.
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
