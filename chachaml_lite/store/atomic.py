"""The two ways in which bytes get into a store: a file replaced whole, and whole lines appended.

Both leave the old content, and nothing else, when they fail: that is what a full disk is answered with.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from .durability import Durability
from .reading import NO_FILE, Stamp, stamp_of

#: The most that a file and a folder of a store allow, whatever the umask: nobody but the owner writes.
FILE_MODE = 0o644
FOLDER_MODE = 0o755
#: The longest name of a file on ext4, xfs, APFS and NTFS.
_MAX_NAME_BYTES = 255
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def write_all(descriptor: int, content: bytes) -> None:
    """Write `content` whole; a short write is followed by another, which then says what is wrong."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def temporary(path: str) -> str:
    """The path for the next content of `path`: always the same, for whoever writes `path` holds its lock.

    A name that leaves no room for the additions gives only its end: two such names must not be written at once.
    """
    folder, _, name = path.rpartition("/")
    if len(os.fsencode(name)) > _MAX_NAME_BYTES - len("..tmp"):
        name = name[-50:]  # characters, of four bytes at most
    return f"{folder}/.{name}.tmp"


def _create_temporary(path: str) -> tuple[str, int]:
    """Create `temporary(path)`, and open it to be written. Raises OSError.

    What is there was left by a killed server, or put there by hand. It is removed and never opened: a pipe would be
    waited for, and through a hard link another file would be overwritten.
    """
    temporary_path = temporary(path)
    try:
        return temporary_path, os.open(temporary_path, _CREATE, FILE_MODE)
    except FileExistsError:
        os.unlink(temporary_path)
        return temporary_path, os.open(temporary_path, _CREATE, FILE_MODE)


class Replacement:
    """The next content of a file, open to be written; the stamp of the file once it is in place."""

    __slots__ = ("descriptor", "stamp")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.stamp = NO_FILE


@contextlib.contextmanager
def replacing(path: str, durability: Durability | None) -> Iterator[Replacement]:
    """Give `path` what the block writes, in one rename at its end: a reader sees the old or the new, never a part.

    `durability` None: nothing is forced to the disk, for what can be made anew. Raises OSError. Where that or the block
    fails, the old content stands and no temporary is left.
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
    """Give `path` this content, whole or in pieces, as `replacing` does. Returns its stamp. Raises OSError."""
    with replacing(path, durability) as replacement:
        for piece in [content] if isinstance(content, bytes) else content:
            write_all(replacement.descriptor, piece)
    return replacement.stamp


def write_new(path: str, content: bytes, durability: Durability) -> None:
    """Make the file at `path`, of these bytes, in a folder that nobody looks at yet. Raises OSError."""
    descriptor = os.open(path, _CREATE, FILE_MODE)
    try:
        write_all(descriptor, content)
        durability.sync(descriptor)
    finally:
        os.close(descriptor)


def open_to_append(path: str) -> tuple[int, bool]:
    """A descriptor to append to the regular file at `path`, and whether it had to be made. Raises OSError."""
    is_new = False
    try:
        descriptor = os.open(path, _APPEND & ~os.O_CREAT)
    except FileNotFoundError:
        descriptor = os.open(path, _APPEND, FILE_MODE)
        is_new = True
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe would swallow the lines, and call that a success
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor, is_new


def ends_torn(descriptor: int, size: int) -> bool:
    """Whether the last line of an open file of `size` bytes has no end."""
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def write_lines(descriptor: int, size: int, lines: bytes, sync: Callable[[int], None]) -> None:
    """Append `lines` to an open file of `size` bytes with one write(2), and `sync` it.

    Raises OSError; then the file has its old length again. On a full disk write(2) comes back short, without an error.
    """
    try:
        if os.write(descriptor, lines) != len(lines):
            raise OSError(errno.ENOSPC, "the write came back short")
        sync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def append_lines(path: str, lines: bytes, durability: Durability) -> Stamp:
    """Append whole lines to the file at `path`, as `appended_lines` does. Returns its stamp. Raises OSError."""
    with appended_lines(path, lines, durability) as stamp:
        return stamp


@contextlib.contextmanager
def appended_lines(path: str, lines: bytes, durability: Durability) -> Iterator[Stamp]:
    """Append whole lines to the file at `path`, made when it is not there, and take them back if the block fails.

    A last line that was left without its end gets one first, in the same write, so that no record is glued onto a torn
    one. Gives the stamp after. Raises OSError; then the file is what it was. That it is taken back through the open
    file holds where its folder was renamed meanwhile.
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
