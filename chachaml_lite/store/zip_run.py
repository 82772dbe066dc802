"""A run's folder as one zip file, which unzipped into another store's runs/ is that run; or some of its artifacts.

The zip is made whole before the first byte is sent, in an unlinked file beside the runs. That costs its size on the
disk for as long as somebody reads it. In return waitress sends it as it sends an artifact, so a slow reader holds no
thread (a generator would hold one until the last byte: four slow readers, and nobody is served), the answer has a
Content-Length, and a fault on the way is an error with a status, not a zip that breaks off.
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
#: Files up to this size are copied while the run is held, which takes about a millisecond each.
_SMALL_BYTES = 1024 * 1024
#: Larger ones are only opened meanwhile, as far as descriptors go (a process has 1,024 of them, mostly).
_MOST_OPENED = 32
#: What opening says of a link, of a socket or a device, and of a file that is gone again: none that we put there.
_NOT_OURS = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENOENT}
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _Opened(NamedTuple):
    """A file to be copied: its entry, its descriptor. As many bytes of it count as it had when it was opened."""

    entry: ZipInfo
    descriptor: int


class Member(NamedTuple):
    """An artifact to be put into a zip: its path there, its blob, its size in bytes, when it came in ms since 1970."""

    path: str
    spelling: str
    size: int
    timestamp: int


def zip_blobs(open_blob: Callable[[str, int], BinaryIO], members: Iterable[Member], sink: BinaryIO) -> None:
    """Write artifacts to `sink`, as a zip file without compression: the same bytes for the same artifacts.

    `open_blob` gives the bytes of a blob by its spelling and size. What it raises is raised. Raises OSError.
    """
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        for member in members:
            with open_blob(member.spelling, member.size) as blob:
                entry = entry_of(member.path, member.size, member.timestamp // 1000)
                with archive.open(entry, "w") as target:
                    shutil.copyfileobj(blob, target, _CHUNK_BYTES)


def zip_run(places: Layout, run_id: str, hold: Callable[[], AbstractContextManager[object]], sink: BinaryIO) -> None:
    """Write the run's folder as it is at one moment to `sink`, as a zip file. Raises OSError.

    While `held()` is entered nobody may write to the run. That is enough for a consistent copy: files of ours are
    replaced by a rename or appended to, so what was opened then, up to the size that it had, stays what it was.
    Left out are names with a dot in front, links, and all that is no file.
    """
    members: list[_Opened] = []
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


def _files(folder: str, run_id: str) -> Iterator[_Opened]:
    """Each file of a run, opened where it was found: no link is followed, in whatever moment it was put there."""

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
                    raise  # no descriptors, a failing disk: a zip without the file would be taken for the whole run
                log.warning("run %r: %r is left out of the zip: %s", run_id, name, fault)
                continue
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                yield _Opened(entry_of(f"{inside}/{name}", status.st_size, int(status.st_mtime)), descriptor)
            else:
                os.close(descriptor)


def _copy(archive: ZipFile, member: _Opened) -> None:
    remaining = member.entry.file_size
    try:
        with archive.open(member.entry, "w") as target:
            while remaining > 0 and (chunk := os.read(member.descriptor, min(remaining, _CHUNK_BYTES))):
                target.write(chunk)
                remaining -= len(chunk)
    finally:
        os.close(member.descriptor)
