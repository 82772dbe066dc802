"""The errors of the package. Their HTTP statuses are in `web/errors.py`, nowhere else.

`error` is the short, stable text that clients may compare; `detail` says what was wrong and what to do.
Neither ever holds a path of the server's machine: paths go to the log, through `__cause__`.
"""

from __future__ import annotations

import errno
from typing import Any


class ChachamlError(Exception):
    """The root of all that this service says no to."""

    error = "internal error"

    def __init__(self, detail: str, *, resolvable_by: str | None = None, **names: str) -> None:
        """`resolvable_by`: what would help, for `web` and the commands to word; `names`: those that it concerns."""
        super().__init__(detail)
        self.detail = detail
        self.resolvable_by = resolvable_by
        self.names = names


class InvalidInput(ChachamlError):
    """The request is not of the form that the endpoint takes, or holds a value that can't be used."""

    error = "bad request"


class NotFound(ChachamlError):
    """There is no such run, model or artifact (the contract, section 1, status 404)."""

    def __init__(self, kind: str, detail: str, *, resolvable_by: str | None = None, **names: str) -> None:
        super().__init__(detail, resolvable_by=resolvable_by, **names)
        self.error = f"no such {kind}"


class RunEnded(NotFound):
    """The run has ended, and what was sent is taken only before that."""

    def __init__(self, detail: str) -> None:
        super().__init__("run", detail, resolvable_by="resume_run")


class RunTrashed(NotFound):
    """The run is in the trash, by itself or with its experiment, and takes no write."""

    def __init__(self, detail: str, experiment: str | None = None) -> None:
        """`experiment`: the deleted one that the run belongs to; None where the run itself was moved there."""
        if experiment is None:
            super().__init__("run", detail, resolvable_by="restore_run")
        else:
            super().__init__("run", detail, resolvable_by="restore_experiment", name=experiment)


class Conflict(ChachamlError):
    """A request that contradicts what is stored."""

    error = "conflict"


class TooLarge(ChachamlError):
    """The body is over the limit."""

    error = "body too large"


class Unauthorized(ChachamlError):
    """A token is configured, and the request bears none, or another one."""

    error = "unauthorized"


class Forbidden(ChachamlError):
    """A Host that isn't ours, or a write that another site's page sent."""

    error = "forbidden"


class CheckFailed(ChachamlError):
    """The request was fine, the run was not good enough. `report` is the body of the check's answer."""

    error = "check failed"

    def __init__(self, detail: str, report: dict[str, Any]) -> None:
        super().__init__(detail)
        self.report = report


class StorageFault(ChachamlError):
    """The store could not be read or written, and it isn't the client's doing."""

    error = "storage fault"


class StorageFull(StorageFault):
    """No room, or no right, to write: the disk is full, a quota is met, the file system is read-only."""

    error = "disk full"


class StorageGone(ChachamlError):
    """The data folder was removed while it is served; one that is made anew is served."""

    error = "storage gone"


class StorageBusy(StorageFault):
    """The process is out of file descriptors or memory for now; the same request may pass later."""

    error = "overloaded"


class StoreUnusable(ChachamlError):
    """The data folder can't be served at all (at start): not a folder, not ours to write, owned by a server.

    `owner` is what is known of that server, "process 5903, http://localhost:8080"; None where no server is in the way.
    """

    error = "store unusable"

    def __init__(self, detail: str, owner: str | None = None) -> None:
        super().__init__(detail)
        self.owner = owner


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_BUSY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


def storage_fault(fault: OSError) -> StorageFault:
    """Return the error for clients that stands for an operating system's; its own text holds paths and stays out."""
    if fault.errno == errno.EROFS:
        return StorageFull("the store's file system is read-only; nothing was stored")
    if fault.errno in _NO_ROOM:
        return StorageFull("the disk that holds the store is full; nothing was stored. Free some space, then retry")
    if fault.errno in _BUSY:
        return StorageBusy("the server is out of file descriptors or memory for now; retry in a while")
    return StorageFault("the store could not be read or written; the server's log says why")
