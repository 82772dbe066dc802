"""A run's folder as a zip file, which becomes the same run when unzipped into another store's runs/; or its artifacts.

The zip is completed before the first byte is sent, in an unlinked file next to the runs. That takes its size on the
disk for as long as somebody reads it. In return waitress sends it like an artifact, so a slow reader occupies no thread
(a generator would occupy one until the last byte: four slow readers, and nobody else is served), the response has a
Content-Length, and an error on the way is a response with a status, not a truncated zip.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from .layout import Layout
from .zip_stream import entry_of

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1024 * 1024
#: Files up to this size, in bytes, are copied while the run is locked, which takes about a millisecond each.
_SMALL_BYTES = 1024 * 1024
#: Larger ones are only opened meanwhile, as far as descriptors allow (a process usually has 1,024).
_MOST_OPENED = 32
#: The errors when opening a link, a socket, a device, or a file that is gone again: not files of the store.
_NOT_OURS = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENOENT}
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _OpenFile(NamedTuple):
    """A file to be copied: its entry and its descriptor. Only the bytes that it had when it was opened are copied."""

    entry: ZipInfo
    descriptor: int


class Member(NamedTuple):
    """An artifact for a zip: its path there, its blob's spelling, its size in bytes, its time in ms since 1970."""

    path: str
    spelling: str
    size: int
    timestamp: int


def zip_blobs(open_blob: Callable[[str, int], BinaryIO], members: Iterable[Member], sink: BinaryIO) -> None:
    """Write artifacts to `sink` as an uncompressed zip file: the same bytes for the same artifacts.

    `open_blob` opens a blob, given its spelling and size; its exceptions are passed on. Raises OSError.
    """
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        for member in members:
            with open_blob(member.spelling, member.size) as blob:
                entry = entry_of(member.path, member.size, member.timestamp // 1000)
                with archive.open(entry, "w") as target:
                    shutil.copyfileobj(blob, target, _CHUNK_BYTES)


def zip_run(places: Layout, run_id: str, hold: Callable[[], AbstractContextManager[object]], sink: BinaryIO) -> None:
    """Write a consistent snapshot of the run's folder to `sink` as a zip file. Raises OSError.

    While the context of `hold()` is active, nobody may write to the run. That is enough for a consistent copy: the
    store's files are replaced by a rename or appended to, so a file opened then does not change up to the size that it
    had. Left out are names that begin with a dot, links, and anything that isn't a regular file.
    """
    members: list[_OpenFile] = []
    try:
        with ZipFile(sink, "w", ZIP_STORED) as archive:
            with hold():
                for member in _files(places.run(run_id), run_id):
                    members.append(member)
                    if member.entry.file_size <= _SMALL_BYTES or len(members) > _MOST_OPENED:
                        _copy(archive, members.pop())
            while members:
                _copy(archive, members.pop())
    finally:
        for unfinished in members:
            os.close(unfinished.descriptor)


def _files(folder: str, run_id: str) -> Iterator[_OpenFile]:
    """Yield each file of a run, opened in the folder that was listed, so that no link is followed at any time."""

    def refuse(fault: OSError) -> None:
        raise fault

    for path, folders, names, folder_descriptor in os.fwalk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = run_id + path[len(folder) :]
        for name in sorted(names):
            if name.startswith("."):
                continue
            try:
                name.encode()
                descriptor = os.open(name, _READ, dir_fd=folder_descriptor)
            except (UnicodeEncodeError, OSError) as fault:
                if isinstance(fault, OSError) and fault.errno not in _NOT_OURS:
                    raise  # no descriptors, a failing disk: an incomplete zip would pass for the whole run
                log.warning("run %r: %r is left out of the zip: %s", run_id, name, fault)
                continue
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                yield _OpenFile(entry_of(f"{inside}/{name}", status.st_size, int(status.st_mtime)), descriptor)
            else:
                os.close(descriptor)


def _copy(archive: ZipFile, member: _OpenFile) -> None:
    remaining = member.entry.file_size
    try:
        with archive.open(member.entry, "w") as target:
            while remaining > 0 and (chunk := os.read(member.descriptor, min(remaining, _CHUNK_BYTES))):
                target.write(chunk)
                remaining -= len(chunk)
    finally:
        os.close(member.descriptor)
