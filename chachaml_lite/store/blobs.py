"""The artifacts' bytes: received beside the runs, given their name in one step, read back inside their run only.

An upload that replaces a blob has two files to change, artifacts.jsonl and the blob. The line is written first, while
the bytes wait in runs/.incoming under a name that tells run and sha256; then they get their name in one rename.
A server killed in between leaves both, and `finish_interrupted` does the rename at the next start.
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
from .atomic import append_lines, appended_lines, write_new
from .beneath import InTheWay
from .checksum import PIECE_BYTES
from .durability import Durability
from .incoming import Incoming, Upload, free_bytes
from .layout import Layout
from .reading import Damaged, Stamp
from .run_files import incoming_path

log = logging.getLogger(__name__)

#: In the name of a file in runs/.incoming: a run's artifacts are being deleted.
_DELETION = "deletion"


class Blobs:
    """The blobs of one store's runs. Callers hold the run's lock from `place` on, not while they `receive`."""

    def __init__(self, places: Layout, durability: Durability) -> None:
        self._places = places
        self._durability = durability

    def incoming(self) -> Incoming:
        """A new body in runs/.incoming, to be added to as it arrives."""
        return Incoming(incoming_path(self._places, "upload"), self._durability)

    def free_bytes(self) -> int:
        """The room for blobs, in bytes."""
        return free_bytes(self._places.incoming)

    def receive(self, stream: BinaryIO | Incoming, expected_bytes: int | None = None) -> Upload:
        """A body that has come in, or `stream` copied to its end, in constant memory. OSError; then nothing is left.

        Raises ValueError when it is not of `expected_bytes`.
        """
        if isinstance(stream, Incoming):
            return stream.finish(expected_bytes)
        if (expected_bytes or 0) > self.free_bytes():  # the server has not taken such a body, so it isn't read, either
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
        """Remove what was received, when it isn't wanted after all. Fine when it is gone."""
        with contextlib.suppress(OSError):
            os.unlink(upload.path)

    def place(
        self, run_id: str, spelling: str, upload: Upload, line: dict[str, Any], *, replaces: bool = False
    ) -> Stamp:
        """Make the upload the run's blob `spelled`, and add `line` to artifacts.jsonl. Returns that file's stamp.

        `replaces`: a file that is there may go. Raises InTheWay or OSError; then artifacts.jsonl and the blob are what
        they were.
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
            with appended_lines(records, (strict_json.dumps(line) + "\n").encode(), self._durability) as stamp:
                os.rename(ready, blob)
        except OSError:
            self.discard(upload)
            raise
        self._durability.sync_folder(os.path.dirname(blob))
        return stamp

    def delete(self, run_id: str, spellings: Sequence[str], lines: Iterable[dict[str, Any]]) -> Stamp:
        """Add `lines`, which say that these blobs are deleted, to artifacts.jsonl, then remove them.

        Returns that file's stamp. Should the server be killed in between, `finish_interrupted` removes them at the next
        start, as a file in runs/.incoming tells it. Raises OSError; then nothing is deleted, unless on a full disk.
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
        """Remove blobs, and folders that are empty then; whether all are gone."""
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
        """A blob of `size` bytes, open to read. FileNotFoundError; Damaged when it has another size, or is no file."""
        file = beneath.opened(self._places.run(run_id), f"{layout.BLOBS}/{spelling}")
        if os.fstat(file.fileno()).st_size != size:
            file.close()
            raise Damaged(f"{layout.BLOBS}/{spelling} is not a file of {size} bytes")
        return file

    def _writable_path(self, run_id: str, spelling: str) -> str:
        """The path for a blob, its folders made. Raises InTheWay where one of them is a link or a file, OSError."""
        return beneath.made(self._places.run(run_id), f"{layout.BLOBS}/{spelling}", self._durability)

    def finish_interrupted(self, name: str) -> bool:
        """At start: give the bytes in `runs/.incoming/NAME` the place that their line speaks of. False: there is none.

        Where NAME is the mark of a deletion, the bytes whose lines say so are removed. Raises InTheWay, OSError: there
        is a line, and they can't be put there, or removed.
        The line of an upload that was cut off in `place` is its run's last one, for a run's uploads take turns.
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
