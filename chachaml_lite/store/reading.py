"""Reading forgives: whatever was done to a file by hand, it is read or named as damaged, and never followed outside.

A file is read when it is a regular one, not behind a link in its last segment (the folders above are vouched for by
`scan`, which takes no linked folder for a run), and not larger than its kind can be.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from .. import strict_json

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

#: A JSON file that is replaced whole is neither read nor written beyond this; parsing 1 GB would take the server down
#: for the sake of one run.
MAX_JSON_BYTES = 64 * 1024 * 1024

# What a body may hold, and what our own files put around it (meta.json: a list of datasets, in an object).
_MAX_DEPTH = strict_json.MAX_DEPTH + 8


#: Enough lines at once that a piece costs next to nothing, few enough that they cost no memory to speak of.
_PIECE_BYTES = 1024 * 1024


#: A file of records: a million uploads to one run, or events of one model.
MAX_RECORDS_BYTES = 256 * 1024 * 1024

#: A point's line has a key of 250 characters and two numbers; what is longer is damage, a hole in a file say.
MAX_LINE_BYTES = 1024 * 1024
_CUT = b"\x00"  # nowhere in JSON


class Stamp(NamedTuple):
    """The state of a file by which a change is noticed. All zero: there is no file.

    `changed_ns` (ctime) catches a tool that sets the old mtime back; two writes of one length within one tick of the
    file system's clock (4 ms on ext4) can't be told apart by anybody.
    """

    inode: int
    size: int
    mtime_ns: int
    changed_ns: int


NO_FILE = Stamp(0, 0, 0, 0)


class Damaged(Exception):
    """A file of the store can't be believed. The text names the file and what is wrong, without its folder."""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp in a stat result."""
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def stamp(path: str) -> Stamp:
    """The stamp of what is at `path`, a link itself included; `NO_FILE` where nothing is."""
    try:
        return stamp_of(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return NO_FILE


def open_regular(path: str) -> int:
    """A descriptor of the regular file at `path`. FileNotFoundError, or Damaged for a folder, link, pipe or device."""
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
    """The content of a file and the stamp that goes with it. Raises FileNotFoundError, Damaged."""
    descriptor = open_regular(path)
    try:
        stamp = stamp_of(os.fstat(descriptor))
        if max_bytes is not None and stamp.size > max_bytes:
            raise Damaged(f"{os.path.basename(path)} has {stamp.size} bytes")
        content = os.read(descriptor, stamp.size + 1)
        while len(content) < stamp.size and (more := os.read(descriptor, stamp.size - len(content))):
            content += more  # read(2) gives 2 GiB at the most
        return content, stamp
    finally:
        os.close(descriptor)


def read_object(path: str) -> tuple[dict[str, Any], Stamp]:
    """The JSON object in a file. Raises FileNotFoundError; Damaged for anything but one JSON object in UTF-8."""
    content, stamp = read_whole(path, MAX_JSON_BYTES)
    try:
        value = strict_json.loads(content, max_depth=_MAX_DEPTH)
    except ValueError as fault:
        raise Damaged(f"{os.path.basename(path)} is not JSON: {fault}") from fault
    if not isinstance(value, dict):
        raise Damaged(f"{os.path.basename(path)} holds no JSON object")
    return value, stamp


def read_lines(path: str, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end` of a file, in pieces that end with a line, but for the last, which may be torn.

    A line that no writer of ours can have written comes cut, so that it is no JSON, and its length costs nothing.
    Raises FileNotFoundError, Damaged, OSError.
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
    """The JSON objects in the lines of a file, the number of lines that are none, and the file's stamp.

    A torn last line is one of these; one that is whole but for its line end is a record. No file: no records.
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
    """The JSON object in a line; None where it is none."""
    with contextlib.suppress(ValueError):
        record = strict_json.loads(line, max_depth=_MAX_DEPTH)
        if isinstance(record, dict):
            return record
    return None
