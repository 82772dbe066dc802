"""Unnamed files for content generated to be sent: they vanish when they are closed or the process ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import BinaryIO

from ..errors import StorageFull, translate_os_error
from .layout import Layout
from .run_files import incoming_path


def spool(places: Layout | None, fill: Callable[[BinaryIO], object]) -> BinaryIO:
    """Return a file written by `fill`, open for reading from its start. Raises OSError.

    The file is in the store's own file system. If that is full, or nothing may be written to it (`places` None), the
    file is in the system's temporary folder, and `fill` is called again: reading a store needs no space on its disk.
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
