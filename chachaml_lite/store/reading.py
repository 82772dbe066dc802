"""Tolerant reading: whatever was done to a file by hand, it is read or reported as damaged, and links are not followed.

A file is read if it is a regular file, is not itself a link (the folders above it are checked by `scan`, which doesn't
accept a linked folder as a run), and is no larger than its kind can be.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from .. import strict_json

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

#: The most bytes of a JSON file that is replaced whole, both read and written; parsing 1 GB would take the server down
#: for the sake of one run.
MAX_JSON_BYTES = 64 * 1024 * 1024

# The nesting that a body may have, plus what our own files put around it (meta.json: a list of datasets, in an object).
_MAX_DEPTH = strict_json.MAX_DEPTH + 8


#: Enough lines at once that the cost per piece is negligible, and few enough that the memory is, too.
_PIECE_BYTES = 1024 * 1024


#: The most bytes of a file of records: a million uploads to one run, or events of one model.
MAX_RECORDS_BYTES = 256 * 1024 * 1024

#: A point's line has a key of 250 characters and two numbers; a longer line is damage, such as a hole in a file.
MAX_LINE_BYTES = 1024 * 1024
_CUT = b"\x00"  # never occurs in JSON


class Stamp(NamedTuple):
    """The state of a file, by which changes are detected. All zeros if there is no file.

    `changed_ns` (ctime) detects a tool that restores the old mtime. Two writes of the same length within one tick of
    the file system's clock (4 ms on ext4) can't be told apart.
    """

    inode: int
    size: int
    mtime_ns: int
    changed_ns: int


NO_FILE = Stamp(0, 0, 0, 0)


class Damaged(Exception):
    """A file of the store can't be trusted. The message names the file, without its folder, and what is wrong."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp for a stat result."""
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def stamp(path: str) -> Stamp:
    """Return the stamp of the file at `path`, of a link itself if it is one; `NO_FILE` if there is nothing."""
    try:
        return stamp_of(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return NO_FILE


def open_regular(path: str) -> int:
    """Open the regular file at `path` for reading; return a descriptor.

    Raises FileNotFoundError, OSError; Damaged for a folder, link, pipe or device.
    """
    name = os.path.basename(path)
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        raise
    except OSError as fault:
        if os.path.islink(path):
            raise Damaged(f"{name} is a link") from fault
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Damaged(f"{name} is not a file")
    return descriptor


def read_whole(path: str, max_bytes: int | None = None) -> tuple[bytes, Stamp]:
    """Return the content of a file and its stamp. Raises FileNotFoundError, Damaged, OSError."""
    descriptor = open_regular(path)
    try:
        stamp = stamp_of(os.fstat(descriptor))
        if max_bytes is not None and stamp.size > max_bytes:
            raise Damaged(f"{os.path.basename(path)} has {stamp.size} bytes")
        content = os.read(descriptor, stamp.size + 1)
        while len(content) < stamp.size and (more := os.read(descriptor, stamp.size - len(content))):
            content += more  # read(2) returns 2 GiB at most
        return content, stamp
    finally:
        os.close(descriptor)


def read_object(path: str) -> tuple[dict[str, Any], Stamp]:
    """Return the JSON object in a file, and the file's stamp.

    Raises FileNotFoundError, OSError; Damaged for anything but one JSON object in UTF-8.
    """
    content, stamp = read_whole(path, MAX_JSON_BYTES)
    try:
        value = strict_json.loads(content, max_depth=_MAX_DEPTH)
    except ValueError as fault:
        raise Damaged(f"{os.path.basename(path)} is not JSON: {fault}") from fault
    if not isinstance(value, dict):
        raise Damaged(f"{os.path.basename(path)} holds no JSON object")
    return value, stamp


def read_lines(path: str, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `end` of a file, in pieces that end with a line; the last line may be torn.

    A line too long to be one of ours is truncated in a way that makes it invalid JSON, so that its length costs
    nothing. Raises FileNotFoundError, Damaged, OSError.
    """
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        file.seek(start)
        remaining, begun = end - start, b""
        while remaining > 0:
            piece = file.read(min(_PIECE_BYTES, remaining))
            if not piece:
                break
            remaining -= len(piece)
            complete, line_end, rest = piece.rpartition(b"\n")
            if line_end:
                yield begun + complete + line_end
                begun = rest
            elif len(begun) <= MAX_LINE_BYTES:
                begun += piece
                if len(begun) > MAX_LINE_BYTES:
                    begun = begun[:MAX_LINE_BYTES] + _CUT
        if begun:
            yield begun


def read_records(path: str) -> tuple[list[dict[str, Any]], int, Stamp]:
    """Return the JSON objects in the lines of a file, the number of damaged lines, and the file's stamp.

    A torn last line counts as damaged; one that lacks only its line end is a record. Without a file there are no
    records. Raises Damaged, OSError.
    """
    try:
        content, stamp = read_whole(path, MAX_RECORDS_BYTES)
    except FileNotFoundError:
        return [], 0, NO_FILE
    records = []
    damaged = 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        record = record_of(line)
        if record is None:
            damaged += 1
        else:
            records.append(record)
    return records, damaged, stamp


def record_of(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line, or None if there is none."""
    with contextlib.suppress(ValueError):
        record = strict_json.loads(line, max_depth=_MAX_DEPTH)
        if isinstance(record, dict):
            return record
    return None


Key = TypeVar("Key", bound=Hashable)
#: The state that shows a change: usually a file's stamp.
State = TypeVar("State", bound=Hashable)
Value = TypeVar("Value")


class StampCache(Generic[Key, State, Value]):
    """Values by key. Beyond `max_values` the least recently used one is dropped; None means no limit."""

    def __init__(self, max_values: int | None = None) -> None:
        self._max_values = max_values
        self._entries: OrderedDict[Key, tuple[State, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, state: State) -> Value | None:
        """Return the value derived from exactly this state, or None."""
        entry = self._entries.get(key)
        if entry is None or entry[0] != state:
            return None
        if self._max_values is not None:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, state: State, value: Value) -> None:
        """Cache a value, in place of the key's previous one."""
        with self._lock:
            self._entries[key] = (state, value)
            self._entries.move_to_end(key)
            if self._max_values is not None and len(self._entries) > self._max_values:
                self._entries.popitem(last=False)

    def get_any(self, key: Key) -> Value | None:
        """Return the value of a key, whatever state it was derived from, or None."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def remove(self, key: Key) -> None:
        """Remove a key, if it is there."""
        with self._lock:
            self._entries.pop(key, None)

    def items(self) -> list[tuple[Key, Value]]:
        """Return the keys and values in the cache."""
        with self._lock:
            return [(key, value) for key, (_, value) in self._entries.items()]
