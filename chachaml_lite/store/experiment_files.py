"""The files of experiments: a JSON file each for those that have something of their own to tell, a description."""

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
    """The files of one store's experiments. experiments/ is made with the first of them."""

    def __init__(self, places: Layout, durability: Durability) -> None:
        self._places = places
        self._durability = durability
        self._scan = FolderScan(places.experiments)
        self._writing = threading.Lock()

    def listing(self) -> Folders:
        """The entries of experiments/ now, the same object while no name came or went."""
        return self._scan.folders()

    def folder_stamp(self) -> Stamp:
        """The stamp of experiments/ itself."""
        return reading.stamp(self._places.experiments)

    def files(self) -> list[str]:
        """The names of the files, sorted; what doesn't end in .json, and folders, are no files of ours."""
        return sorted(name for name in self._entries().strays if name.endswith(JSON_END))

    def strays(self) -> list[str]:
        """The names of everything else in experiments/."""
        entries = self._entries()
        return sorted(entries.folders | {name for name in entries.strays if not name.endswith(JSON_END)})

    def _entries(self) -> Folders:
        """The entries of experiments/; none where a link has taken its place since the start."""
        return Folders(frozenset(), frozenset()) if self._is_linked() else self._scan.folders()

    def _is_linked(self) -> bool:
        return os.path.islink(self._places.experiments)

    def stamp(self, file: str) -> Stamp:
        """The stamp of a file."""
        return reading.stamp(self._places.experiment(file))

    def read(self, file: str) -> tuple[dict[str, Any], Stamp]:
        """The content of a file, and its stamp. Raises FileNotFoundError, Damaged, OSError."""
        return reading.read_object(self._places.experiment(file))

    def file_of(self, name: str) -> str:
        """The file of the experiment `name`: the one that it has, or the one that it would get."""
        files = self.files()
        has = next((file for file in files if decoded(file) == name), None)
        used_names = {disk_names.fold(file.removesuffix(JSON_END)) for file in files}
        return has or disk_names.segment_spelling(name, used_names) + JSON_END

    def fits(self, file: str) -> bool:
        """Whether a file can have this name everywhere."""
        return len(file.encode()) <= disk_names.MAX_SEGMENT_BYTES

    def change(self, name: str, changed: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Replace what the experiment's file holds by what `changed` makes of it; None: it stays as it is.

        No file is an empty object. Damaged where there is one that can't be read; OSError, then the old content stands.
        """
        with self._writing:  # a name's spelling depends on the others, and so do two changes of one file
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
        """The names of what a killed server was about to put in place."""
        try:
            names = sorted(os.listdir(self._places.experiments))
        except OSError:
            return []
        start, end = temporary("/x").removeprefix("/").split("x")
        return [name for name in names if name.startswith(start) and name.endswith(JSON_END + end)]

    def sweep(self) -> None:
        """Remove these; no server may be writing."""
        for name in self.temporaries():
            with contextlib.suppress(OSError):
                os.unlink(f"{self._places.experiments}/{name}")


def decoded(file: str) -> str | None:
    """The name of the experiment whose file this is; None where the file was not named by us."""
    with contextlib.suppress(UnicodeError):
        file.encode()  # not where the file's own name is no UTF-8
        return disk_names.decode(file.removesuffix(JSON_END))
    return None
