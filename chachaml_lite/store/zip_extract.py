"""Unpacking a zip of runs into a folder of its own next to the runs, without trusting anything in it.

A zip's metadata comes from a stranger. Before the first byte is written, its names are checked against each other and
against how a file system compares them; while files are written, their bytes are counted. A zip is accepted or rejected
as a whole, and a rejected one leaves nothing behind.

Skipped are names that begin with a dot (as everywhere in a store), folder entries (folders are created for the files in
them), and a run's summary.json, which is rebuilt from the points.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from ..errors import TooLarge
from . import disk_names, layout, reading
from .atomic import FILE_MODE, FOLDER_MODE, write_all
from .checksum import Checksum, read_pieces
from .durability import Durability
from .incoming import Upload

#: The most entries of a zip: each costs half a kilobyte of memory. A run with more artifacts must be copied by hand.
MAX_ENTRIES = 100_000
#: The most bytes of a zip's central directory, which `zipfile` reads in one piece: 100,000 entries of 200 bytes, with
#: some room.
MAX_DIRECTORY_BYTES = 32 * 1024 * 1024
#: The most bytes that may come out for one that went in. Points and logs reach 10 or 30; deflate can't exceed 1,032.
MAX_RATIO = 200
#: Up to this size the ratio is not checked: an artifact may well be a file of 64 MB of zeros.
FREE_BYTES = 64 * 1024 * 1024

#: The size of a folder on most file systems: a zip of nothing but folders is a bomb, too.
_FOLDER_BYTES = 4096
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")
#: Exceptions of `zipfile` for a zip that is truncated, corrupt or forged.
_BENT = (BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error, struct.error, OverflowError)


class BadZip(Exception):
    """The body is not a zip, or not one that can be accepted. The message says why, and names the entry."""


class UnpackedRuns:
    """The runs of a zip in a folder of their own.

    `runs`: by the name of a run's folder in the zip, its files by their path there.
    """

    def __init__(self, folder: str, runs: dict[str, dict[str, Upload]]) -> None:
        self._folder = folder
        self.runs = runs

    def folder_of(self, run_id: str) -> str:
        """Return the path of a run's folder."""
        return f"{self._folder}/{run_id}"

    def read_object(self, run_id: str, name: str) -> dict[str, Any]:
        """Return the JSON object in a file. Raises FileNotFoundError, Damaged, OSError."""
        return reading.read_object(f"{self.folder_of(run_id)}/{name}")[0]

    def read_lines(self, run_id: str, name: str) -> Iterator[bytes]:
        """Return a file of lines in pieces, as `reading.read_lines` does; nothing if it is missing.

        Raises Damaged, OSError.
        """
        file = self.runs[run_id].get(name)
        return iter(()) if file is None else reading.read_lines(file.path, 0, file.size)

    def discard(self) -> None:
        """Remove the remaining files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def unpack(
    source: str, folder: str, durability: Durability, room_bytes: Callable[[], int], max_file_bytes: int | None
) -> UnpackedRuns:
    """Unpack the zip at `source` into `folder`, which is created. Raises BadZip, TooLarge, OSError; it is removed then.

    `room_bytes()` returns the free space on the disk. `max_file_bytes` is the limit for one file; None means no limit.
    """
    with open(source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        os.mkdir(folder, FOLDER_MODE)
        try:
            with _open_archive(_GuardedFile(file)) as archive:
                entries, folders = _entries(archive)
                allowed = max(FREE_BYTES, MAX_RATIO * size) - folders * _FOLDER_BYTES
                _refuse_sizes(entries, allowed, room_bytes(), max_file_bytes)
                return UnpackedRuns(folder, _write_file(archive, entries, folder, durability, allowed))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


class _GuardedFile(io.RawIOBase):
    """A file that refuses to read a central directory of gigabytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise BadZip(f"its list of names has {size} bytes; the limit is {MAX_DIRECTORY_BYTES}")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@contextlib.contextmanager
def _open_archive(file: _GuardedFile) -> Iterator[ZipFile]:
    """Open the archive in a file. Raises BadZip for anything wrong with it, now or while it is read; OSError."""
    try:
        with ZipFile(file) as archive:
            yield archive
    except (*_BENT, OSError) as fault:
        if isinstance(fault, OSError) and fault.errno != errno.EINVAL:  # EINVAL: a seek to before the start
            raise
        raise BadZip(f"it is no zip file, or a damaged one ({fault})"[:300]) from fault


def _entries(archive: ZipFile) -> tuple[dict[str, ZipInfo], int]:
    """Return the files to be unpacked, by their path, and the number of folders that they need. Raises BadZip.

    Every name, and that of each folder above it, is compared with all others.
    """
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise BadZip(f"it has {len(infos)} entries; the limit is {MAX_ENTRIES}: copy the run's folder by hand")
    entries: dict[str, ZipInfo] = {}
    # Each path and each folder above it; and the same by their folds, to detect those that a file system treats as one.
    folded_names: set[str] = set()
    spellings: dict[str, str] = {}
    declared_bytes = 0
    for entry in infos:
        name = entry.orig_filename
        parts = name.rstrip("/").split("/")
        _refuse_name(name, parts)
        if any(part.startswith(".") for part in parts):
            continue
        _refuse_kind(entry, name)
        if name.endswith("/"):
            continue
        if len(parts) == 1:
            raise BadZip(
                f"{_format_name(name)} is in no folder; a run is a folder of its own, as its download packs it"
            )
        if parts[1:] == [layout.SUMMARY]:
            continue
        if name in entries:
            raise BadZip(f"{_format_name(name)} is in it twice")
        entries[name] = entry
        path = name
        while path and path not in folded_names:
            folded_names.add(path)
            declared_bytes += len(path)
            if len(folded_names) > 2 * MAX_ENTRIES or declared_bytes > MAX_DIRECTORY_BYTES:
                raise BadZip("its folders are too many, or too deep; copy the run's folder by hand")
            other = spellings.setdefault(disk_names.fold(path), path)
            if other != path:
                raise BadZip(f"{_format_name(other)} and {_format_name(path)} differ only in case")
            path = path.rpartition("/")[0]
    for path in folded_names:
        above = path.rpartition("/")[0]
        if above in entries:
            raise BadZip(f"{_format_name(above)} is a file in it, and a folder of {_format_name(path)}")
        if not above and f"{path}/{layout.META}" not in entries:
            raise BadZip(f"{_format_name(path)} has no {layout.META}; send a run as its download gives it")
    return entries, len(folded_names) - len(entries)


def _refuse_name(name: str, parts: list[str]) -> None:
    """Raise BadZip for a name that leads elsewhere or can't be a file name, even if it begins with a dot."""
    if "\\" in name:
        raise BadZip(f"the name {_format_name(name)} holds a backslash; the separator in a zip is /")
    if name.startswith("/") or _DRIVE.match(name):
        raise BadZip(f"the name {_format_name(name)} is not relative")
    if any(part in ("", ".", "..") for part in parts):
        raise BadZip(f"the name {_format_name(name)} has an empty, . or .. segment")
    if _CONTROL.search(name):
        raise BadZip(f"the name {_format_name(name)} contains a control character")
    try:
        fits = disk_names.fits(name)
    except UnicodeEncodeError as fault:
        raise BadZip(f"the name {_format_name(name)} is no text") from fault
    if not fits:
        raise BadZip(f"the name {_format_name(name)} is too long; a segment may have 255 bytes, all of it 800")


def _refuse_kind(entry: ZipInfo, name: str) -> None:
    """Raise BadZip for anything but a plain file or a folder that can be read."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadZip(f"{_format_name(name)} is a link or another special file; only files and folders are taken")
    if entry.flag_bits & 0x41:  # bits of the zip specification: "encrypted" and "strongly encrypted"
        raise BadZip(f"{_format_name(name)} is encrypted; send a zip without a password")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise BadZip(f"{_format_name(name)} is compressed in a way that isn't read here; use deflate, as zip does")


def _refuse_sizes(entries: dict[str, ZipInfo], allowed: int, room: int, max_file_bytes: int | None) -> None:
    """Check the sizes that the entries declare. Raises BadZip, TooLarge, OSError."""
    total = sum(entry.file_size for entry in entries.values())
    _refuse_total(total, allowed)
    if max_file_bytes is not None:
        for name, entry in entries.items():
            if entry.file_size > max_file_bytes:
                raise TooLarge(
                    f"{_format_name(name)} has {entry.file_size} bytes, and {max_file_bytes} is the most here "
                    "(--max-upload, CHACHAML_MAX_UPLOAD)"
                )
    if total > room:
        raise OSError(errno.ENOSPC, "no room for what is in the zip")


def _refuse_total(total: int, allowed: int) -> None:
    if total > allowed:
        raise BadZip(
            f"it would take {total} bytes or more, over {MAX_RATIO} times its own size; "
            "pack the run again without compression (zip -0)"
        )


def _write_file(
    archive: ZipFile, entries: dict[str, ZipInfo], folder: str, durability: Durability, allowed: int
) -> dict[str, dict[str, Upload]]:
    """Write each entry below `folder`, computing its checksum; return the files by run and path.

    Raises BadZip, OSError.
    """
    runs: dict[str, dict[str, Upload]] = {}
    folders = {""}
    for name, entry in entries.items():
        parts = name.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above not in folders:
                os.mkdir(f"{folder}/{above}", FOLDER_MODE)
                folders.add(above)
        file = _write(archive, entry, f"{folder}/{name}", durability, allowed)
        allowed -= file.size
        runs.setdefault(parts[0], {})["/".join(parts[1:])] = file
    for above in sorted(folders, key=len, reverse=True):
        durability.sync_folder(f"{folder}/{above}")
    return runs


def _write(archive: ZipFile, entry: ZipInfo, path: str, durability: Durability, allowed: int) -> Upload:
    checksum = Checksum()
    descriptor = os.open(path, _CREATE, FILE_MODE)
    try:
        with archive.open(entry) as source:
            for piece in checksum.pass_on(read_pieces(source)):
                _refuse_total(checksum.size, allowed)
                write_all(descriptor, piece)
        if checksum.size != entry.file_size:
            raise BadZip(
                f"{_format_name(entry.filename)} has {checksum.size} bytes, and its entry speaks of {entry.file_size}"
            )
        mtime = _write_time(entry.extra)
        if mtime is not None:
            os.utime(descriptor, (mtime, mtime))
        durability.sync(descriptor)
    finally:
        os.close(descriptor)
    return Upload(path, checksum.sha256, checksum.size)


def _write_time(extra: bytes) -> int | None:
    """Return when a file was last written, in s since 1970, or None if its entry doesn't say so in UTC.

    A time in the future becomes the current time.
    """
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 0x5455 and len(field) >= 5 and field[0] & 1:
            (mtime,) = struct.unpack("<i", field[1:5])
            return max(0, min(int(mtime), int(time.time())))
    return None


def _format_name(name: str) -> str:
    """Format a name for an error message: quoted, printable, truncated if it is long."""
    return ascii(name) if not name.isprintable() else repr(name if len(name) <= 80 else name[:79] + "…")
