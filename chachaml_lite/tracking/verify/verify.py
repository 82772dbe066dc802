"""Is all of a store as it was written? Every byte of it is read: sums compared, lines parsed, versions traced.

A server may be writing meanwhile, and what it has half done is no damage. So nothing is reported at the first look:
where a server owns the store, a problem counts when a later look finds the very same one (the same bytes at the same
place of the same file), and bytes that are received and waiting for their name are not missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from ...errors import InvalidInput
from ...store import layout
from ...store.model_files import decoded
from ...store.reading import MAX_RECORDS_BYTES, NO_FILE, Damaged, Stamp, record_of
from ...store.stamp_cache import StampCache
from ...store.store import Store
from ..artifact_folders import folder_sha256, list_files
from ..index.artifact_lines import Artifacts, line_from
from ..index.descriptions import read_description
from ..index.logged_models import is_good_event
from ..index.model_history import History, Version
from ..index.run_parts import META, PARAMS, read_part
from ..names import check_model_name, is_run_id, quote_name
from ..series.points import parse_points
from ..series.summary import Summary, add_up, from_stored, without_time
from .problems import Lines, Problem, Remedy, Report

#: Seconds between two looks. Between a line of artifacts.jsonl and the rename of its bytes there is an fsync.
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)


def _unheard(count: int) -> None:
    """Nobody waits."""


class Verification:
    """One verification of a store. What was hashed is not hashed again while its file has the same stamp."""

    def __init__(self, store: Store, only: Collection[str] = ()) -> None:
        """`only`: these runs, with the versions that point to them."""
        self._store = store
        self._files = store.inspection
        self._only = only
        self._read: Callable[[int], object] = _unheard
        self._sums: StampCache[str, Stamp, str] = StampCache()
        self._records: StampCache[str, Stamp, tuple[Artifacts, Lines]] = StampCache()

    def total_bytes(self) -> int:
        """About how many bytes are to be read."""
        total = 0
        for run_id in self._run_ids():
            total += self._files.stamp(self._files.run_file(run_id, layout.METRICS)).size
            total += sum(blob.size for blob in self._files.found(run_id).blobs.values())
        return total

    def report(self, read: Callable[[int], object] = _unheard) -> Report:
        """Look at everything. `read` is told of bytes as they are read, time and again."""
        self._read = read
        report = Report()
        if not self._only:
            report.problems += self._confirmed(self._strays)
        for run_id in self._only:
            if not (is_run_id(run_id) and self._files.has_run(run_id)):
                report.problems.append(Problem(f"runs/{run_id}", "no such run", "there is no run of this id"))
        for run_id in self._run_ids():
            counted = Report()
            report.problems += self._confirmed(lambda run_id=run_id, counted=counted: self._look(run_id, counted))  # type: ignore[misc]
            report.runs += 1
            report.artifacts += counted.artifacts
            report.bytes += counted.bytes
            report.points += counted.points
        for folder in sorted(self._store.models.folders().folders):
            report.problems += self._confirmed(lambda folder=folder: list(self._look_at_model(folder)))  # type: ignore[misc]
            report.models += 1
        if not self._only:
            report.problems += self._confirmed(self._look_at_experiments)
        return report

    def _run_ids(self) -> list[str]:
        folders = self._store.run_folders().folders
        return sorted(name for name in folders if is_run_id(name) and (not self._only or name in self._only))

    def _confirmed(self, look: Callable[[], list[Problem]]) -> list[Problem]:
        """The problems that a look finds; where somebody else may be writing, those that two looks in a row find."""
        problems = look()
        if not problems or not self._files.is_served():
            return problems
        for pause in _PAUSES:
            time.sleep(pause)
            again = look()
            same = [problem for problem in again if problem in problems]
            if len(same) == len(again):
                return same
            problems = again
        return same

    def _strays(self) -> list[Problem]:
        problems = []
        runs, models = self._store.run_folders(), self._store.models.folders()
        for name in sorted(runs.folders):
            if not is_run_id(name):
                problems.append(Problem(f"runs/{name}", "not a run", "the folder's name can't be a run's id"))
        for parent, found in (("runs", runs), ("models", models)):
            for name in sorted(found.strays):
                problems.append(Problem(f"{parent}/{name}", "stray", "a file or link among folders; it is passed over"))
        left = self._files.incoming()
        if left and not self._files.is_served():  # a server's own are on their way
            for name in left:
                detail = "left by a server that was killed; a server finishes or removes it at its start"
                problems.append(Problem(self._files.in_incoming(name), "leftover", detail, None, Remedy()))
        return problems

    # -- a run

    def _look(self, run_id: str, counted: Report) -> list[Problem]:
        counted.artifacts = counted.bytes = counted.points = 0
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
            problems += self._look_at_points(run_id, counted)
            problems += self._look_at_artifacts(run_id, counted)
            problems += self._look_at_events(run_id)
        except OSError as fault:
            where = self._files.run_file(run_id, "")
            problems.append(Problem(where, "damaged file", f"the run can't be read: {fault.strerror}"))
        return problems if self._files.has_run(run_id) else []  # removed meanwhile

    def _stamp(self, run_id: str, name: str) -> Stamp:
        return self._files.stamp(self._files.run_file(run_id, name))

    def _look_at_points(self, run_id: str, counted: Report) -> Iterator[Problem]:
        where = self._files.run_file(run_id, layout.METRICS)
        seen, summary, damaged = self._files.stamp(where), Summary(), 0
        try:
            if seen != NO_FILE:
                for piece in self._store.runs.read_lines(run_id, layout.METRICS, 0, seen.size):
                    points, count = parse_points(piece)
                    add_up(summary, points)
                    damaged += count
                    self._read(len(piece))
        except (Damaged, FileNotFoundError) as fault:
            yield Problem(where, "damaged file", str(fault), seen)
            return
        counted.points = sum(series.count for series in summary.values())
        if damaged:
            lines = Lines()
            for line in self._files.lines(where):
                if line.content is None or parse_points(line.content)[1]:
                    lines.add(line)
            yield from lines.problems(where, "point", run_id)
        yield from self._look_at_summary(run_id, seen, summary)

    def _look_at_summary(self, run_id: str, points: Stamp, summary: Summary) -> Iterator[Problem]:
        """Whether summary.json, where it speaks of the points as they are, says what they add up to."""
        where = self._files.run_file(run_id, layout.SUMMARY)
        try:
            stored, stamp = self._store.runs.read_object(run_id, layout.SUMMARY)
        except FileNotFoundError:
            return
        except Damaged as fault:
            yield Problem(where, "wrong summary", str(fault), self._files.stamp(where), Remedy(run_id))
            return
        if (stored.get("size"), stored.get("mtime_ns")) != (points.size, points.mtime_ns):
            return  # an older one, which nobody believes
        added_up = {key: series.stored() for key, series in summary.items()}
        if stored.get("metrics") == {key: without_time(series) for key, series in added_up.items()}:
            return  # an earlier version's, which is made anew when it is asked for
        if from_stored(stored.get("metrics")) is None or stored["metrics"] != added_up:
            yield Problem(where, "wrong summary", "it is not what the points add up to", stamp, Remedy(run_id))

    def _look_at_events(self, run_id: str) -> Iterator[Problem]:
        """The problems of the run's logged models, beside their files."""
        where = self._files.run_file(run_id, layout.LOGGED_MODELS)
        lines = Lines()
        try:
            for line in self._files.lines(where, MAX_RECORDS_BYTES):
                if line.content is not None and not line.content.strip():
                    continue
                event = None if line.content is None else record_of(line.content)
                if event is None or not is_good_event(run_id, event):
                    lines.add(line)
        except Damaged as fault:
            yield Problem(where, "damaged file", str(fault), self._files.stamp(where))
            return
        yield from lines.problems(where, "event of a logged model", run_id)

    def _look_at_artifacts(self, run_id: str, counted: Report) -> Iterator[Problem]:
        where = self._files.run_file(run_id, layout.ARTIFACTS)
        try:
            artifacts, lines = self._artifacts(run_id)
        except Damaged as fault:
            yield Problem(where, "damaged file", str(fault), self._files.stamp(where))
            return
        yield from lines.problems(where, "upload", run_id)
        found = self._files.found(run_id)
        spelled = artifacts.spelled()
        expected = set(spelled.values())
        gone = {artifacts.spellings.of(name) for name in artifacts.deleted}
        blobs = self._files.run_file(run_id, layout.BLOBS)
        for name, artifact in artifacts.items():
            counted.artifacts += 1
            counted.bytes += artifact.size
            yield from self._look_at_blob(run_id, name, artifact.sha256, artifact.size, f"{blobs}/{spelled[name]}")
        for path, stamp in found.blobs.items():
            if path not in expected:
                text = "its artifact was deleted" if path in gone else f"no line of {layout.ARTIFACTS} speaks of it"
                yield Problem(f"{blobs}/{path}", "orphan", text, stamp)
        for path in found.odd:
            if path not in expected:
                yield Problem(f"{blobs}/{path}".rstrip("/"), "orphan", "neither a file nor a folder")
        for name in found.temporaries:
            where = self._files.run_file(run_id, name)
            text = "left by a server that was killed before it was put in place"
            yield Problem(where, "leftover", text, self._files.stamp(where), Remedy(run_id, temporary=name))

    def _look_at_blob(self, run_id: str, name: str, sha256: str, size: int, where: str) -> Iterator[Problem]:
        stamp = self._files.stamp(where)
        try:
            if stamp == NO_FILE:
                raise FileNotFoundError
            found = self._sums.get(where, stamp)
            if found is None:
                found = self._files.sha256(where, self._read)
                if self._files.stamp(where) == stamp:
                    self._sums.put(where, stamp, found)
        except FileNotFoundError:
            problem = Problem(where, "missing", f"the bytes of artifact {quote_name(name)} are gone", sha256)
        except Damaged as fault:
            problem = Problem(where, "damaged file", str(fault), (sha256, stamp))
        else:
            if found == sha256:
                return
            text = f"artifact {quote_name(name)} was uploaded as {size} bytes of sha256 {sha256}, "
            text += f"and has {stamp.size} of {found}"
            problem = Problem(where, "wrong bytes", text, (sha256, stamp))
        if not (self._files.is_served() and self._files.is_arriving(run_id, sha256)):
            yield problem

    def _artifacts(self, run_id: str) -> tuple[Artifacts, Lines]:
        where = self._files.run_file(run_id, layout.ARTIFACTS)
        stamp = self._files.stamp(where)
        known = self._records.get(run_id, stamp)
        if known is not None:
            return known
        artifacts = Artifacts()
        lines = Lines()
        for line in self._files.lines(where, MAX_RECORDS_BYTES):
            if line.content is not None and not line.content.strip():
                continue
            record = None if line.content is None else record_of(line.content)
            entry = None if record is None else line_from(record)
            if entry is None:
                lines.add(line)
            else:
                artifacts.add(entry)
        self._records.put(run_id, stamp, (artifacts, lines))
        return artifacts, lines

    # -- experiments

    def _look_at_experiments(self) -> list[Problem]:
        """The problems of the experiments' files, which are few and small."""
        files, problems = self._store.experiments, []
        for name in files.strays():
            problems.append(Problem(f"experiments/{name}", "stray", "not a file of an experiment; it is passed over"))
        for file in files.files():
            reading = read_description(files, file, files.stamp(file))
            if reading.damage:
                problems.append(Problem(self._files.experiment(file), "damaged file", reading.damage, reading.stamp))
        if not self._files.is_served():  # a server's own is on its way
            for name in files.temporaries():
                detail = "left by a server that was killed; the next one removes it at its start"
                problems.append(Problem(f"experiments/{name}", "leftover", detail))
        return problems

    # -- a model

    def _look_at_model(self, folder: str) -> Iterator[Problem]:
        where = self._files.history(folder)
        name = decoded(folder)
        try:
            check_model_name(name)
        except InvalidInput:
            if not self._only:
                yield Problem(f"models/{folder}", "not a model", "no model can have that name")
            return
        assert name is not None
        history, lines = History(name), Lines()
        try:
            for line in self._files.lines(where, MAX_RECORDS_BYTES):
                if line.content is not None and not line.content.strip():
                    continue
                event = None if line.content is None else record_of(line.content)
                if event is None or not history.add(event):
                    lines.add(line)
        except (Damaged, OSError) as fault:
            if not self._only:
                yield Problem(where, "damaged file", str(fault), self._files.stamp(where))
            return
        model = history.model()
        if not self._only:
            # A history of which nothing was left could be begun anew, and would give its numbers a second time.
            yield from lines.problems(where, "event", None, can_go=model is not None)
            if model is None:
                yield Problem(where, "not a model", "it has no history")
        for version in model.versions.values() if model else ():
            if not self._only or version.run_id in self._only:
                wrong = self._wrong_with(version)
                if wrong:
                    yield Problem(where, "broken version", f"version {version.version}: {wrong}")

    def _wrong_with(self, version: Version) -> str | None:
        if not (is_run_id(version.run_id) and self._files.has_run(version.run_id)):
            return f"its run {quote_name(version.run_id)} is gone"
        try:
            artifacts = self._artifacts(version.run_id)[0]
        except (Damaged, OSError):
            artifacts = Artifacts()
        if version.is_folder:
            if folder_sha256(version.artifact, list_files(artifacts, version.artifact)) != version.sha256:
                return f"the folder {quote_name(version.artifact)} of the run {version.run_id} isn't what it was"
            return None
        artifact = artifacts.get(version.artifact)
        if artifact is None:
            return f"the run {version.run_id} has no artifact {quote_name(version.artifact)}"
        if artifact.sha256 != version.sha256:
            return f"artifact {quote_name(version.artifact)} of the run {version.run_id} was replaced by other bytes"
        return None
