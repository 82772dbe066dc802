"""Artifacts' bytes: received outside the run, moved into it by one rename, and read only from inside that run.

An upload that replaces a blob changes two files, artifacts.jsonl and the blob. The line is written first, while the
bytes wait in runs/.incoming under a name made of the run and the sha256; then one rename puts them in place. A server
killed in between leaves both, and `finish_interrupted` completes the rename at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from .. import strict_json
from . import beneath, disk_names, layout, reading
from .atomic import append_lines, appending_lines, write_new
from .beneath import InTheWay
from .checksum import PIECE_BYTES
from .durability import Durability
from .incoming import Incoming, Upload, free_bytes
from .layout import Layout
from .reading import Damaged, Stamp
from .run_files import incoming_path

log = logging.getLogger(__name__)

#: Part of the name of a file in runs/.incoming that marks a deletion of a run's artifacts in progress.
_DELETION = "deletion"


class Blobs:
    """The blobs of one store's runs. Callers hold the run's lock from `place` on, but not during `receive`."""

    def __init__(self, places: Layout, durability: Durability) -> None:
        self._places = places
        self._durability = durability

    def incoming(self) -> Incoming:
        """Return a new body in runs/.incoming, to be appended to as its bytes arrive."""
        return Incoming(incoming_path(self._places, "upload"), self._durability)

    def free_bytes(self) -> int:
        """Return the free space for blobs, in bytes."""
        return free_bytes(self._places.incoming)

    def receive(self, stream: BinaryIO | Incoming, expected_bytes: int | None = None) -> Upload:
        """Return a body that has already arrived, or copy `stream` to its end in constant memory.

        Raises OSError; ValueError if the size is not `expected_bytes`. Nothing is left behind then.
        """
        if isinstance(stream, Incoming):
            return stream.finish(expected_bytes)
        if (expected_bytes or 0) > self.free_bytes():  # the server did not accept such a body, so don't read it either
            raise OSError(errno.ENOSPC, "no room for the upload")
        incoming = self.incoming()
        try:
            while incoming.fault is None and (piece := stream.read(PIECE_BYTES)):
                incoming.append(piece)
            return incoming.finish(expected_bytes)
        except BaseException:
            incoming.discard()
            raise

    def discard(self, upload: Upload) -> None:
        """Remove a received upload that turns out not to be needed. An upload that is already gone is no error."""
        with contextlib.suppress(OSError):
            os.unlink(upload.path)

    def place(
        self, run_id: str, spelling: str, upload: Upload, line: dict[str, Any], *, replaces: bool = False
    ) -> Stamp:
        """Make the upload the run's blob `spelling`, and append `line` to artifacts.jsonl; return that file's stamp.

        `replaces`: an existing file may be replaced. Raises InTheWay, OSError; artifacts.jsonl and the blob are
        unchanged then.
        """
        blob = self._writable_path(run_id, spelling)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(blob).st_mode) or not replaces:
                raise InTheWay(f"{layout.BLOBS}/{spelling}")
        ready = incoming_path(self._places, f"{run_id}~{upload.sha256}")
        try:
            os.rename(upload.path, ready)
            upload = upload._replace(path=ready)
            records = self._places.run_file(run_id, layout.ARTIFACTS)
            with appending_lines(records, (strict_json.dumps(line) + "\n").encode(), self._durability) as stamp:
                os.rename(ready, blob)
        except OSError:
            self.discard(upload)
            raise
        self._durability.sync_folder(os.path.dirname(blob))
        return stamp

    def delete(self, run_id: str, spellings: Sequence[str], lines: Iterable[dict[str, Any]]) -> Stamp:
        """Append `lines`, which record the deletion of these blobs, to artifacts.jsonl, then remove the blobs.

        Returns that file's stamp. If the server is killed in between, `finish_interrupted` removes them at the next
        start, prompted by a marker file in runs/.incoming. Raises OSError; nothing is deleted then, except on a full
        disk.
        """
        mark = incoming_path(self._places, f"{run_id}~{_DELETION}")
        records = self._places.run_file(run_id, layout.ARTIFACTS)
        content = "".join(strict_json.dumps(line) + "\n" for line in lines).encode()
        try:
            write_new(mark, b"", self._durability)
            self._durability.sync_folder(self._places.incoming)
            stamp = append_lines(records, content, self._durability)
        except OSError as fault:
            self._forget(mark)
            if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._remove(run_id, spellings)  # which makes room for the lines
            return append_lines(records, content, self._durability)
        if self._remove(run_id, spellings):
            self._forget(mark)
        return stamp

    def _remove(self, run_id: str, spellings: Iterable[str]) -> bool:
        """Remove blobs, and each folder that is then empty; return whether all are gone."""
        are_gone = True
        for each in spellings:
            try:
                beneath.remove(self._places.run(run_id), f"{layout.BLOBS}/{each}", keep=layout.BLOBS)
            except OSError:
                log.exception("run %r: %r is deleted, and its bytes could not be removed", run_id, each)
                are_gone = False
        return are_gone

    def _forget(self, mark: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(mark)

    def open(self, run_id: str, spelling: str, size: int) -> BinaryIO:
        """Open a blob of `size` bytes for reading.

        Raises FileNotFoundError, OSError; Damaged for another size, or for anything but a regular file.
        """
        file = beneath.open_file(self._places.run(run_id), f"{layout.BLOBS}/{spelling}")
        if os.fstat(file.fileno()).st_size != size:
            file.close()
            raise Damaged(f"{layout.BLOBS}/{spelling} is not a file of {size} bytes")
        return file

    def _writable_path(self, run_id: str, spelling: str) -> str:
        """Create the folders of a blob; return its path.

        Raises OSError; InTheWay if one of them is a link or a file.
        """
        return beneath.create_folders(self._places.run(run_id), f"{layout.BLOBS}/{spelling}", self._durability)

    def finish_interrupted(self, name: str) -> bool:
        """Finish, at start, the upload or deletion that left the file `runs/.incoming/NAME`.

        An upload is moved to the place that its line in artifacts.jsonl names. That line is the run's last one if the
        upload was interrupted in `place`, because a run's uploads take turns. If NAME marks a deletion, the blobs that
        are recorded as deleted are removed. Returns False if artifacts.jsonl has no such line. Raises InTheWay, OSError
        if it has one and the bytes can't be moved or removed.
        """
        run_id, _, rest = name.partition("~")
        try:
            lines, _, _ = reading.read_records(self._places.run_file(run_id, layout.ARTIFACTS))
        except (OSError, Damaged, ValueError):
            return False
        names = [line.get("name") for line in lines]
        spellings = disk_names.spellings(each for each in names if isinstance(each, str) and all(each.split("/")))
        action = rest.partition("~")[0]
        if action == _DELETION:
            last = dict(zip(names, lines, strict=True))
            deleted = [name for name, line in last.items() if line.get("deleted") is True and "timestamp" in line]
            if not self._remove(run_id, [spellings[name] for name in deleted if name in spellings]):
                raise OSError(errno.EACCES, "what is deleted could not be removed")
            self._forget(f"{self._places.incoming}/{name}")
            return True
        if not lines or lines[-1].get("sha256") != action or names[-1] not in spellings:
            return False
        os.rename(f"{self._places.incoming}/{name}", self._writable_path(run_id, spellings[names[-1]]))
        return True
