"""Models' files: a folder for each model with a history of events that is only ever appended to."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Sequence
from typing import Any

from .. import strict_json
from ..errors import TooLarge
from . import disk_names, layout, reading
from .atomic import FOLDER_MODE, append_lines, write_new
from .durability import Durability
from .layout import Layout
from .reading import Stamp
from .run_files import incoming_path
from .scan import Folders, FolderScan


class ModelFiles:
    """The files of one store's models. Callers hold the model's lock when they write."""

    def __init__(self, places: Layout, durability: Durability) -> None:
        self._places = places
        self._durability = durability
        self._scan = FolderScan(places.models)
        self._naming = threading.Lock()

    def folders(self) -> Folders:
        """Return the current entries of models/."""
        return self._scan.folders()

    def stamp(self, folder: str) -> Stamp:
        """Return the stamp of a model's history."""
        return reading.stamp(self._places.history(folder))

    def events(self, folder: str) -> tuple[list[dict[str, Any]], int, Stamp]:
        """Return the events in order, the number of damaged lines, and the history's stamp. Raises Damaged, OSError."""
        return reading.read_records(self._places.history(folder))

    def folder_of(self, name: str) -> str:
        """Return the folder of the model `name`, or the one that its first event would create."""
        folders = self.folders()
        has = next((folder for folder in folders.folders if decode_name(folder) == name), None)
        used_names = {disk_names.fold(each) for each in folders.folders | folders.strays}
        return has or disk_names.spelling(name, used_names)

    def append(self, name: str, events: Sequence[dict[str, Any]]) -> tuple[Stamp, int] | None:
        """Append events to the history of the model `name`, all or none; the first ones create its folder.

        A new folder appears in one rename. Returns the history's new stamp and by how many bytes it grew, or None for a
        new model. Raises OSError; TooLarge for an event that is longer than readers accept.
        """
        encoded = [(strict_json.dumps(event) + "\n").encode() for event in events]
        if max(map(len, encoded)) > reading.MAX_LINE_BYTES:
            raise TooLarge(f"that has more than {reading.MAX_LINE_BYTES} bytes; keep what is that large as an artifact")
        lines = b"".join(encoded)
        folder = self.folder_of(name)
        if folder in self.folders().folders:
            return append_lines(self._places.history(folder), lines, self._durability), len(lines)
        with self._naming:  # a name's spelling depends on the others, and two that differ in case may arrive at once
            self._make(self.folder_of(name), lines)
        return None

    def rename(self, name: str, new_name: str) -> None:
        """Rename the existing model `name`, in one rename on disk. Raises FileExistsError, OSError."""
        with self._naming:
            target = self._places.model(self.folder_of(new_name))
            if os.path.lexists(target):  # rename(2) would replace an empty folder
                raise FileExistsError(target)
            os.rename(self._places.model(self.folder_of(name)), target)
        self._durability.sync_folder(self._places.models)

    def remove(self, name: str) -> None:
        """Remove the model `name` from the store in one rename, then delete its files. Raises OSError."""
        removed_folder = incoming_path(self._places, "removed")
        os.rename(self._places.model(self.folder_of(name)), removed_folder)
        self._durability.sync_folder(self._places.models)
        shutil.rmtree(removed_folder, ignore_errors=True)  # leftovers are removed at the next start

    def _make(self, folder: str, lines: bytes) -> None:
        temporary_path = incoming_path(self._places, "model")
        os.mkdir(temporary_path, FOLDER_MODE)
        try:
            write_new(f"{temporary_path}/{layout.HISTORY}", lines, self._durability)
            self._durability.sync_folder(temporary_path)
            os.rename(temporary_path, self._places.model(folder))
        except OSError:
            shutil.rmtree(temporary_path, ignore_errors=True)
            raise
        self._durability.sync_folder(self._places.models)


def decode_name(folder: str) -> str | None:
    """Return the name of the model in `folder`, or None if the store did not create the folder's name."""
    with contextlib.suppress(UnicodeError):
        folder.encode()  # raises if the folder's name is not valid UTF-8
        return disk_names.decode(folder)
    return None
