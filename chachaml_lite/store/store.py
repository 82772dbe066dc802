"""An open store: takes its lock, cleans up after a killed server, and gives access to its parts."""

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
from .incoming import Upload, spool
from .inspection import Inspection
from .layout import Layout
from .locks import NamedLocks, StoreLock
from .model_files import ModelFiles
from .run_files import RunFiles, incoming_path
from .run_index import RunIndex
from .scan import Folders, RunFolders, list_folder
from .watch import Watch
from .zip_extract import UnpackedRuns, unpack
from .zip_run import Member

log = logging.getLogger(__name__)


class Store:
    """A folder of runs, models and experiments, owned by this process until `close`, or opened for reading only."""

    def __init__(self, root: Path, fsync: str, *, read_only: bool = False) -> None:
        """Open the store at `root`, which is created if it is missing. Raises StoreUnusable.

        `read_only`: nothing is written, created or cleaned up and no lock is taken, so the disk need not be writable
        and another process may own the store. `root` must exist then.
        """
        self.root = root
        places = Layout(str(root))
        self._lock = None if read_only else _take_lock(places, root)
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
        """List runs/ now; return its entries. Raises OSError."""
        return list_folder(self._places.runs)

    def watch_run(self, run_id: str) -> bool:
        """Have `watch` report changes in a run's folder; return whether it can."""
        return self.watch.add(run_id, self._places.run(run_id))

    def record_url(self, url: str) -> None:
        """Record the server's URL in the lock file, for anybody else who wants the store."""
        if self._lock is not None:
            self._lock.tell(f"process {os.getpid()}, {url}")

    def is_there(self) -> bool:
        """Return whether the folder of runs exists: somebody may have removed it while the server runs."""
        return os.path.isdir(self._places.runs)

    def restore_folders(self) -> None:
        """Take over the data folder if it was removed and created again: take its lock and create its subfolders.

        Until then writes fail; if another server owns the new folder, they keep failing.
        """
        if self._lock is None or os.path.isdir(self._places.incoming) or not os.path.isdir(self._places.root):
            return
        try:
            lock = _take_lock(self._places, self.root)
        except StoreUnusable as fault:
            log.error("%s", fault.detail)
            return
        log.warning("the data folder %s was created again, and is served", self.root)
        self._lock.release()
        self._lock = lock

    def lock_run(self, run_id: str) -> AbstractContextManager[None]:
        """Return a context manager that locks a run, so that what was checked still holds when it is acted on.

        A run's lock is taken before a model's.
        """
        return self._run_locks.hold(run_id)

    def lock_id(self, run_id: str) -> AbstractContextManager[None]:
        """Return a context manager that locks an id in every case, so that it is still free when a run gets it.

        It is taken before any run's lock.
        """
        return self._run_locks.hold(f"id {run_id.lower()}")

    def lock_model(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that locks a model. If both are needed, the run's lock is taken first."""
        return self._model_locks.hold(name)

    def zip_run(self, run_id: str, hold: Callable[[], AbstractContextManager[object]]) -> BinaryIO:
        """Return a run's folder as a zip file, open for reading; see `zip_run`. Raises OSError."""
        return self.spool(lambda file: zip_run.zip_run(self._places, run_id, hold, file))

    def zip_blobs(self, run_id: str, members: Sequence[Member]) -> BinaryIO:
        """Return a run's artifacts as a zip file, open for reading; see `zip_blobs`.

        Raises FileNotFoundError, Damaged, OSError.
        """

        def open_blob(spelling: str, size: int) -> BinaryIO:
            return self.blobs.open(run_id, spelling, size)

        return self.spool(lambda file: zip_run.zip_blobs(open_blob, members, file))

    def spool(self, fill: Callable[[BinaryIO], object]) -> BinaryIO:
        """Return an unnamed file written by `fill`, open for reading from its start; see `spool`. Raises OSError."""
        return spool(None if self._lock is None else self._places, fill)

    def unpack(self, upload: Upload, max_file_bytes: int | None) -> UnpackedRuns:
        """Unpack an uploaded zip of runs in runs/.incoming; see `unpack`. Raises BadZip, TooLarge, OSError."""
        folder = incoming_path(self._places, "import")
        return unpack(upload.path, folder, self._durability, self.blobs.free_bytes, max_file_bytes)

    def close(self) -> None:
        """Sync pending writes and release the store."""
        self.watch.close()
        self.run_entries.close()
        self.runs.close()
        if self._lock is not None:
            self._lock.release()

    def _sweep(self, killed_since_ns: int | None) -> None:
        """Finish or remove what the last server left unfinished.

        The runs' own folders are examined only if it was killed, and only those changed since it started
        (`killed_since_ns`): for 100,000 runs that takes 0.5 s, instead of 2 s to try to remove temporary files from
        every folder.
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
                except (OSError, InTheWay):  # a line refers to these bytes: keep them for the next start
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


def _take_lock(places: Layout, root: Path) -> StoreLock:
    """Create the store's folders and take its lock; return the lock. Raises StoreUnusable."""
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
    """Create one of the store's own folders, if it is missing.

    Raises StoreUnusable if it can't be created or is a link: files swept from it, or renamed into it, would be
    elsewhere.
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
