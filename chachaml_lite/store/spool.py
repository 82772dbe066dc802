"""Files without a name, for what is made to be sent: gone when they are closed, or with the process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import BinaryIO

from ..errors import StorageFull, translate_os_error
from .layout import Layout
from .run_files import incoming_path


def spool(places: Layout | None, fill: Callable[[BinaryIO], object]) -> BinaryIO:
    """A file that `fill` has written, open to read from its start. Raises OSError.

    The file is in the store's own file system. Where that has no room, or nothing may be written (`places` None), it is
    in the system's folder for temporary files, `fill` being called anew: to read a store needs no room on its disk.
    """
    if places is not None:
        try:
            return _fill(_create_unnamed(places), fill)
        except OSError as fault:
            if not isinstance(translate_os_error(fault), StorageFull):
                raise
    return _fill(tempfile.TemporaryFile("w+b"), fill)


def _create_unnamed(places: Layout) -> BinaryIO:
    path = incoming_path(places, "scratch")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return os.fdopen(descriptor, "w+b")


def _fill(file: BinaryIO, fill: Callable[[BinaryIO], object]) -> BinaryIO:
    try:
        fill(file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
