"""The files of a run's folder: listed, hashed and opened, for comparison with those of another store.

As in a run's zip, names that begin with a dot, links and anything but regular files are skipped. A checksum is cached
while the file's stamp is unchanged, so a store that nobody writes to is hashed once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from . import beneath
from .checksum import checksum_of, read_pieces
from .layout import Layout
from .reading import Damaged, Stamp, StampCache, stamp_of

#: Cached checksums; each takes half a kilobyte.
_MOST_SUMS = 20_000


class Contents:
    """The files of one store's runs, by their path inside the run's folder."""

    def __init__(self, places: Layout) -> None:
        self._places = places
        self._sums: StampCache[tuple[str, str], tuple[Stamp, int], str] = StampCache(_MOST_SUMS)

    def files(self, run_id: str) -> dict[str, Stamp]:
        """Return the stamps of all of a run's files by path, sorted. Raises OSError."""
        return dict(sorted(_files(self._places.run(run_id), "")))

    def size(self, run_id: str) -> int:
        """Return the total size of a run's files, in bytes. Raises OSError."""
        return sum(stamp.size for stamp in self.files(run_id).values())

    def sum_of(self, run_id: str, path: str, size: int) -> str:
        """Return the sha256 of the first `size` bytes of a file.

        Raises FileNotFoundError, OSError; Damaged if it is shorter.
        """
        file, stamp = self.open(run_id, path)
        with file:
            entry = self._sums.get((run_id, path), (stamp, size))
            if entry is not None:
                return entry
            checksum = checksum_of(read_pieces(file, size))
        if checksum.size < size:
            raise Damaged(f"{path} has fewer than {size} bytes")
        self._sums.put((run_id, path), (stamp, size), checksum.sha256)
        return checksum.sha256

    def open(self, run_id: str, path: str) -> tuple[BinaryIO, Stamp]:
        """Open a run's file for reading; return it and its stamp. Raises FileNotFoundError, Damaged, OSError."""
        file = beneath.open_file(self._places.run(run_id), path)
        return file, stamp_of(os.fstat(file.fileno()))


def _files(folder: str, prefix: str) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name, stamp_of(entry.stat(follow_symlinks=False))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
