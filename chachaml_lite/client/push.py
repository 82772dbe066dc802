"""Runs copied from one store to another: found by their digests, held against each other, sent as zips.

A zip is made while it is sent, and what is in it is summed on the way: where that isn't what the manifest speaks of,
the request is broken off before its end, and nothing is stored. So is what comes from a server that goes away, or from
a push that is killed. A run of many bytes goes in several zips, each of which is the run as it may have been at an
earlier moment, still running; what is there by then isn't sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from .. import strict_json
from ..store import layout
from ..store.run_files import readable
from ..store.zip_stream import Entry, packed
from ..tracking.transfer.manifest import last_uploads
from .base import ApiError, Client, Sent, of_ours, path_of
from .manifest import Lack, Manifest, find_lacking

ZIP = "application/zip"
#: Of artifacts in one zip; one of more has a zip of its own. What a cut connection costs, at most, besides that.
PIECE_BYTES = 64 * 1024 * 1024
#: Of artifacts in the first zip for a run that is there: should it be refused, no more was sent in vain.
_FIRST_BYTES = 1024 * 1024
#: And in number: a zip may have 100,000 entries.
_MOST_ARTIFACTS = 10_000
#: How often a run that changes meanwhile is tried. One that stays the same, and fails twice, is damaged.
_TRIES = 5
#: Of ids in one URL: what proxies let through.
_URL_CHARACTERS = 3000

_OF_THE_RUN = (400, 409, 413)


class NotPushed(Exception):
    """One run can't be pushed, others may be. `error`, `detail` and `resolvable_by` as an ApiError has them."""

    def __init__(self, error: str, detail: str, resolvable_by: str | None = None) -> None:
        self.resolvable_by = resolvable_by
        super().__init__(f"{error}: {detail}")
        self.error = error
        self.detail = detail


class Stopped(Exception):
    """No run can be pushed any more; `status` is that of the answer that says why."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _Changed(Exception):
    """The bytes sent are not those that the manifest lists."""

    def __init__(self, text: str, error: str = "damaged") -> None:
        super().__init__(text)
        self.error = error


class Push:
    """Copies runs from a `source` to a `target`."""

    def __init__(self, source: Client, target: Client, *, overwrite: bool) -> None:
        self._source = source
        self._target = target
        self._overwrite = overwrite

    def differing(self, run_ids: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
        """Divide runs into those to be sent (other or missing at the target), those that are equal, and those not here.

        Raises Stopped, Unreachable.
        """
        differing: list[str] = []
        same: list[str] = []
        gone: list[str] = []
        for some in _in_urls(run_ids):
            here, there = self._digests(self._source, some), self._digests(self._target, some)
            for run_id in some:
                found = gone if run_id not in here else same if here[run_id] == there.get(run_id) else differing
                found.append(run_id)
        return differing, same, gone

    def bytes_of(self, run_id: str) -> int:
        """Return the bytes of a run that the target lacks. Raises NotPushed, Stopped, Unreachable."""
        run = self._here(run_id)
        return find_lacking(run, self._there(run)).bytes_of(run)

    def push(self, run_id: str, sent: Callable[[int], object]) -> str:
        """Send what the target lacks of a run; what that was to it: "imported", "updated" or "unchanged".

        `sent` is told how many bytes of files and artifacts were sent, time and again.

        Raises NotPushed, Stopped, Unreachable; the target then has the run as it was, or as of an earlier moment.
        """
        seen: set[str] = set()
        done: set[str] = set()
        for _ in range(_TRIES):
            run = self._here(run_id)
            try:
                if run.damage is not None:
                    raise _Changed(f"{run.damage}; `chachaml-lite verify --repair` mends what can be")
                self._push(run, done, sent)
            except _Changed as fault:
                why = fault
                if run.digest in seen:
                    break
                seen.add(run.digest)
            else:
                return next((kind for kind in ("imported", "updated") if kind in done), "unchanged")
        raise NotPushed(why.error, str(why)) from why

    def _push(self, run: Manifest, done: set[str], sent: Callable[[int], object]) -> None:
        """Send what is lacking, and see that it is there. Adds to `done` what the target says that it did. _Changed."""
        there = self._there(run)
        lack = find_lacking(run, there)
        if not lack:
            return
        groups = _groups(run, lack, _FIRST_BYTES if there is not None else PIECE_BYTES)
        for number, names in enumerate(groups):
            later = {name for group in groups[number + 1 :] for name in group}
            entries = self._entries(run, lack, names, later, sent, is_first=number == 0)
            done |= self._import(packed(entries))
        if find_lacking(run, self._there(run)):
            raise _Changed(f"{self._target.url} has something else by now than was sent", "not as sent")

    def _import(self, zipped: Sent) -> set[str]:
        query = [("overwrite", "true")] if self._overwrite else []
        try:
            answer = self._target.ask("POST", "/api/w/import", query, body=zipped, content_type=ZIP).json()
        except ApiError as fault:
            if fault.status == 400:  # it may be another run by now, here or there
                raise _Changed(fault.detail, fault.error) from fault
            raise self._fault_of(self._target, fault) from fault
        with of_ours(self._target):
            return {kind for kind in ("imported", "updated", "unchanged") if answer[kind]}

    # -- asking

    def _digests(self, client: Client, run_ids: Sequence[str]) -> dict[str, str]:
        try:
            found: dict[str, str] = client.get("/api/digests", [("ids", ",".join(run_ids))])
        except ApiError as fault:
            raise self._stopped(client, fault) from fault
        with of_ours(client):
            return dict(found)

    def _here(self, run_id: str) -> Manifest:
        try:
            with of_ours(self._source):
                return Manifest(self._source.get(path_of("api", "runs", run_id, "manifest")))
        except ApiError as fault:
            raise self._fault_of(self._source, fault) from fault

    def _there(self, run: Manifest) -> Manifest | None:
        query = [("points_bytes", str(run.points_bytes))]
        try:
            with of_ours(self._target):
                return Manifest(self._target.get(path_of("api", "runs", run.id, "manifest"), query))
        except ApiError as fault:
            if fault.error == "no such run":
                return None
            raise self._fault_of(self._target, fault) from fault

    def _fault_of(self, client: Client, fault: ApiError) -> Exception:
        """Return the error to raise: for this run alone, or for all."""
        of_the_run = fault.status in _OF_THE_RUN or (client is self._source and fault.status not in (401, 403))
        return NotPushed(fault.error, fault.detail, fault.resolvable_by) if of_the_run else self._stopped(client, fault)

    def _stopped(self, client: Client, fault: ApiError) -> Stopped:
        option = "--to-token" if client is self._target else "--token"
        if fault.error == "not found" or fault.status == 405:
            text = "the server there is older than this command; update it"
        elif fault.status == 401:
            text = f"{fault.error}: it needs its token, which {option} gives"
        else:
            text = str(fault)
        return Stopped(f"{client.url}: {text}", fault.status)

    # -- what is sent

    def _entries(
        self,
        run: Manifest,
        lack: Lack,
        names: Sequence[str],
        later: set[str],
        sent: Callable[[int], object],
        *,
        is_first: bool,
    ) -> Iterator[Entry]:
        """The files of one zip: the run without the artifacts that come `later`, and of `names` the bytes."""
        ended = {} if not later else {"status": "running", "end_time": None, "error": None}
        yield _text_entry(run, layout.META, readable(layout.META, {**run.meta, **ended}))
        if is_first:
            if lack.params:
                yield _text_entry(run, layout.PARAMS, readable(layout.PARAMS, run.params))
            if lack.events:
                events = "".join(strict_json.dumps(event) + "\n" for event in run.events)
                yield _text_entry(run, layout.LOGGED_MODELS, events.encode())
            for path in lack.files:
                size, sha256 = run.files[path]
                target = path_of("api", "runs", run.id, "files", *path.split("/"))
                yield Entry(f"{run.id}/{path}", size, run.written, self._fetched(target, size, sha256, path, sent))
        uploads = [upload for upload in run.uploads if upload["name"] not in later]
        if uploads and (names or (is_first and (lack.disputed or lack.deletions))):
            lines = "".join(strict_json.dumps(upload) + "\n" for upload in uploads)
            yield _text_entry(run, layout.ARTIFACTS, lines.encode())
        spelled = last_uploads(uploads).spellings
        for name in names:
            _, sha256, size, _ = run.artifacts[name]
            target = path_of("api", "artifacts", run.id, *name.split("/"), "download")
            pieces = self._fetched(target, size, sha256, f"artifact {name!r}", sent)
            yield Entry(f"{run.id}/{layout.BLOBS}/{spelled.of(name)}", size, run.written, pieces)

    def _fetched(
        self, target: str, size: int, sha256: str, what: str, sent: Callable[[int], object]
    ) -> Iterator[bytes]:
        """The first bytes of a file at the source. Raises _Changed behind them where they are others."""
        digest, left = hashlib.sha256(), size
        if size:
            try:
                answer = self._source.ask("GET", target)
            except ApiError as fault:
                raise _Changed(fault.detail, fault.error) from fault
            with answer:
                for piece in answer.pieces():
                    piece = piece[:left]
                    digest.update(piece)
                    left -= len(piece)
                    sent(len(piece))
                    yield piece
                    if not left:
                        break
        if left or digest.hexdigest() != sha256:
            raise _Changed(f"the bytes of {what} are not those of its sha256: see `chachaml-lite verify` where it is")


def _text_entry(run: Manifest, name: str, content: bytes) -> Entry:
    return Entry(f"{run.id}/{name}", len(content), run.written, [content])


def _groups(run: Manifest, lack: Lack, room: int) -> list[list[str]]:
    """The artifacts that are lacking, by the zip in which they go; the first one, of so much room, may have none."""
    groups: list[list[str]] = [[]]
    for name in lack.artifacts:
        size = run.artifacts[name].size
        if len(groups[-1]) == _MOST_ARTIFACTS or (size > room and (groups[-1] or len(groups) == 1)):
            groups.append([])
            room = PIECE_BYTES
        groups[-1].append(name)
        room -= size
    return groups


def _in_urls(run_ids: Iterable[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for run_id in run_ids:
        if some and sum(map(len, some)) + len(some) + len(run_id) > _URL_CHARACTERS:
            yield some
            some = []
        some.append(run_id)
    if some:
        yield some
