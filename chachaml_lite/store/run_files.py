"""Runs' files: creating, replacing, appending to and removing them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .. import strict_json
from ..errors import TooLarge
from . import beneath, layout, reading
from .atomic import FOLDER_MODE, Replacement, append_lines, replace_file, replacing, write_all, write_new
from .beneath import InTheWay
from .durability import Durability
from .layout import Layout
from .point_files import PointFiles
from .reading import Stamp

_CHUNK_BYTES = 1024 * 1024


def incoming_path(places: Layout, kind: str) -> str:
    """Return a new path in runs/.incoming for something unfinished."""
    return f"{places.incoming}/{kind}~{secrets.token_hex(8)}"


class RunFiles:
    """The files of one store's runs. Callers hold the run's lock when they write."""

    def __init__(self, places: Layout, durability: Durability, *, read_only: bool = False) -> None:
        self._places = places
        self._durability = durability
        self._read_only = read_only
        self._points = PointFiles(durability)

    def create(self, run_id: str, meta: dict[str, Any]) -> None:
        """Create a run's folder, which becomes visible in one rename, with its meta.json inside.

        Raises FileExistsError, OSError, TooLarge.
        """
        content = readable(layout.META, meta)
        temporary_path = incoming_path(self._places, "run")
        os.mkdir(temporary_path, FOLDER_MODE)
        try:
            write_new(f"{temporary_path}/{layout.META}", content, self._durability)
            self._durability.sync_folder(temporary_path)
            self.adopt(run_id, temporary_path)
        except OSError:
            shutil.rmtree(temporary_path, ignore_errors=True)
            raise

    def adopt(self, run_id: str, folder: str) -> None:
        """Make a complete, synced folder of runs/.incoming the run's folder, in one rename.

        Raises FileExistsError, OSError.
        """
        target = self._places.run(run_id)
        if os.path.lexists(target):  # rename(2) would replace an empty folder
            raise FileExistsError(target)
        try:
            os.rename(folder, target)
        except OSError as fault:
            if fault.errno in (errno.ENOTEMPTY, errno.ENOTDIR):  # somebody else has just put something there
                raise FileExistsError(target) from fault
            raise
        self._durability.sync_folder(self._places.runs)

    def take(self, run_id: str, name: str, path: str) -> None:
        """Make a complete, synced file of runs/.incoming the run's file `name`, which may be inside folders.

        One rename replaces an existing file. Raises InTheWay, OSError.
        """
        target = beneath.create_folders(self._places.run(run_id), name, self._durability)
        if os.path.isdir(target) and not os.path.islink(target):
            raise InTheWay(name)
        if name == layout.METRICS:
            self._points.forget(target)
        os.rename(path, target)
        self._durability.sync_folder(os.path.dirname(target))

    def same_start(self, run_id: str, name: str, path: str) -> tuple[int, int, int]:
        """Compare the beginning of a run's file with the file at `path`.

        Returns how many bytes they have in common, how many whole lines that is, and the size of the run's file in
        bytes. Raises Damaged, OSError.
        """
        try:
            descriptor = reading.open_regular(self._places.run_file(run_id, name))
        except FileNotFoundError:
            return 0, 0, 0
        with os.fdopen(descriptor, "rb", buffering=0) as file, open(path, "rb") as other:
            size, common, lines = os.fstat(descriptor).st_size, 0, 0
            while (one := file.read(_CHUNK_BYTES)) and (two := other.read(len(one))):
                common_bytes = len(two) if one.startswith(two) else len(os.path.commonprefix([one, two]))
                common += common_bytes
                lines += one[:common_bytes].count(b"\n")
                if common_bytes < len(one):
                    break
            return common, lines, size

    def remove(self, run_id: str) -> None:
        """Remove a run from the store in one rename, then delete its files. Raises FileNotFoundError, OSError."""
        removed_folder = incoming_path(self._places, "removed")
        os.rename(self._places.run(run_id), removed_folder)
        self._points.forget(self._places.run_file(run_id, layout.METRICS))
        self._durability.sync_folder(self._places.runs)
        shutil.rmtree(removed_folder, ignore_errors=True)  # leftovers are removed at the next start

    def stamp(self, run_id: str, name: str) -> Stamp:
        """Return the stamp of one of a run's files."""
        return reading.stamp(self._places.run_file(run_id, name))

    def stamps(self, run_id: str, names: Iterable[str]) -> list[Stamp]:
        """Return the stamps of some of a run's files (`layout.META`, ...), in the order of `names`."""
        folder = self._places.run(run_id)
        return [reading.stamp(f"{folder}/{name}") for name in names]

    def read_object(self, run_id: str, name: str) -> tuple[dict[str, Any], Stamp]:
        """Return the JSON object in a file, and the file's stamp. Raises FileNotFoundError, Damaged, OSError."""
        return reading.read_object(self._places.run_file(run_id, name))

    def read_records(self, run_id: str, name: str) -> tuple[list[dict[str, Any]], int, Stamp]:
        """Return a JSON Lines file's records, the number of damaged lines, and the stamp. Raises Damaged, OSError."""
        return reading.read_records(self._places.run_file(run_id, name))

    def read_lines(self, run_id: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Return the bytes from `start` to `end` of a file of lines, in pieces of whole lines.

        The last line may be torn. Raises FileNotFoundError, Damaged, OSError.
        """
        return reading.read_lines(self._places.run_file(run_id, name), start, end)

    def replace(self, run_id: str, name: str, value: dict[str, Any]) -> Stamp:
        """Replace one of a run's JSON files; return its stamp.

        Raises OSError, TooLarge; the old content remains then.
        """
        with self.replacing(run_id, name, value) as replacement:
            pass
        return replacement.stamp

    @contextlib.contextmanager
    def replacing(self, run_id: str, name: str, value: dict[str, Any]) -> Iterator[Replacement]:
        """Write the next content of one of a run's JSON files, and put it in place once the block has succeeded.

        The block begins when the bytes have been written. Raises OSError, TooLarge; the old content remains then.
        """
        content = readable(name, value)
        with replacing(self._places.run_file(run_id, name), self._durability) as replacement:
            write_all(replacement.descriptor, content)
            yield replacement

    @property
    def is_read_only(self) -> bool:
        """Whether the store is opened for reading only, so that rebuildable files aren't written, either."""
        return self._read_only

    def keep_rebuildable(self, run_id: str, name: str, content: dict[str, Any] | Iterable[bytes]) -> None:
        """Write a file that can be rebuilt from the others, in one rename, without syncing it. Raises OSError.

        Does nothing in a read-only store.
        """
        if not self._read_only:
            pieces = [(strict_json.dumps(content) + "\n").encode()] if isinstance(content, dict) else content
            replace_file(self._places.run_file(run_id, name), pieces, None)

    @contextlib.contextmanager
    def open_file(self, run_id: str, name: str) -> Iterator[Callable[[int, int], bytes]]:
        """Open a run's file for reading in parts; yield a function that takes an offset and a size in bytes.

        Raises FileNotFoundError, Damaged, OSError.
        """
        descriptor = reading.open_regular(self._places.run_file(run_id, name))
        try:
            file_size = os.fstat(descriptor).st_size
            yield lambda start, size: os.pread(descriptor, min(size, file_size), start)
        finally:
            os.close(descriptor)

    def append_records(self, run_id: str, name: str, records: Iterable[dict[str, Any]]) -> Stamp:
        """Append JSON lines to a run's file, all or none; return its new stamp. Raises OSError."""
        lines = "".join(strict_json.dumps(record) + "\n" for record in records).encode()
        return append_lines(self._places.run_file(run_id, name), lines, self._durability)

    def append_points(self, run_id: str, lines: str, expected: Stamp) -> Stamp | None:
        """Append lines to metrics.jsonl if its stamp is `expected`; return its new stamp.

        Returns None if the stamp differs. Raises OSError. Nothing is added in either case.
        """
        return self._points.append(self._places.run_file(run_id, layout.METRICS), lines.encode(), expected)

    def close(self) -> None:
        """Sync and close the open files."""
        self._points.close()


def readable(name: str, value: dict[str, Any]) -> bytes:
    """Return `value` as JSON with one key per line, so that people can read it and a diff shows what changed.

    A key's value stays on its line: indented by depth, a deeply nested one would take a hundred times the space. Raises
    TooLarge for more than readers accept.
    """
    lines = ",\n".join(f"  {strict_json.dumps(key)}: {strict_json.dumps(value[key])}" for key in value)
    content = f"{{\n{lines}\n}}\n".encode()
    if len(content) > reading.MAX_JSON_BYTES:
        raise TooLarge(
            f"the run's {name} would have {len(content)} bytes, and {reading.MAX_JSON_BYTES} is the most; "
            "upload what is that large as an artifact"
        )
    return content
