"""Experiments' files: one JSON file for each experiment that has data of its own, such as a description."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from typing import Any

from .. import strict_json
from . import disk_names, reading
from .atomic import FOLDER_MODE, replace_file, temporary
from .durability import Durability
from .layout import JSON_END, Layout
from .reading import Stamp
from .scan import Folders, FolderScan


class ExperimentFiles:
    """The files of one store's experiments. The folder experiments/ is created with the first file."""

    def __init__(self, places: Layout, durability: Durability) -> None:
        self._places = places
        self._durability = durability
        self._scan = FolderScan(places.experiments)
        self._writing = threading.Lock()

    def listing(self) -> Folders:
        """Return the current entries of experiments/, the same object while they are unchanged."""
        return self._scan.folders()

    def folder_stamp(self) -> Stamp:
        """Return the stamp of the folder experiments/."""
        return reading.stamp(self._places.experiments)

    def files(self) -> list[str]:
        """Return the names of the experiments' files, sorted.

        Folders, and names that don't end in .json, are left out.
        """
        return sorted(name for name in self._entries().strays if name.endswith(JSON_END))

    def strays(self) -> list[str]:
        """Return the names of all other entries of experiments/, sorted."""
        entries = self._entries()
        return sorted(entries.folders | {name for name in entries.strays if not name.endswith(JSON_END)})

    def _entries(self) -> Folders:
        """Return the entries of experiments/, or none if the folder has been replaced by a link since the start."""
        return Folders(frozenset(), frozenset()) if self._is_linked() else self._scan.folders()

    def _is_linked(self) -> bool:
        return os.path.islink(self._places.experiments)

    def stamp(self, file: str) -> Stamp:
        """Return the stamp of a file."""
        return reading.stamp(self._places.experiment(file))

    def read(self, file: str) -> tuple[dict[str, Any], Stamp]:
        """Return a file's JSON object and its stamp. Raises FileNotFoundError, Damaged, OSError."""
        return reading.read_object(self._places.experiment(file))

    def file_of(self, name: str) -> str:
        """Return the name of the experiment's file, or the one it would get."""
        files = self.files()
        has = next((file for file in files if decode_name(file) == name), None)
        used_names = {disk_names.fold(file.removesuffix(JSON_END)) for file in files}
        return has or disk_names.segment_spelling(name, used_names) + JSON_END

    def fits(self, file: str) -> bool:
        """Return whether a file name is short enough for every file system."""
        return len(file.encode()) <= disk_names.MAX_SEGMENT_BYTES

    def change(self, name: str, changed: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Replace the JSON object in the experiment's file with the result of `changed`; None leaves it unchanged.

        A missing file counts as an empty object. Raises Damaged if the file can't be read; OSError, and the old content
        remains then.
        """
        with self._writing:  # a name's spelling depends on the others, and two changes of one file must take turns
            path = self._places.experiment(self.file_of(name))
            try:
                before, _ = reading.read_object(path)
            except FileNotFoundError:
                before = {}
            after = changed(before)
            if after is None:
                return
            if self._is_linked():
                raise OSError(errno.ELOOP, "a link, and no folder", self._places.experiments)
            if not os.path.isdir(self._places.experiments):
                os.mkdir(self._places.experiments, FOLDER_MODE)
                self._durability.sync_folder(self._places.root)
            replace_file(path, (strict_json.dumps(after) + "\n").encode(), self._durability)

    def temporaries(self) -> list[str]:
        """Return the names of temporary files left by a killed server, sorted."""
        try:
            names = sorted(os.listdir(self._places.experiments))
        except OSError:
            return []
        start, end = temporary("/x").removeprefix("/").split("x")
        return [name for name in names if name.startswith(start) and name.endswith(JSON_END + end)]

    def sweep(self) -> None:
        """Remove the files that `temporaries` returns. No server may be writing to the store."""
        for name in self.temporaries():
            with contextlib.suppress(OSError):
                os.unlink(f"{self._places.experiments}/{name}")


def decode_name(file: str) -> str | None:
    """Return the name of the experiment in this file, or None if the store did not create the file's name."""
    with contextlib.suppress(UnicodeError):
        file.encode()  # raises if the file name is not valid UTF-8
        return disk_names.decode(file.removesuffix(JSON_END))
    return None
