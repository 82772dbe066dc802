"""The files of a run's folder, listed, hashed and opened, to be compared with those of another store.

As in the zip of a run, names with a dot in front, links, and all that is no file are passed over. Sums are kept for as
long as a file's stamp is the one that it was summed at: a store that nobody writes to is summed once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import BinaryIO

from . import beneath
from .layout import Layout
from .reading import Damaged, Stamp, stamp_of

_CHUNK_BYTES = 1024 * 1024
#: Each takes half a kilobyte.
_MOST_SUMS = 20_000


class Contents:
    """The files of one store's runs, by their path in the run's folder."""

    def __init__(self, places: Layout) -> None:
        self._places = places
        self._sums: OrderedDict[tuple[str, str], tuple[Stamp, int, str]] = OrderedDict()
        self._guard = threading.Lock()

    def files(self, run_id: str) -> dict[str, Stamp]:
        """Every file of a run, in the order of their names. Raises OSError."""
        return dict(sorted(_files(self._places.run(run_id), "")))

    def size(self, run_id: str) -> int:
        """The size of a run's files together, in bytes. Raises OSError."""
        return sum(stamp.size for stamp in self.files(run_id).values())

    def sum_of(self, run_id: str, path: str, size: int) -> str:
        """The sha256 of the first `size` bytes of a file. FileNotFoundError; Damaged, where it has fewer; OSError."""
        file, stamp = self.open(run_id, path)
        with file:
            with self._guard:
                known = self._sums.get((run_id, path))
                if known is not None and known[:2] == (stamp, size):
                    self._sums.move_to_end((run_id, path))
                    return known[2]
            digest, left = hashlib.sha256(), size
            while left > 0:
                piece = file.read(min(left, _CHUNK_BYTES))
                if not piece:
                    raise Damaged(f"{path} has fewer than {size} bytes")
                digest.update(piece)
                left -= len(piece)
        with self._guard:
            self._sums[run_id, path] = (stamp, size, digest.hexdigest())
            if len(self._sums) > _MOST_SUMS:
                self._sums.popitem(last=False)
        return digest.hexdigest()

    def open(self, run_id: str, path: str) -> tuple[BinaryIO, Stamp]:
        """A file of a run, open to read, and its stamp. Raises FileNotFoundError; Damaged for what is none; OSError."""
        file = beneath.opened(self._places.run(run_id), path)
        return file, stamp_of(os.fstat(file.fileno()))


def _files(folder: str, under: str) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{under}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield under + entry.name, stamp_of(entry.stat(follow_symlinks=False))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
