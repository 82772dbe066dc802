"""The exceptions of the package. Their HTTP statuses are defined in `web/errors.py` only.

`error` is a short, stable text that clients may compare; `detail` says what was wrong and what to do.
Neither contains paths of the server's machine: these go to the log, through `__cause__`.
"""

from __future__ import annotations

import errno
from typing import Any


class ChachamlError(Exception):
    """The base class of all errors that are reported to clients."""

    error = "internal error"

    def __init__(self, detail: str, *, resolvable_by: str | None = None, **names: str) -> None:
        """`resolvable_by` is a remedy, to be worded by `web` and the commands; `names` are the names it concerns."""
        super().__init__(detail)
        self.detail = detail
        self.resolvable_by = resolvable_by
        self.names = names


class InvalidInput(ChachamlError):
    """The request is malformed, or contains an invalid value."""

    error = "bad request"


class NotFound(ChachamlError):
    """There is no such run, model or artifact."""

    def __init__(self, kind: str, detail: str, *, resolvable_by: str | None = None, **names: str) -> None:
        super().__init__(detail, resolvable_by=resolvable_by, **names)
        self.error = f"no such {kind}"


class RunEnded(NotFound):
    """The run has ended, and the request is only allowed before that."""

    def __init__(self, detail: str) -> None:
        super().__init__("run", detail, resolvable_by="resume_run")


class RunTrashed(NotFound):
    """The run is in the trash, by itself or with its experiment, and can't be written to."""

    def __init__(self, detail: str, experiment: str | None = None) -> None:
        """`experiment` is the deleted experiment of the run; None if the run itself was moved to the trash."""
        if experiment is None:
            super().__init__("run", detail, resolvable_by="restore_run")
        else:
            super().__init__("run", detail, resolvable_by="restore_experiment", name=experiment)


class Conflict(ChachamlError):
    """The request contradicts the stored state."""

    error = "conflict"


class TooLarge(ChachamlError):
    """The body exceeds the limit."""

    error = "body too large"


class Unauthorized(ChachamlError):
    """A token is configured, but the request has none or a wrong one."""

    error = "unauthorized"


class Forbidden(ChachamlError):
    """The Host header isn't allowed, or another site's page sent a write."""

    error = "forbidden"


class CheckFailed(ChachamlError):
    """The request is valid, but the run failed the check. `report` is the body of the response."""

    error = "check failed"

    def __init__(self, detail: str, report: dict[str, Any]) -> None:
        super().__init__(detail)
        self.report = report


class StorageFault(ChachamlError):
    """The store could not be read or written, through no fault of the client."""

    error = "storage fault"


class StorageFull(StorageFault):
    """Writing failed: the disk is full, a quota is exceeded, or the file system is read-only."""

    error = "disk full"


class StorageGone(ChachamlError):
    """The data folder was removed while it was served. If it is created again, it is served again."""

    error = "storage gone"


class StorageBusy(StorageFault):
    """The process is temporarily out of file descriptors or memory; the request may succeed later."""

    error = "overloaded"


class StoreUnusable(ChachamlError):
    """The data folder can't be served: it isn't a folder, isn't writable, or is owned by another server.

    `owner` describes that server, "process 5903, http://localhost:8080"; None for other reasons.
    """

    error = "store unusable"

    def __init__(self, detail: str, owner: str | None = None) -> None:
        super().__init__(detail)
        self.owner = owner


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_BUSY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


def translate_os_error(fault: OSError) -> StorageFault:
    """Convert an operating system's error into one for clients, without its text, which may contain paths."""
    if fault.errno == errno.EROFS:
        return StorageFull("the store's file system is read-only; nothing was stored")
    if fault.errno in _NO_ROOM:
        return StorageFull("the disk that holds the store is full; nothing was stored. Free some space, then retry")
    if fault.errno in _BUSY:
        return StorageBusy("the server is out of file descriptors or memory for now; retry in a while")
    return StorageFault("the store could not be read or written; the server's log says why")
