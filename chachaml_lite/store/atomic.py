"""Atomic writes: the two ways to write to a store, replacing a whole file and appending whole lines.

Both restore the old content and leave nothing else behind when they fail, so that a full disk can be answered with an
error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from .durability import Durability
from .reading import NO_FILE, Stamp, stamp_of

#: The most permissive modes of a store's files and folders, whatever the umask: only the owner may write.
FILE_MODE = 0o644
FOLDER_MODE = 0o755
#: The longest file name, in bytes, on ext4, xfs, APFS and NTFS.
_MAX_NAME_BYTES = 255
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`. After a short write the rest is tried again, which raises the error. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def temporary(path: str) -> str:
    """Return the path of the temporary file for the next content of `path`.

    It is always the same one, because whoever writes to `path` holds its lock. Of a name too long for the prefix and
    suffix only the end is used: two such names must not be written at the same time.
    """
    folder, _, name = path.rpartition("/")
    if len(os.fsencode(name)) > _MAX_NAME_BYTES - len("..tmp"):
        name = name[-50:]  # characters, of four bytes at most
    return f"{folder}/.{name}.tmp"


def _create_temporary(path: str) -> tuple[str, int]:
    """Create `temporary(path)`; return its path and a descriptor open for writing. Raises OSError.

    A file that already exists was left by a killed server or put there by hand. It is removed and never opened: opening
    a pipe would block, and writing through a hard link would overwrite another file.
    """
    temporary_path = temporary(path)
    try:
        return temporary_path, os.open(temporary_path, _CREATE, FILE_MODE)
    except FileExistsError:
        os.unlink(temporary_path)
        return temporary_path, os.open(temporary_path, _CREATE, FILE_MODE)


class Replacement:
    """The next content of a file, open for writing, and the file's stamp once it is in place."""

    __slots__ = ("descriptor", "stamp")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.stamp = NO_FILE


@contextlib.contextmanager
def replacing(path: str, durability: Durability | None) -> Iterator[Replacement]:
    """Replace the file at `path` with what the block writes, in one rename at its end.

    Readers see the old or the new content, never a part. With `durability` None nothing is synced to disk, which suits
    files that can be rebuilt. Raises OSError. If that or the block fails, the old content remains and no temporary file
    is left.
    """
    temporary_path, descriptor = _create_temporary(path)
    try:
        try:
            replacement = Replacement(descriptor)
            yield replacement
            if durability:
                durability.sync(descriptor)
            os.rename(temporary_path, path)
            replacement.stamp = stamp_of(os.fstat(descriptor))  # after the rename, which changes the ctime
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary_path)
        raise
    if durability:
        durability.sync_folder(os.path.dirname(path))


def replace_file(path: str, content: bytes | Iterable[bytes], durability: Durability | None) -> Stamp:
    """Replace the file at `path` with `content`, given whole or in pieces; return its stamp.

    See `replacing`. Raises OSError.
    """
    with replacing(path, durability) as replacement:
        for piece in [content] if isinstance(content, bytes) else content:
            write_all(replacement.descriptor, piece)
    return replacement.stamp


def write_new(path: str, content: bytes, durability: Durability) -> None:
    """Create the file at `path` with this content, in a folder that is not visible to readers yet. Raises OSError."""
    descriptor = os.open(path, _CREATE, FILE_MODE)
    try:
        write_all(descriptor, content)
        durability.sync(descriptor)
    finally:
        os.close(descriptor)


def open_to_append(path: str) -> tuple[int, bool]:
    """Open the regular file at `path` for appending; return a descriptor, and whether the file is new.

    Raises OSError.
    """
    is_new = False
    try:
        descriptor = os.open(path, _APPEND & ~os.O_CREAT)
    except FileNotFoundError:
        descriptor = os.open(path, _APPEND, FILE_MODE)
        is_new = True
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe would swallow the lines and report success
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor, is_new


def ends_torn(descriptor: int, size: int) -> bool:
    """Return whether the last line of an open file of `size` bytes lacks its line end."""
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def write_lines(descriptor: int, size: int, lines: bytes, sync: Callable[[int], None]) -> None:
    """Append `lines` to an open file of `size` bytes with one write(2), then call `sync` on it.

    Raises OSError, after truncating the file to its old length. On a full disk write(2) returns a short count, not an
    error.
    """
    try:
        if os.write(descriptor, lines) != len(lines):
            raise OSError(errno.ENOSPC, "the write came back short")
        sync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def append_lines(path: str, lines: bytes, durability: Durability) -> Stamp:
    """Append whole lines to the file at `path`, as `appending_lines` does; return its stamp. Raises OSError."""
    with appending_lines(path, lines, durability) as stamp:
        return stamp


@contextlib.contextmanager
def appending_lines(path: str, lines: bytes, durability: Durability) -> Iterator[Stamp]:
    """Append whole lines to the file at `path`, created if it is missing, and remove them again if the block fails.

    Yields the file's stamp after the write. If the last line lacks its line end, one is added first in the same write,
    so that no record is glued onto a torn one. Raises OSError, after restoring the file. Truncating through the open
    descriptor also works if the folder was renamed in the meantime.
    """
    descriptor, is_new = open_to_append(path)
    try:
        size = os.fstat(descriptor).st_size
        try:
            is_torn = ends_torn(descriptor, size)
            write_lines(descriptor, size, b"\n" + lines if is_torn else lines, durability.sync)
            if is_new:
                durability.sync_folder(os.path.dirname(path))
        except OSError:
            if is_new:
                os.unlink(path)
            raise
        try:
            yield stamp_of(os.fstat(descriptor))
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
