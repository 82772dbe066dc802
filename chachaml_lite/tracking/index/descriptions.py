"""The descriptions of experiments, each cached while its file is unchanged."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ...errors import InvalidInput, StorageFault
from ...store import scan
from ...store.experiment_files import ExperimentFiles, decoded
from ...store.reading import NO_FILE, Damaged, Stamp
from ...store.store import Store
from ..names import check_name, quote_name
from .file_readings import FileReadings, Reading

#: A description is a paragraph or a page; what is larger is an artifact.
MAX_CHARACTERS = 100_000


class About(NamedTuple):
    """The content of an experiment's file. Times in ms since 1970; `created_at` is None where a run has to bear it."""

    description: str | None = None
    tags: dict[str, Any] = {}
    created_at: int | None = None
    updated_at: int | None = None
    deleted_at: int | None = None


class Description(NamedTuple):
    """A good file: the experiment that it is of, and what it says."""

    name: str
    about: About


class Descriptions:
    """The files of experiments of one store. Checked when asked for: the stamps of experiments/ and its files.

    Of one experiment (`is_deleted`, `about`) only its own file's stamp is. For `deleted`, which every list of runs
    asks, those of the files are looked at once a second, for 5 µs each: what we write, and what is renamed into place,
    changes the folder's stamp.
    """

    def __init__(self, store: Store) -> None:
        self._files = store.experiments
        read = partial(read_description, self._files)
        self._readings = FileReadings("experiments/%r", self._files.stamp, read)
        self._deleted: frozenset[str] = frozenset()
        self._folder_stamp, self._looked = NO_FILE, float("-inf")
        self._listing: object = None
        self._by_name: dict[str, str] = {}

    def all(self) -> dict[str, About]:
        """The descriptions of all experiments that have a file, by name."""
        return {
            description.name: description.about
            for reading in self._look().values()
            if (description := reading.value) is not None
        }

    def about(self, name: str) -> About | None:
        """The description of one experiment; None where it has no file."""
        listing = self._files.listing()
        if listing is not self._listing:
            self._by_name = {of: file for file in self._files.files() if (of := decoded(file)) is not None}
            self._listing = listing
        file = self._by_name.get(name)
        description = None if file is None else self._readings.get(file).value
        return None if description is None else description.about

    def deleted(self) -> frozenset[str]:
        """The names of the experiments that are deleted, with all of their runs."""
        stamp, now = self._files.folder_stamp(), time.monotonic()
        if stamp != self._folder_stamp or now - self._looked >= scan.LOOK_SECONDS:
            self._folder_stamp, self._looked = stamp, now
            self._deleted = frozenset(name for name, about in self.all().items() if about.deleted_at is not None)
        return self._deleted

    def is_deleted(self, name: str) -> bool:
        """Whether an experiment is deleted."""
        about = self.about(name)
        return about is not None and about.deleted_at is not None

    def version(self) -> str:
        """A text that is another one whenever a file has changed: what an ETag is made of."""
        self._look()
        return self._readings.version()

    def damaged(self) -> dict[str, str]:
        """The damage, by file in experiments/."""
        return {file: reading.damage for file, reading in self._look().items() if reading.damage}

    def change(self, name: str, changed: Callable[[About], About | None]) -> None:
        """Replace what an experiment's file says by what `changed` makes of it; None: it stays as it is.

        What the file holds besides stays. Raises InvalidInput (the name fits into no file's name), StorageFault.
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
            # As a description alone was kept before there was more: what is not said has no field.
            return {key: value for key, value in fields.items() if value or key not in About._fields[1:]}

        try:
            self._files.change(name, content)
        except Damaged as fault:
            raise StorageFault(f"the experiment's file is damaged ({fault}); mend or move that file first") from fault
        self._looked = float("-inf")  # within one tick of the file system's clock the folder's stamp may be the same

    def _look(self) -> dict[str, Reading[Description | None]]:
        return self._readings.get_all(self._files.files())


def read_description(files: ExperimentFiles, file: str, stamp: Stamp) -> Reading[Description | None]:
    """A file as it is now; `stamp` is that of the last look at it. Never raises for what it finds."""
    name = decoded(file)
    try:
        check_name("experiment", name)
        content, stamp = files.read(file)
    except InvalidInput:
        return Reading(stamp, None, "no experiment can have that name")
    except FileNotFoundError:  # removed since
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
    """Return why a JSON object can't be an experiment's file; None when it can."""
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
