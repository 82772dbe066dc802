"""The check of a run: reads every byte of its files, compares checksums and parses all lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...store import layout
from ...store.reading import NO_FILE, Damaged, Stamp, StampCache
from ...store.store import Store
from ..index.artifact_lines import Artifacts, line_from
from ..index.logged_models import is_good_event
from ..index.run_parts import META, PARAMS, read_part
from ..names import quote_name
from ..series.points import parse_points
from ..series.summary import Summary, add_up, from_stored, without_time
from .problems import Lines, Problem, Remedy, Report, find_damaged_records


def ignore_progress(count: int) -> None:
    """Do nothing, for callers that show no progress."""


class RunCheck:
    """The check of the runs of a store. A file is not hashed again while its stamp is unchanged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files = store.inspection
        self._sums: StampCache[str, Stamp, str] = StampCache()
        self._artifacts: StampCache[str, Stamp, tuple[Artifacts, Lines]] = StampCache()
        #: Called with the number of bytes read since the last call.
        self.on_read: Callable[[int], object] = ignore_progress

    def check(self, run_id: str, totals: Report) -> list[Problem]:
        """Return the problems of a run, and set the counts of `totals`."""
        totals.artifacts = totals.bytes = totals.points = 0
        problems: list[Problem] = []
        try:
            meta = read_part(self._store, run_id, META, self._stamp(run_id, layout.META))
            params = read_part(self._store, run_id, PARAMS, self._stamp(run_id, layout.PARAMS))
            if meta.damage:
                where = self._files.run_file(run_id, layout.META)
                problems.append(Problem(where, "not a run", meta.damage, meta.stamp))
            if params.damage:
                where = self._files.run_file(run_id, layout.PARAMS)
                problems.append(Problem(where, "damaged file", params.damage, params.stamp))
            problems += self._check_points(run_id, totals)
            problems += self._check_artifacts(run_id, totals)
            problems += self._check_events(run_id)
        except OSError as fault:
            where = self._files.run_file(run_id, "")
            problems.append(Problem(where, "damaged file", f"the run can't be read: {fault.strerror}"))
        return problems if self._files.has_run(run_id) else []  # removed meanwhile

    def _stamp(self, run_id: str, name: str) -> Stamp:
        return self._files.stamp(self._files.run_file(run_id, name))

    def _check_points(self, run_id: str, totals: Report) -> Iterator[Problem]:
        where = self._files.run_file(run_id, layout.METRICS)
        stamp, summary, damaged = self._files.stamp(where), Summary(), 0
        try:
            if stamp != NO_FILE:
                for piece in self._store.runs.read_lines(run_id, layout.METRICS, 0, stamp.size):
                    points, count = parse_points(piece)
                    add_up(summary, points)
                    damaged += count
                    self.on_read(len(piece))
        except (Damaged, FileNotFoundError) as fault:
            yield Problem(where, "damaged file", str(fault), stamp)
            return
        totals.points = sum(series.count for series in summary.values())
        if damaged:
            lines = Lines()
            for line in self._files.lines(where):
                if line.content is None or parse_points(line.content)[1]:
                    lines.add(line)
            yield from lines.problems(where, "point", run_id)
        yield from self._check_summary(run_id, stamp, summary)

    def _check_summary(self, run_id: str, points: Stamp, summary: Summary) -> Iterator[Problem]:
        """Yield a problem if summary.json is for the current metrics.jsonl but not the summary of its points."""
        where = self._files.run_file(run_id, layout.SUMMARY)
        try:
            content, stamp = self._store.runs.read_object(run_id, layout.SUMMARY)
        except FileNotFoundError:
            return
        except Damaged as fault:
            yield Problem(where, "wrong summary", str(fault), self._files.stamp(where), Remedy(run_id))
            return
        if (content.get("size"), content.get("mtime_ns")) != (points.size, points.mtime_ns):
            return  # outdated, and therefore ignored
        copy_with_points = {key: series.to_stored() for key, series in summary.items()}
        if content.get("metrics") == {key: without_time(series) for key, series in copy_with_points.items()}:
            return  # from an earlier version; it is rebuilt when it is needed
        if from_stored(content.get("metrics")) is None or content["metrics"] != copy_with_points:
            yield Problem(where, "wrong summary", "it is not what the points add up to", stamp, Remedy(run_id))

    def _check_events(self, run_id: str) -> Iterator[Problem]:
        """Yield the problems of the events of the run's logged models; their files are checked as artifacts."""
        where = self._files.run_file(run_id, layout.LOGGED_MODELS)
        try:
            lines = find_damaged_records(self._files, where, lambda event: is_good_event(run_id, event))
        except Damaged as fault:
            yield Problem(where, "damaged file", str(fault), self._files.stamp(where))
            return
        yield from lines.problems(where, "event of a logged model", run_id)

    def _check_artifacts(self, run_id: str, totals: Report) -> Iterator[Problem]:
        where = self._files.run_file(run_id, layout.ARTIFACTS)
        try:
            artifacts, lines = self.artifacts(run_id)
        except Damaged as fault:
            yield Problem(where, "damaged file", str(fault), self._files.stamp(where))
            return
        yield from lines.problems(where, "upload", run_id)
        files = self._files.list_run(run_id)
        spellings = artifacts.spell_all()
        expected = set(spellings.values())
        deleted_spellings = {artifacts.spellings.of(name) for name in artifacts.deleted}
        blobs = self._files.run_file(run_id, layout.BLOBS)
        for name, artifact in artifacts.items():
            totals.artifacts += 1
            totals.bytes += artifact.size
            yield from self._check_blob(run_id, name, artifact.sha256, artifact.size, f"{blobs}/{spellings[name]}")
        for path, stamp in files.blobs.items():
            if path not in expected:
                text = (
                    "its artifact was deleted"
                    if path in deleted_spellings
                    else f"no line of {layout.ARTIFACTS} speaks of it"
                )
                yield Problem(f"{blobs}/{path}", "orphan", text, stamp)
        for path in files.irregular:
            if path not in expected:
                yield Problem(f"{blobs}/{path}".rstrip("/"), "orphan", "neither a file nor a folder")
        for name in files.temporaries:
            where = self._files.run_file(run_id, name)
            text = "left by a server that was killed before it was put in place"
            yield Problem(where, "leftover", text, self._files.stamp(where), Remedy(run_id, temporary=name))

    def _check_blob(self, run_id: str, name: str, sha256: str, size: int, where: str) -> Iterator[Problem]:
        stamp = self._files.stamp(where)
        try:
            if stamp == NO_FILE:
                raise FileNotFoundError
            checksum = self._sums.get(where, stamp)
            if checksum is None:
                checksum = self._files.sha256(where, self.on_read)
                if self._files.stamp(where) == stamp:
                    self._sums.put(where, stamp, checksum)
        except FileNotFoundError:
            problem = Problem(where, "missing", f"the bytes of artifact {quote_name(name)} are gone", sha256)
        except Damaged as fault:
            problem = Problem(where, "damaged file", str(fault), (sha256, stamp))
        else:
            if checksum == sha256:
                return
            text = f"artifact {quote_name(name)} was uploaded as {size} bytes of sha256 {sha256}, "
            text += f"and has {stamp.size} of {checksum}"
            problem = Problem(where, "wrong bytes", text, (sha256, stamp))
        if not (self._files.is_served() and self._files.is_arriving(run_id, sha256)):
            yield problem

    def artifacts(self, run_id: str) -> tuple[Artifacts, Lines]:
        """Return the artifacts of a run's artifacts.jsonl, and the file's damaged lines. Raises Damaged, OSError."""
        where = self._files.run_file(run_id, layout.ARTIFACTS)
        stamp = self._files.stamp(where)
        cached = self._artifacts.get(run_id, stamp)
        if cached is not None:
            return cached
        artifacts = Artifacts()

        def accept(record: dict[str, Any]) -> bool:
            entry = line_from(record)
            if entry is not None:
                artifacts.add(entry)
            return entry is not None

        lines = find_damaged_records(self._files, where, accept)
        self._artifacts.put(run_id, stamp, (artifacts, lines))
        return artifacts, lines
