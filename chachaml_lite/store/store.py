"""One store, opened: its lock taken, what a killed server left swept, its parts at hand."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreUnusable
from . import layout, reading, zip_run
from .atomic import FOLDER_MODE, temporary
from .beneath import InTheWay
from .blobs import Blobs
from .contents import Contents
from .durability import Durability
from .experiment_files import ExperimentFiles
from .incoming import Upload
from .inspection import Inspection
from .layout import Layout
from .locks import NamedLocks, StoreLock
from .model_files import ModelFiles
from .run_files import RunFiles, incoming_path
from .run_index import RunIndex
from .scan import Folders, RunFolders, list_folder
from .spool import spool
from .watch import Watch
from .zip_extract import Unpacked, unpack
from .zip_run import Member

log = logging.getLogger(__name__)


class Store:
    """A folder of runs, models and experiments, owned by this process until `close`, or only read."""

    def __init__(self, root: Path, fsync: str, *, read_only: bool = False) -> None:
        """Open the store at `root`, which is made when it is not there. Raises StoreUnusable.

        `read_only`: nothing is written, made or swept, and no lock is taken, so that a disk that can't be written will
        do, and another process may own the store. Then `root` has to be there.
        """
        self.root = root
        places = Layout(str(root))
        self._lock = None if read_only else _owned(places, root)
        if read_only:
            _refuse_unreadable(places, root)
        durability = Durability(fsync)
        self._places = places
        self._durability = durability
        self.runs = RunFiles(places, durability, read_only=read_only)
        self.blobs = Blobs(places, durability)
        self.contents = Contents(places)
        self.models = ModelFiles(places, durability)
        self.experiments = ExperimentFiles(places, durability)
        self.inspection = Inspection(places, durability, is_ours=self._lock is not None)
        self.run_entries = RunFolders(places.runs)
        self.run_index = RunIndex(places, read_only=read_only)
        self._run_locks = NamedLocks()
        self._model_locks = NamedLocks()
        self.watch = Watch(places.runs)
        if self._lock is not None:
            self._sweep(self._lock.killed_since_ns)

    def run_folders(self) -> Folders:
        """The folders in runs/, listed now. Raises OSError."""
        return list_folder(self._places.runs)

    def watch_run(self, run_id: str) -> bool:
        """Have `watch` tell of what happens in a run's folder; False where it can't."""
        return self.watch.add(run_id, self._places.run(run_id))

    def record_url(self, url: str) -> None:
        """Tell who else wants the store where it can be asked instead."""
        if self._lock is not None:
            self._lock.tell(f"process {os.getpid()}, {url}")

    def is_there(self) -> bool:
        """Whether the folder of the runs is there: somebody may have removed it under the server."""
        return os.path.isdir(self._places.runs)

    def restore_folders(self) -> None:
        """Own the data folder again where it was removed and made anew; its own folders are made, its lock is taken.

        Until then writes fail; where another server has the new folder, they go on to fail.
        """
        if self._lock is None or os.path.isdir(self._places.incoming) or not os.path.isdir(self._places.root):
            return
        try:
            lock = _owned(self._places, self.root)
        except StoreUnusable as fault:
            log.error("%s", fault.detail)
            return
        log.warning("the data folder %s was made anew, and is served", self.root)
        self._lock.release()
        self._lock = lock

    def locked_run(self, run_id: str) -> AbstractContextManager[None]:
        """Hold a run, so that what a rule has checked still holds when it acts. Taken before a model's lock."""
        return self._run_locks.held(run_id)

    def locked_id(self, run_id: str) -> AbstractContextManager[None]:
        """Hold an id in every spelling, so that it is still free when a run gets it. Taken before any run's lock."""
        return self._run_locks.held(f"id {run_id.lower()}")

    def locked_model(self, name: str) -> AbstractContextManager[None]:
        """Hold a model, likewise; taken after a run's lock where both are needed."""
        return self._model_locks.held(name)

    def zip_run(self, run_id: str, hold: Callable[[], AbstractContextManager[object]]) -> BinaryIO:
        """A run's folder as a zip file, open to read; see `zip_run`. Raises OSError."""
        return self.spool(lambda file: zip_run.zip_run(self._places, run_id, hold, file))

    def zip_blobs(self, run_id: str, members: Sequence[Member]) -> BinaryIO:
        """Artifacts of a run as a zip file, open to read; see `zip_blobs`. FileNotFoundError; Damaged; OSError."""

        def open_blob(spelling: str, size: int) -> BinaryIO:
            return self.blobs.open(run_id, spelling, size)

        return self.spool(lambda file: zip_run.zip_blobs(open_blob, members, file))

    def spool(self, fill: Callable[[BinaryIO], object]) -> BinaryIO:
        """A file without a name that `fill` has written, open to read from its start; see `spool`. Raises OSError."""
        return spool(None if self._lock is None else self._places, fill)

    def unpack(self, upload: Upload, max_file_bytes: int | None) -> Unpacked:
        """A zip of runs that was received, taken apart in runs/.incoming: see `unpack`. BadZip; TooLarge; OSError."""
        folder = incoming_path(self._places, "import")
        return unpack(upload.path, folder, self._durability, self.blobs.free_bytes, max_file_bytes)

    def close(self) -> None:
        """Sync what waits, and give the store back."""
        self.watch.close()
        self.run_entries.close()
        self.runs.close()
        if self._lock is not None:
            self._lock.release()

    def _sweep(self, killed_since_ns: int | None) -> None:
        """Finish or remove what the last server had begun.

        The runs' own folders are looked at only where it was killed, and only those that changed since it began
        (`killed_since_ns`): of 100,000 runs that takes 0.5 s, and 2 s to try to remove from each what it hasn't got.
        """
        with os.scandir(self._places.incoming) as entries:
            leftovers = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in leftovers:
            path = f"{self._places.incoming}/{name}"
            if is_folder:
                shutil.rmtree(path, ignore_errors=True)
                continue
            if name.count("~") == 2:
                try:
                    if self.blobs.finish_interrupted(name):
                        log.warning("finished what the last server's end had interrupted: %r", name)
                        continue
                except (OSError, InTheWay):  # their line speaks of these bytes: they are kept for the next start
                    log.exception("could not finish what the last server's end had interrupted: %r", name)
                    continue
            with contextlib.suppress(OSError):
                os.unlink(path)
        if killed_since_ns is not None:
            self.experiments.sweep()
            with contextlib.suppress(OSError):
                os.unlink(temporary(self._places.index))
            for run_id in self.run_folders().folders:
                if reading.stamp(self._places.run(run_id)).changed_ns < killed_since_ns:
                    continue
                for name in (layout.META, layout.PARAMS, layout.SUMMARY, layout.THINNED):
                    with contextlib.suppress(OSError):
                        os.unlink(temporary(self._places.run_file(run_id, name)))


def _owned(places: Layout, root: Path) -> StoreLock:
    """The lock of the store, its folders made. Raises StoreUnusable."""
    try:
        os.makedirs(places.root, mode=0o700, exist_ok=True)
        lock = StoreLock(places.lock_file)
    except OSError as fault:
        read = "; show what is in it with --read-only" if fault.errno == errno.EROFS and os.path.isdir(root) else ""
        raise StoreUnusable(
            f"the data folder {root} can't be used: {fault.strerror}{read}; name another one with --data"
        ) from fault
    try:
        for folder in (places.runs, places.incoming, places.models):
            _make_folder(places, folder)
        _refuse_link(places, places.experiments)
    except StoreUnusable:
        lock.release()
        raise
    return lock


def _refuse_unreadable(places: Layout, root: Path) -> None:
    try:
        os.listdir(places.root)
    except OSError as fault:
        raise StoreUnusable(
            f"the data folder {root} can't be read: {fault.strerror}; name another one with --data"
        ) from fault
    for folder in (places.runs, places.models, places.experiments):
        _refuse_link(places, folder)


def _make_folder(places: Layout, folder: str) -> None:
    """Make one of the store's own folders, if it isn't there. StoreUnusable where it can't be made, or is a link:
    what is swept, or renamed into it, would be elsewhere.
    """
    name = os.path.relpath(folder, places.root)
    try:
        os.makedirs(folder, FOLDER_MODE, exist_ok=True)
    except OSError as fault:
        raise StoreUnusable(f"{name} in the data folder can't be used: {fault.strerror}; see what is there") from fault
    _refuse_link(places, folder)


def _refuse_link(places: Layout, folder: str) -> None:
    name = os.path.relpath(folder, places.root)
    if os.path.islink(folder):
        raise StoreUnusable(f"{name} in the data folder is a link; make it a folder, or name the other place by --data")
