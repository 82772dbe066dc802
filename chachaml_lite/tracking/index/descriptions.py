"""What experiments tell of themselves, their descriptions, each kept while its file is the one that was read."""

from __future__ import annotations

import logging
import secrets
from typing import Any, NamedTuple

from ...errors import InvalidInput, StorageFault
from ...store.experiment_files import ExperimentFiles, decoded
from ...store.reading import NO_FILE, Damaged, Stamp
from ...store.store import Store
from ..names import check_name, shown

log = logging.getLogger(__name__)

#: A description is a paragraph or a page; what is larger is an artifact.
MAX_CHARACTERS = 100_000


class Kept(NamedTuple):
    """A file as of its stamp: the experiment that it is of, and the description; None where there is no good one."""

    stamp: Stamp
    name: str | None
    description: str | None
    damage: str | None


class Descriptions:
    """The descriptions of one store. Checked when they are asked for: the stamps of experiments/ and of its files."""

    def __init__(self, store: Store) -> None:
        self._files = store.experiments
        self._kept: dict[str, Kept] = {}
        self._changes = 0
        self._born = secrets.token_hex(4)

    def all(self) -> dict[str, str]:
        """Every description, by the name of the experiment."""
        found = self._looked_at().values()
        return {kept.name: kept.description for kept in found if kept.name is not None and kept.description is not None}

    def version(self) -> str:
        """A text that is another one whenever a description has changed: what an ETag is made of."""
        self._looked_at()
        return f"{self._born}-{self._changes}"

    def damaged(self) -> dict[str, str]:
        """What is wrong, by file in experiments/."""
        return {file: kept.damage for file, kept in self._looked_at().items() if kept.damage}

    def set(self, name: str, description: str) -> None:
        """Replace an experiment's description, which is Markdown; "" for none. Raises InvalidInput, StorageFault."""
        if len(description) > MAX_CHARACTERS:
            raise InvalidInput(f"description has {len(description)} characters; {MAX_CHARACTERS} is the most")
        if not self._files.fits(self._files.file_of(name)):
            raise InvalidInput(
                f"experiment {shown(name)} can have no description: its name is too long for a file's (245 bytes)"
            )

        def changed(before: dict[str, Any]) -> dict[str, Any] | None:
            if (before.get("description") or "") == description:
                return None
            return {**before, "name": name, "description": description or None}

        try:
            self._files.change(name, changed)
        except Damaged as fault:
            raise StorageFault(f"the experiment's file is damaged ({fault}); mend or move that file first") from fault

    def _looked_at(self) -> dict[str, Kept]:
        files = self._files.files()
        for gone in self._kept.keys() - set(files):
            self._kept.pop(gone, None)
            self._changes += 1
        return {file: self._keep(file) for file in files}

    def _keep(self, file: str) -> Kept:
        kept = self._kept.get(file)
        stamp = self._files.stamp(file)
        if kept is not None and kept.stamp == stamp:
            return kept
        made = read_description(self._files, file, stamp)
        if made.damage and not (kept and kept.damage == made.damage):
            log.warning("experiments/%r is damaged: %s", file, made.damage)
        self._kept[file] = made
        self._changes += 1
        return made


def read_description(files: ExperimentFiles, file: str, stamp: Stamp) -> Kept:
    """A file as it is now; `stamp` is that of the last look at it. Never raises for what it finds."""
    name = decoded(file)
    try:
        check_name("experiment", name)
        content, stamp = files.read(file)
    except InvalidInput:
        return Kept(stamp, None, None, "no experiment can have that name")
    except FileNotFoundError:  # removed since
        return Kept(NO_FILE, None, None, None)
    except Damaged as fault:
        return Kept(stamp, None, None, str(fault))
    except OSError as fault:
        return Kept(stamp, None, None, f"it can't be read: {fault.strerror}")
    description = content.get("description")
    if content.get("name", name) != name:
        return Kept(stamp, None, None, f"it says that it is of {shown(str(content['name']))}")
    if description is not None and not isinstance(description, str):
        return Kept(stamp, None, None, "it has no good description")
    return Kept(stamp, name, description or None, None)
