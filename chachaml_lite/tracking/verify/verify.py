"""Verification of a store: every byte is read, checksums compared, lines parsed, and versions traced to their bytes.

A server may be writing meanwhile, and its unfinished writes are not damage. Nothing is therefore reported at the first
look: if a server owns the store, a problem counts only if a later look finds exactly the same one (the same bytes at
the same place of the same file), and bytes that were received but don't have their final name yet are not missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial

from ...errors import InvalidInput
from ...store import layout
from ...store.model_files import decode_name
from ...store.reading import Damaged
from ...store.store import Store
from ..artifact_folders import folder_sha256, list_files
from ..index.artifact_lines import Artifacts
from ..index.descriptions import read_description
from ..index.model_history import History, Version
from ..names import check_model_name, is_run_id, quote_name
from .problems import Problem, Remedy, Report, find_damaged_records
from .run_check import RunCheck, ignore_progress

#: Seconds between two looks. A server syncs to disk between adding a line to artifacts.jsonl and renaming the blob.
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)


class Verification:
    """A verification of a store."""

    def __init__(self, store: Store, only: Collection[str] = ()) -> None:
        """Prepare a verification of all runs, or of those in `only` and the versions that point to them."""
        self._store = store
        self._files = store.inspection
        self._only = only
        self._run_check = RunCheck(store)

    def total_bytes(self) -> int:
        """Return the approximate number of bytes to be read."""
        total = 0
        for run_id in self._run_ids():
            total += self._files.stamp(self._files.run_file(run_id, layout.METRICS)).size
            total += sum(blob.size for blob in self._files.list_run(run_id).blobs.values())
        return total

    def report(self, read: Callable[[int], object] = ignore_progress) -> Report:
        """Verify everything. `read` is called repeatedly, with the number of bytes read since the last call."""
        self._run_check.on_read = read
        report = Report()
        if not self._only:
            report.problems += self._confirm(self._strays)
        for run_id in self._only:
            if not (is_run_id(run_id) and self._files.has_run(run_id)):
                report.problems.append(Problem(f"runs/{run_id}", "no such run", "there is no run of this id"))
        for run_id in self._run_ids():
            totals = Report()
            report.problems += self._confirm(partial(self._run_check.check, run_id, totals))
            report.runs += 1
            report.artifacts += totals.artifacts
            report.bytes += totals.bytes
            report.points += totals.points
        for folder in sorted(self._store.models.folders().folders):
            report.problems += self._confirm(lambda folder=folder: list(self._look_at_model(folder)))  # type: ignore[misc]
            report.models += 1
        if not self._only:
            report.problems += self._confirm(self._look_at_experiments)
        return report

    def _run_ids(self) -> list[str]:
        folders = self._store.run_folders().folders
        return sorted(name for name in folders if is_run_id(name) and (not self._only or name in self._only))

    def _confirm(self, look: Callable[[], list[Problem]]) -> list[Problem]:
        """Return the problems that a look finds; if a server may be writing, those that two looks in a row find."""
        problems = look()
        if not problems or not self._files.is_served():
            return problems
        for pause in _PAUSES:
            time.sleep(pause)
            again = look()
            persistent = [problem for problem in again if problem in problems]
            if len(persistent) == len(again):
                return persistent
            problems = again
        return persistent

    def _strays(self) -> list[Problem]:
        problems = []
        runs, models = self._store.run_folders(), self._store.models.folders()
        for name in sorted(runs.folders):
            if not is_run_id(name):
                problems.append(Problem(f"runs/{name}", "not a run", "the folder's name can't be a run's id"))
        for parent, folders in (("runs", runs), ("models", models)):
            for name in sorted(folders.strays):
                problems.append(Problem(f"{parent}/{name}", "stray", "a file or link among folders; it is passed over"))
        leftovers = self._files.incoming()
        if leftovers and not self._files.is_served():  # a running server's uploads are not leftovers
            for name in leftovers:
                detail = "left by a server that was killed; a server finishes or removes it at its start"
                problems.append(Problem(self._files.in_incoming(name), "leftover", detail, None, Remedy()))
        return problems

    # -- experiments

    def _look_at_experiments(self) -> list[Problem]:
        """Return the problems of the experiments' files, which are few and small."""
        files, problems = self._store.experiments, []
        for name in files.strays():
            problems.append(Problem(f"experiments/{name}", "stray", "not a file of an experiment; it is passed over"))
        for file in files.files():
            reading = read_description(files, file, files.stamp(file))
            if reading.damage:
                problems.append(Problem(self._files.experiment(file), "damaged file", reading.damage, reading.stamp))
        if not self._files.is_served():  # a running server's temporary files are not leftovers
            for name in files.temporaries():
                detail = "left by a server that was killed; the next one removes it at its start"
                problems.append(Problem(f"experiments/{name}", "leftover", detail))
        return problems

    # -- a model

    def _look_at_model(self, folder: str) -> Iterator[Problem]:
        where = self._files.history(folder)
        name = decode_name(folder)
        try:
            check_model_name(name)
        except InvalidInput:
            if not self._only:
                yield Problem(f"models/{folder}", "not a model", "no model can have that name")
            return
        assert name is not None
        history = History(name)
        try:
            lines = find_damaged_records(self._files, where, history.add)
        except (Damaged, OSError) as fault:
            if not self._only:
                yield Problem(where, "damaged file", str(fault), self._files.stamp(where))
            return
        model = history.model()
        if not self._only:
            # A history that lost all of its events could be started again, and would reuse its version numbers.
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
            artifacts = self._run_check.artifacts(version.run_id)[0]
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
