"""The descriptions of experiments, each cached while its file is unchanged."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ...errors import InvalidInput, StorageFault
from ...store import scan
from ...store.experiment_files import ExperimentFiles, decode_name
from ...store.reading import NO_FILE, Damaged, Stamp
from ...store.store import Store
from ..names import check_name, quote_name
from .file_readings import FileReadings, Reading

#: A description is a paragraph or a page; anything larger belongs in an artifact.
MAX_CHARACTERS = 100_000


class About(NamedTuple):
    """The content of an experiment's file. Times in ms since 1970; without `created_at`, it exists only with runs."""

    description: str | None = None
    tags: dict[str, Any] = {}
    created_at: int | None = None
    updated_at: int | None = None
    deleted_at: int | None = None


class Description(NamedTuple):
    """The content of a valid file: the name of its experiment, and the description."""

    name: str
    about: About


class Descriptions:
    """The files of a store's experiments. Each access checks the stamps of experiments/ and of the files.

    For a single experiment (`is_deleted`, `about`), only the stamp of its own file is checked. For `deleted`, which
    every list of runs calls, the stamps of the files are checked once a second, for 5 µs each; our own writes, and
    files renamed into place, also change the folder's stamp.
    """

    def __init__(self, store: Store) -> None:
        self._files = store.experiments
        read = partial(read_description, self._files)
        self._readings = FileReadings("experiments/%r", self._files.stamp, read)
        self._deleted: frozenset[str] = frozenset()
        self._folder_stamp, self._last_look = NO_FILE, float("-inf")
        self._listing: object = None
        self._by_name: dict[str, str] = {}

    def all(self) -> dict[str, About]:
        """Return the descriptions of all experiments that have a file, by name."""
        return {
            description.name: description.about
            for reading in self._look().values()
            if (description := reading.value) is not None
        }

    def about(self, name: str) -> About | None:
        """Return the description of an experiment; None if it has no file."""
        listing = self._files.listing()
        if listing is not self._listing:
            self._by_name = {of: file for file in self._files.files() if (of := decode_name(file)) is not None}
            self._listing = listing
        file = self._by_name.get(name)
        description = None if file is None else self._readings.get(file).value
        return None if description is None else description.about

    def deleted(self) -> frozenset[str]:
        """Return the names of the experiments that are deleted together with all of their runs."""
        stamp, now = self._files.folder_stamp(), time.monotonic()
        if stamp != self._folder_stamp or now - self._last_look >= scan.LOOK_SECONDS:
            self._folder_stamp, self._last_look = stamp, now
            self._deleted = frozenset(name for name, about in self.all().items() if about.deleted_at is not None)
        return self._deleted

    def is_deleted(self, name: str) -> bool:
        """Return whether an experiment is deleted."""
        about = self.about(name)
        return about is not None and about.deleted_at is not None

    def version(self) -> str:
        """Return a text that changes whenever a file does, for ETags."""
        self._look()
        return self._readings.version()

    def damaged(self) -> dict[str, str]:
        """Return the damage by file in experiments/."""
        return {file: reading.damage for file, reading in self._look().items() if reading.damage}

    def change(self, name: str, changed: Callable[[About], About | None]) -> None:
        """Replace an experiment's description by the result of `changed`, unless it is None.

        Unknown fields of the file are kept. Raises InvalidInput (the name is too long for a file name), StorageFault.
        """
        if not self._files.fits(self._files.file_of(name)):
            raise InvalidInput(
                f"nothing can be kept of experiment {quote_name(name)}: its name is too long for a file's (250 bytes)"
            )

        def content(before: dict[str, Any]) -> dict[str, Any] | None:
            fault = fault_of(before)
            if fault:
                raise Damaged(fault)
            after = changed(_about(before))
            if after is None:
                return None
            fields = {**before, "name": name, **after._asdict()}
            # Empty fields are omitted, as in the files of versions that stored nothing but a description.
            return {key: value for key, value in fields.items() if value or key not in About._fields[1:]}

        try:
            self._files.change(name, content)
        except Damaged as fault:
            raise StorageFault(f"the experiment's file is damaged ({fault}); repair or move that file first") from fault
        self._last_look = float("-inf")  # the folder's stamp may be the same within a tick of the file system's clock

    def _look(self) -> dict[str, Reading[Description | None]]:
        return self._readings.get_all(self._files.files())


def read_description(files: ExperimentFiles, file: str, stamp: Stamp) -> Reading[Description | None]:
    """Read an experiment's file. `stamp` is that of the last look. Never raises; damage is part of the result."""
    name = decode_name(file)
    try:
        check_name("experiment", name)
        content, stamp = files.read(file)
    except InvalidInput:
        return Reading(stamp, None, "no experiment can have that name")
    except FileNotFoundError:  # removed since the last look
        return Reading(NO_FILE, None)
    except Damaged as fault:
        return Reading(stamp, None, str(fault))
    except OSError as fault:
        return Reading(stamp, None, f"it can't be read: {fault.strerror}")
    assert name is not None
    if content.get("name", name) != name:
        return Reading(stamp, None, f"it says that it is of {quote_name(str(content['name']))}")
    fault_text = fault_of(content)
    return Reading(stamp, None if fault_text else Description(name, _about(content)), fault_text)


def fault_of(content: dict[str, Any]) -> str | None:
    """Return why a JSON object is not a valid experiment file, or None if it is."""
    if not isinstance(content.get("description"), (str, type(None))):
        return "it has no good description"
    if not isinstance(content.get("tags", {}), dict):
        return "it has no good tags"
    for field in ("created_at", "updated_at", "deleted_at"):
        if type(content.get(field)) not in (int, type(None)):
            return f"it has no good {field}"
    return None


def _about(content: dict[str, Any]) -> About:
    times = (content.get(field) for field in ("created_at", "updated_at", "deleted_at"))
    return About(content.get("description") or None, content.get("tags", {}), *times)
