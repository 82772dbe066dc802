"""The files of models: a folder each, in it a history of events that is only ever appended to."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from typing import Any

from .. import strict_json
from . import disk_names, layout, reading
from .atomic import FOLDER_MODE, append_lines, write_new
from .durability import Durability
from .layout import Layout
from .reading import Stamp
from .run_files import incoming_path
from .scan import Folders, FolderScan


class ModelFiles:
    """What can be done to the files of one store's models. Callers hold the model's lock when they write."""

    def __init__(self, places: Layout, durability: Durability) -> None:
        self._places = places
        self._durability = durability
        self._scan = FolderScan(places.models)
        self._naming = threading.Lock()

    def folders(self) -> Folders:
        """The models' folders, as they are now."""
        return self._scan.folders()

    def stamp(self, folder: str) -> Stamp:
        """The stamp of a model's history."""
        return reading.stamp(self._places.history(folder))

    def events(self, folder: str) -> tuple[list[dict[str, Any]], int, Stamp]:
        """The events in the order they happened, the number of damaged lines, the stamp. Damaged; OSError."""
        return reading.read_records(self._places.history(folder))

    def folder_of(self, name: str) -> str:
        """The folder of the model `name`: the one that it has, or the one that its first event would make."""
        found = self.folders()
        has = next((folder for folder in found.folders if decoded(folder) == name), None)
        taken = {disk_names.fold(each) for each in found.folders | found.strays}
        return has or disk_names.spelling(name, taken)

    def append(self, name: str, event: dict[str, Any]) -> None:
        """Add an event to the history of the model `name`; its first event makes the folder, whole. OSError."""
        line = (strict_json.dumps(event) + "\n").encode()
        folder = self.folder_of(name)
        if folder in self.folders().folders:
            append_lines(self._places.history(folder), line, self._durability)
            return
        with self._naming:  # a name's spelling depends on the others, and two that differ in case may come at once
            self._make(self.folder_of(name), line)

    def _make(self, folder: str, line: bytes) -> None:
        prepared = incoming_path(self._places, "model")
        os.mkdir(prepared, FOLDER_MODE)
        try:
            write_new(f"{prepared}/{layout.HISTORY}", line, self._durability)
            self._durability.sync_folder(prepared)
            os.rename(prepared, self._places.model(folder))
        except OSError:
            shutil.rmtree(prepared, ignore_errors=True)
            raise
        self._durability.sync_folder(self._places.models)


def decoded(folder: str) -> str | None:
    """The name of the model in `folder`; None where the folder was not named by us."""
    with contextlib.suppress(UnicodeError):
        folder.encode()  # not where the folder's own bytes are no UTF-8
        return disk_names.decode(folder)
    return None
