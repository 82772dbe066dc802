"""Copying of runs from one store to another: their digests and manifests are compared, the differences sent as zips.

A zip is built while it is sent, and the checksums of its content are computed on the way: if they differ from those in
the manifest, the request is aborted before its end, and nothing is stored. The same happens if the source goes away, or
if the push is killed. A large run is sent in several zips, each with a possible earlier state of the run, still
running; the parts that have arrived are not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .. import strict_json
from ..store import layout
from ..store.run_files import readable
from ..store.zip_stream import Entry, stream_zip
from ..tracking.transfer.manifest import last_uploads
from .base import ApiError, Client, RequestBody, build_path, expect_our_api
from .download import WrongBytes, download
from .manifest import Lack, Manifest, find_lacking

ZIP = "application/zip"
#: Bytes of artifacts in one zip; a larger artifact has a zip of its own. A lost connection costs no more than one zip.
PIECE_BYTES = 64 * 1024 * 1024
#: Bytes of artifacts in the first zip for an existing run: should it be rejected, no more was sent in vain.
_FIRST_BYTES = 1024 * 1024
#: Artifacts in one zip, which may have 100,000 entries.
_MAX_ARTIFACTS = 10_000
#: Attempts for a run that changes meanwhile. A run that fails twice in the same state is damaged.
_ATTEMPTS = 5
#: Characters of ids in one URL, which proxies accept.
_URL_CHARACTERS = 3000

_RUN_ERRORS = (400, 409, 413)


class NotPushed(Exception):
    """A run can't be pushed, but others may be. `error`, `detail` and `resolvable_by` are as in ApiError."""

    def __init__(self, error: str, detail: str, resolvable_by: str | None = None) -> None:
        self.resolvable_by = resolvable_by
        super().__init__(f"{error}: {detail}")
        self.error = error
        self.detail = detail


class Stopped(Exception):
    """No more runs can be pushed; `status` is that of the response with the reason."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _RunChanged(Exception):
    """The bytes of a run are not those in its manifest."""

    def __init__(self, text: str, error: str = "damaged") -> None:
        super().__init__(text)
        self.error = error


class Push:
    """Copies runs from a `source` to a `target`."""

    def __init__(self, source: Client, target: Client, *, overwrite: bool) -> None:
        self._source = source
        self._target = target
        self._overwrite = overwrite

    def compare(self, run_ids: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
        """Divide runs into those to be sent (different or missing at the target), equal ones, and unknown ones.

        Raises Stopped, Unreachable.
        """
        differing: list[str] = []
        same: list[str] = []
        unknown: list[str] = []
        for batch in _batches(run_ids):
            here, there = self._digests(self._source, batch), self._digests(self._target, batch)
            for run_id in batch:
                target = unknown if run_id not in here else same if here[run_id] == there.get(run_id) else differing
                target.append(run_id)
        return differing, same, unknown

    def bytes_of(self, run_id: str) -> int:
        """Return the number of bytes that the target lacks of a run. Raises NotPushed, Stopped, Unreachable."""
        run = self._source_manifest(run_id)
        return find_lacking(run, self._target_manifest(run)).bytes_of(run)

    def push(self, run_id: str, advance: Callable[[int], object]) -> str:
        """Send the parts of a run that the target lacks; return "imported", "updated" or "unchanged".

        `advance` is called with the number of bytes of each piece of files and artifacts that was sent.

        Raises NotPushed, Stopped, Unreachable; the target then has the run unchanged, or an earlier state of it.
        """
        failed_digests: set[str] = set()
        actions: set[str] = set()
        for _ in range(_ATTEMPTS):
            run = self._source_manifest(run_id)
            try:
                if run.damage is not None:
                    raise _RunChanged(f"{run.damage}; `chachaml-lite verify --repair` may repair it")
                self._push(run, actions, advance)
            except _RunChanged as fault:
                error = fault
                if run.digest in failed_digests:
                    break
                failed_digests.add(run.digest)
            else:
                return next((kind for kind in ("imported", "updated") if kind in actions), "unchanged")
        raise NotPushed(error.error, str(error)) from error

    def _push(self, run: Manifest, actions: set[str], advance: Callable[[int], object]) -> None:
        """Send the missing parts, verify that they arrived, and add the target's actions to `actions`.

        Raises _RunChanged.
        """
        there = self._target_manifest(run)
        lack = find_lacking(run, there)
        if not lack:
            return
        groups = _groups(run, lack, _FIRST_BYTES if there is not None else PIECE_BYTES)
        for number, names in enumerate(groups):
            later = {name for group in groups[number + 1 :] for name in group}
            entries = self._entries(run, lack, names, later, advance, is_first=number == 0)
            actions |= self._import(stream_zip(entries))
        if find_lacking(run, self._target_manifest(run)):
            raise _RunChanged(f"{self._target.url} does not have what was sent", "not as sent")

    def _import(self, content: RequestBody) -> set[str]:
        query = [("overwrite", "true")] if self._overwrite else []
        try:
            answer = self._target.ask("POST", "/api/w/import", query, body=content, content_type=ZIP).json()
        except ApiError as fault:
            if fault.status == 400:  # the run may have changed meanwhile, in either store
                raise _RunChanged(fault.detail, fault.error) from fault
            raise self._fault_of(self._target, fault) from fault
        with expect_our_api(self._target):
            return {kind for kind in ("imported", "updated", "unchanged") if answer[kind]}

    # -- requests

    def _digests(self, client: Client, run_ids: Sequence[str]) -> dict[str, str]:
        try:
            digests: dict[str, str] = client.get("/api/digests", [("ids", ",".join(run_ids))])
        except ApiError as fault:
            raise self._stop_error(client, fault) from fault
        with expect_our_api(client):
            return dict(digests)

    def _source_manifest(self, run_id: str) -> Manifest:
        try:
            with expect_our_api(self._source):
                return Manifest(self._source.get(build_path("api", "runs", run_id, "manifest")))
        except ApiError as fault:
            raise self._fault_of(self._source, fault) from fault

    def _target_manifest(self, run: Manifest) -> Manifest | None:
        query = [("points_bytes", str(run.points_bytes))]
        try:
            with expect_our_api(self._target):
                return Manifest(self._target.get(build_path("api", "runs", run.id, "manifest"), query))
        except ApiError as fault:
            if fault.error == "no such run":
                return None
            raise self._fault_of(self._target, fault) from fault

    def _fault_of(self, client: Client, fault: ApiError) -> Exception:
        """Return the exception to raise: for this run only, or for all."""
        is_of_run = fault.status in _RUN_ERRORS or (client is self._source and fault.status not in (401, 403))
        return (
            NotPushed(fault.error, fault.detail, fault.resolvable_by) if is_of_run else self._stop_error(client, fault)
        )

    def _stop_error(self, client: Client, fault: ApiError) -> Stopped:
        option = "--to-token" if client is self._target else "--token"
        if fault.error == "not found" or fault.status == 405:
            text = "the server is older than this command; update it"
        elif fault.status == 401:
            text = f"{fault.error}: it needs its token; set it with {option}"
        else:
            text = str(fault)
        return Stopped(f"{client.url}: {text}", fault.status)

    # -- content

    def _entries(
        self,
        run: Manifest,
        lack: Lack,
        names: Sequence[str],
        later: set[str],
        advance: Callable[[int], object],
        *,
        is_first: bool,
    ) -> Iterator[Entry]:
        """Yield the files of one zip: the run without the artifacts in `later`, with the bytes of those in `names`."""
        end_fields = {} if not later else {"status": "running", "end_time": None, "error": None}
        yield _text_entry(run, layout.META, readable(layout.META, {**run.meta, **end_fields}))
        if is_first:
            if lack.params:
                yield _text_entry(run, layout.PARAMS, readable(layout.PARAMS, run.params))
            if lack.events:
                events = "".join(strict_json.dumps(event) + "\n" for event in run.events)
                yield _text_entry(run, layout.LOGGED_MODELS, events.encode())
            for path in lack.files:
                size, sha256 = run.files[path]
                target = build_path("api", "runs", run.id, "files", *path.split("/"))
                yield Entry(
                    f"{run.id}/{path}", size, run.last_write_s, self._fetch(target, size, sha256, path, advance)
                )
        uploads = [upload for upload in run.uploads if upload["name"] not in later]
        if uploads and (names or (is_first and (lack.conflicts or lack.deletions))):
            lines = "".join(strict_json.dumps(upload) + "\n" for upload in uploads)
            yield _text_entry(run, layout.ARTIFACTS, lines.encode())
        spellings = last_uploads(uploads).spellings
        for name in names:
            _, sha256, size, _ = run.artifacts[name]
            target = build_path("api", "artifacts", run.id, *name.split("/"), "download")
            pieces = self._fetch(target, size, sha256, f"artifact {name!r}", advance)
            yield Entry(f"{run.id}/{layout.BLOBS}/{spellings.of(name)}", size, run.last_write_s, pieces)

    def _fetch(
        self, target: str, size: int, sha256: str, subject: str, advance: Callable[[int], object]
    ) -> Iterator[bytes]:
        """Yield the first `size` bytes of a file at the source. Raises _RunChanged if their checksum differs."""
        try:
            for piece in download(self._source, target, size, sha256):
                advance(len(piece))
                yield piece
        except ApiError as fault:
            raise _RunChanged(fault.detail, fault.error) from fault
        except WrongBytes as fault:
            text = f"the bytes of {subject} do not match its sha256: run `chachaml-lite verify` on its store"
            raise _RunChanged(text) from fault


def _text_entry(run: Manifest, name: str, content: bytes) -> Entry:
    return Entry(f"{run.id}/{name}", len(content), run.last_write_s, [content])


def _groups(run: Manifest, lack: Lack, room: int) -> list[list[str]]:
    """Divide the missing artifacts into zips; the first one, of at most `room` bytes, may have none."""
    groups: list[list[str]] = [[]]
    for name in lack.artifacts:
        size = run.artifacts[name].size
        if len(groups[-1]) == _MAX_ARTIFACTS or (size > room and (groups[-1] or len(groups) == 1)):
            groups.append([])
            room = PIECE_BYTES
        groups[-1].append(name)
        room -= size
    return groups


def _batches(run_ids: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for run_id in run_ids:
        if batch and sum(map(len, batch)) + len(batch) + len(run_id) > _URL_CHARACTERS:
            yield batch
            batch = []
        batch.append(run_id)
    if batch:
        yield batch
