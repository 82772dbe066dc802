"""Export of a run to MLflow: only what MLflow lacks is sent, so that a second export has nothing to do.

The progress of an export is recorded in tags of MLflow's run. Points are sent in the order in which they were logged,
which is append-only, and each request with points sets the tag that counts them: if an export is killed, the next one
continues after the last point that arrived.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import strict_json
from ..client.base import ApiError, Client, build_path
from ..client.download import WrongBytes, download
from ..mlflow_api.vocabulary import PARENT as MLFLOW_PARENT
from ..mlflow_api.vocabulary import USER
from ..tracking.series.points import StoredPoint, parse_points
from .artifact_ledger import ArtifactLedger
from .mapping import (
    CHANGED,
    CREATED_AT,
    MAX_TAG_VALUE,
    ORIGINAL,
    PARENT,
    POINTS,
    POINTS_CHANGED,
    RUN_ID,
    MlflowRun,
    map_run,
)
from .mlflow_server import MlflowServer, Rejected, RemoteRun

#: MLflow's limits of a request are 1,000 points and tags, and 1 MB.
_POINTS_AT_ONCE, _BYTES_AT_ONCE = 999, 800_000
_POINT_BYTES = 150
_MAX_LINE_BYTES = 1024 * 1024

Progress = Callable[[str], object]


@dataclass
class Outcome:
    """The outcome of one run. `result`: exported, updated, unchanged, deleted (in MLflow, so skipped), or failed."""

    id: str
    experiment: str
    result: str = "unchanged"
    mlflow_run_id: str | None = None
    url: str | None = None
    #: Points and artifacts sent by this export.
    points: int = 0
    artifacts: int = 0
    #: Descriptions of all differences between MLflow's copy and the run.
    changed: list[str] = field(default_factory=list)
    error: str | None = None


class Transfer:
    """Exports runs from a source to an MLflow server."""

    def __init__(self, source: Client, server: MlflowServer, progress: Progress = lambda text: None) -> None:
        self._source = source
        self._server = server
        self._progress = progress
        #: MLflow's ids of experiments, by name, and of runs, by ours.
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}

    def export(self, run_id: str, experiment: str) -> Outcome:
        """Export a run. Its own errors are reported in the outcome. Raises Unreachable."""
        outcome = Outcome(run_id, experiment)
        try:
            self._export(outcome)
        except (ApiError, Rejected, _CopyDiffers) as fault:
            outcome.result, outcome.error = "failed", str(fault)
        except OSError as fault:
            outcome.result = "failed"
            outcome.error = f"cannot write a temporary file: {fault.strerror}; set TMPDIR to a folder with free space"
        return outcome

    def _export(self, outcome: Outcome) -> None:
        run = self._source.get(build_path("api", "runs", outcome.id))
        target = map_run(run)
        outcome.changed = target.changes
        experiment = self._experiment(run["experiment"])
        copy = self._server.find(experiment, outcome.id)
        if copy is None:
            copy = self._create(experiment, outcome.id, target)
            outcome.result = "exported"
        outcome.mlflow_run_id, outcome.url = copy.id, self._server.run_url(experiment, copy.id)
        if copy.is_deleted:
            outcome.result = "deleted"
            return
        sent_count = _count_sent(copy)
        total = sum(series["count"] for series in run["metric_summary"].values())
        _check_copy(copy, target, sent_count, total)
        self._runs[outcome.id] = copy.id
        if self._send(run, target, copy, outcome, sent_count, total) and outcome.result == "unchanged":
            outcome.result = "updated"

    def _create(self, experiment: str, run_id: str, target: MlflowRun) -> RemoteRun:
        """Create a run in MLflow; return the one that another export created at the same moment if that was earlier."""
        tags = {RUN_ID: run_id, CREATED_AT: str(time.time_ns())}
        tags |= {key: target.tags[key] for key in (USER,) if key in target.tags}
        created = self._server.create(experiment, target.name, target.start_time, tags)
        first = self._server.find(experiment, run_id)
        if first is None or first.is_deleted or first.id == created.id:
            return created
        self._server.delete(created.id)
        return first

    def _send(
        self, run: dict[str, Any], target: MlflowRun, copy: RemoteRun, outcome: Outcome, sent_count: int, total: int
    ) -> bool:
        """Send what MLflow lacks of a run, its end last; return whether anything was sent."""
        server, before = self._server, (dict(copy.tags), outcome.points, outcome.artifacts)
        params = {key: value for key, value in target.params.items() if copy.params.get(key) != value}
        if params:
            server.log_params(copy.id, params)
        if sent_count < total:
            self._send_points(copy, target, outcome, sent_count, total)
        self._send_artifacts(run, target, copy, outcome)
        datasets = [each for each in target.datasets if each.digest not in copy.datasets]
        if datasets:
            server.log_datasets(copy.id, datasets)
        tags = {**target.tags, **self._further_tags(target)}
        tags = {key: value for key, value in tags.items() if copy.tags.get(key) != value}
        if tags:
            server.set_tags(copy.id, tags)
        has_ended = target.status != "RUNNING" and (copy.status, copy.end_time) != (target.status, target.end_time)
        if has_ended:
            server.end(copy.id, target.status, target.end_time)
        has_sent = (dict(copy.tags), outcome.points, outcome.artifacts) != before
        return bool(params or datasets or tags or has_ended or has_sent)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            experiment_id = self._server.experiment(name)
            self._experiments[name] = self._create_experiment(name) if experiment_id is None else experiment_id
        return self._experiments[name]

    def _create_experiment(self, name: str) -> str:
        """Create an experiment and return its id; or return the id of one that another export has just created."""
        try:
            return self._server.create_experiment(name)
        except Rejected:
            experiment_id = self._server.experiment(name)
            if experiment_id is None:
                raise
            return experiment_id

    def _further_tags(self, target: MlflowRun) -> dict[str, str]:
        """Return MLflow's own tag of the parent, if the parent was exported, and the tag that lists the changes."""
        tags = {}
        parent = target.tags.get(PARENT)
        if parent is not None and (parent_id := self._mlflow_id(parent)) is not None:
            tags[MLFLOW_PARENT] = parent_id
        if target.changes:
            text = "\n".join(target.changes)
            tags[CHANGED] = text if len(text) <= MAX_TAG_VALUE else text[: MAX_TAG_VALUE - 1] + "…"
        return tags

    def _mlflow_id(self, run_id: str) -> str | None:
        """Return the MLflow id of a run that was exported, now or earlier."""
        if run_id not in self._runs:
            try:
                experiment = self._server.experiment(self._source.get(build_path("api", "runs", run_id))["experiment"])
            except (ApiError, Rejected):
                return None
            copy = None if experiment is None else self._server.find(experiment, run_id)
            if copy is None or copy.is_deleted:
                return None
            self._runs[run_id] = copy.id
        return self._runs[run_id]

    # -- points

    def _send_points(self, copy: RemoteRun, target: MlflowRun, outcome: Outcome, sent_count: int, total: int) -> None:
        """Send the points after the first `sent`, up to `total`; points logged meanwhile wait for the next export."""
        costs = {key: len(json.dumps(name)) + _POINT_BYTES for key, name in target.metrics.items()}
        batch: list[tuple[str, float, int, int]] = []
        cost = early = damaged = 0

        def send() -> None:
            nonlocal cost
            outcome.points += len(batch)
            self._server.log_points(copy.id, batch, (POINTS, str(sent_count + outcome.points)))
            self._progress(f"{sent_count + outcome.points:,} of {total:,} points")
            batch.clear()
            cost = 0

        to_skip, remaining = sent_count, total - sent_count
        for points, bad in self._points(outcome.id):
            damaged += bad
            skipped = min(to_skip, len(points))
            to_skip -= skipped
            for key, value, step, timestamp in points[skipped : skipped + remaining]:
                if key not in costs:
                    raise _CopyDiffers("its points changed while they were read; export it again")
                remaining -= 1
                early += timestamp < 0
                batch.append((target.metrics[key], float(value), step, max(0, timestamp)))
                cost += costs[key]
                if len(batch) == _POINTS_AT_ONCE or cost > _BYTES_AT_ONCE:
                    send()
            if not remaining:
                break
        if batch:
            send()
        if remaining:
            raise _CopyDiffers(
                f"{remaining} of its {total} points can't be read; run `chachaml-lite verify` for details"
            )
        changes = []
        if early:
            changes.append(f"{early} of the points have times before 1970, which MLflow rejects: they are 0 there")
        if damaged:
            changes.append(f"{damaged} damaged lines of metrics.jsonl are left out")
        if changes:
            self._server.set_tags(copy.id, {POINTS_CHANGED: "\n".join(changes)})
            outcome.changed = [*outcome.changed, *changes]

    def _points(self, run_id: str) -> Iterator[tuple[list[StoredPoint], int]]:
        """Read the points in the order of logging, in batches, each with the number of damaged lines."""
        rest = b""
        for piece in self._source.ask("GET", build_path("api", "runs", run_id, "files", "metrics.jsonl")).pieces():
            lines, end, rest = (rest + piece).rpartition(b"\n")
            if end:
                yield parse_points(lines)
            rest = rest[:_MAX_LINE_BYTES]
        points, _ = parse_points(rest)  # a line that is just being written isn't damaged
        yield points, 0

    # -- artifacts

    def _send_artifacts(self, run: dict[str, Any], target: MlflowRun, copy: RemoteRun, outcome: Outcome) -> None:
        ledger = ArtifactLedger(copy.tags)
        for number, artifact in enumerate(run["artifacts"], 1):
            name, sha256 = artifact["name"], artifact["sha256"]
            if not ledger.has(name, sha256):
                self._progress(f"artifact {number} of {len(run['artifacts'])}")
                path = build_path("api", "artifacts", run["id"], *name.split("/"), "download")
                pieces = download(self._source, path, artifact["size"], sha256)
                try:
                    self._server.upload(copy.id, target.artifacts[name], pieces)
                except WrongBytes as fault:
                    text = "the bytes of an artifact are not those that were uploaded; "
                    raise _CopyDiffers(text + "run `chachaml-lite verify` for details") from fault
                self._record(copy, ledger.add(name, sha256))
                outcome.artifacts += 1
        if target.changes:
            name = ORIGINAL
            while name in target.artifacts:
                name = "_" + name
            content = _format_original(run, target)
            sha256 = hashlib.sha256(content).hexdigest()
            if not ledger.has(name, sha256):
                self._server.upload(copy.id, name, [content])
                self._record(copy, ledger.add(name, sha256))

    def _record(self, copy: RemoteRun, tag: tuple[str, str]) -> None:
        copy.tags[tag[0]] = tag[1]
        self._server.set_tags(copy.id, dict([tag]))


class _CopyDiffers(Exception):
    """MLflow's run is not a copy of this run, or has more than this run."""


def _count_sent(copy: RemoteRun) -> int:
    """Return the number of points that MLflow has of a run. Raises _Differs if its tag was changed."""
    text = copy.tags.get(POINTS, "0")
    if not (text.isascii() and text.isdigit()):
        raise _CopyDiffers(
            f"its tag {POINTS} in MLflow was changed, to {text[:80]!r}; set it to the number of its points"
        )
    return int(text)


def _check_copy(copy: RemoteRun, target: MlflowRun, sent_count: int, total: int) -> None:
    """Raise _Differs if MLflow's run can't be a copy of this run in its current state."""
    if copy.start_time != target.start_time:
        raise _CopyDiffers("MLflow has another run with this id, with another start time: it came from another store")
    if sent_count > total or (target.status == "RUNNING" and copy.status != "RUNNING"):
        raise _CopyDiffers("MLflow has more of this run than there is here: this is an older copy of it")


def _format_original(run: Mapping[str, Any], target: MlflowRun) -> bytes:
    """Return the content of the artifact with the original run."""
    volatile = ("children", "duration_ms", "last_write_time")  # these would change the artifact each time
    values = {key: value for key, value in run.items() if key not in volatile}
    return (strict_json.dumps_indented({"changed": target.changes, "run": values}) + "\n").encode()
