"""A run brought to MLflow: what is there already stays, what is new is sent, and a second time there is nothing to do.

The account of what has been sent is kept in tags of MLflow's run. Points go in the order in which they were logged,
which is only ever added to, and each request with points sets the tag that counts them: whenever an export is killed,
the next one goes on behind the last point that is there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import strict_json
from ..client.base import ApiError, Client, path_of
from ..mlflow_api.vocabulary import PARENT as MLFLOW_PARENT
from ..mlflow_api.vocabulary import USER
from ..tracking.series.points import StoredPoint, parsed_points
from .mapping import (
    ARTIFACTS,
    CHANGED,
    MADE,
    MAX_TAG_VALUE,
    ORIGINAL,
    PARENT,
    POINTS,
    POINTS_CHANGED,
    RUN_ID,
    Mapped,
    mapped,
)
from .mlflow_server import Held, MlflowServer, Rejected

#: A request to MLflow: 1,000 points and tags at most, and 1 MB.
_POINTS_AT_ONCE, _BYTES_AT_ONCE = 999, 800_000
_POINT_BYTES = 150
_MAX_LINE_BYTES = 1024 * 1024
#: Artifacts that one tag gives an account of: 17 characters each.
_MARKS_A_TAG = 250
_MARK = 8

Progress = Callable[[str], object]


@dataclass
class Outcome:
    """The outcome of one run. `result`: exported, updated, unchanged, deleted (in MLflow: left alone), or failed."""

    id: str
    experiment: str
    result: str = "unchanged"
    mlflow_run_id: str | None = None
    url: str | None = None
    #: What was sent now.
    points: int = 0
    artifacts: int = 0
    #: What isn't in MLflow as it is here.
    changed: list[str] = field(default_factory=list)
    error: str | None = None


class Transfer:
    """Brings runs from a source to an MLflow server."""

    def __init__(self, source: Client, server: MlflowServer, progress: Progress = lambda text: None) -> None:
        self._source = source
        self._server = server
        self._progress = progress
        #: MLflow's ids of experiments, by name, and of runs, by ours.
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}

    def export(self, run_id: str, experiment: str) -> Outcome:
        """Bring one run. A fault of its own is told in the outcome. Raises Unreachable."""
        outcome = Outcome(run_id, experiment)
        try:
            self._export(outcome)
        except (ApiError, Rejected, _Differs) as fault:
            outcome.result, outcome.error = "failed", str(fault)
        except OSError as fault:
            outcome.result = "failed"
            outcome.error = f"no room for a temporary file: {fault.strerror}; name a folder in TMPDIR"
        return outcome

    def _export(self, outcome: Outcome) -> None:
        run = self._source.get(path_of("api", "runs", outcome.id))
        wanted = mapped(run)
        outcome.changed = wanted.changes
        experiment = self._experiment(run["experiment"])
        held = self._server.find(experiment, outcome.id)
        if held is None:
            held = self._create(experiment, outcome.id, wanted)
            outcome.result = "exported"
        outcome.mlflow_run_id, outcome.url = held.id, self._server.run_url(experiment, held.id)
        if held.is_deleted:
            outcome.result = "deleted"
            return
        sent = _count_sent(held)
        total = sum(series["count"] for series in run["metric_summary"].values())
        _refuse_another(held, wanted, sent, total)
        self._runs[outcome.id] = held.id
        if self._send(run, wanted, held, outcome, sent, total) and outcome.result == "unchanged":
            outcome.result = "updated"

    def _create(self, experiment: str, run_id: str, wanted: Mapped) -> Held:
        """A new run in MLflow; or the one that another export has made at the same moment, if that was earlier."""
        tags = {RUN_ID: run_id, MADE: str(time.time_ns())}
        tags |= {key: wanted.tags[key] for key in (USER,) if key in wanted.tags}
        made = self._server.create(experiment, wanted.name, wanted.start_time, tags)
        first = self._server.find(experiment, run_id)
        if first is None or first.is_deleted or first.id == made.id:
            return made
        self._server.delete(made.id)
        return first

    def _send(self, run: dict[str, Any], wanted: Mapped, held: Held, outcome: Outcome, sent: int, total: int) -> bool:
        """Send what MLflow lacks of a run; whether there was anything. Its end comes last."""
        server, before = self._server, (dict(held.tags), outcome.points, outcome.artifacts)
        params = {key: value for key, value in wanted.params.items() if held.params.get(key) != value}
        if params:
            server.log_params(held.id, params)
        if sent < total:
            self._send_points(held, wanted, outcome, sent, total)
        self._send_artifacts(run, wanted, held, outcome)
        datasets = [each for each in wanted.datasets if each.digest not in held.datasets]
        if datasets:
            server.log_datasets(held.id, datasets)
        tags = {**wanted.tags, **self._more_tags(wanted)}
        tags = {key: value for key, value in tags.items() if held.tags.get(key) != value}
        if tags:
            server.set_tags(held.id, tags)
        has_ended = wanted.status != "RUNNING" and (held.status, held.end_time) != (wanted.status, wanted.end_time)
        if has_ended:
            server.end(held.id, wanted.status, wanted.end_time)
        is_more = (dict(held.tags), outcome.points, outcome.artifacts) != before
        return bool(params or datasets or tags or has_ended or is_more)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            known = self._server.experiment(name)
            self._experiments[name] = self._create_experiment(name) if known is None else known
        return self._experiments[name]

    def _create_experiment(self, name: str) -> str:
        """Make an experiment and return its id; or the id of the one that another export has just made."""
        try:
            return self._server.create_experiment(name)
        except Rejected:
            known = self._server.experiment(name)
            if known is None:
                raise
            return known

    def _more_tags(self, wanted: Mapped) -> dict[str, str]:
        """The parent by MLflow's own tag, where it is there; and what was changed."""
        tags = {}
        parent = wanted.tags.get(PARENT)
        if parent is not None and (known := self._mlflow_id(parent)) is not None:
            tags[MLFLOW_PARENT] = known
        if wanted.changes:
            told = "\n".join(wanted.changes)
            tags[CHANGED] = told if len(told) <= MAX_TAG_VALUE else told[: MAX_TAG_VALUE - 1] + "…"
        return tags

    def _mlflow_id(self, run_id: str) -> str | None:
        """The MLflow run of a run that was exported, now or earlier."""
        if run_id not in self._runs:
            try:
                experiment = self._server.experiment(self._source.get(path_of("api", "runs", run_id))["experiment"])
            except (ApiError, Rejected):
                return None
            held = None if experiment is None else self._server.find(experiment, run_id)
            if held is None or held.is_deleted:
                return None
            self._runs[run_id] = held.id
        return self._runs[run_id]

    # -- points

    def _send_points(self, held: Held, wanted: Mapped, outcome: Outcome, sent: int, total: int) -> None:
        """Send the points behind the first `sent`, up to `total`: what is logged meanwhile is for the next export."""
        costs = {key: len(json.dumps(name)) + _POINT_BYTES for key, name in wanted.metrics.items()}
        batch: list[tuple[str, float, int, int]] = []
        cost = early = damaged = 0

        def send() -> None:
            nonlocal cost
            outcome.points += len(batch)
            self._server.log_points(held.id, batch, (POINTS, str(sent + outcome.points)))
            self._progress(f"{sent + outcome.points:,} of {total:,} points")
            batch.clear()
            cost = 0

        to_skip, left = sent, total - sent
        for points, bad in self._points(outcome.id):
            damaged += bad
            skipped = min(to_skip, len(points))
            to_skip -= skipped
            for key, value, step, timestamp in points[skipped : skipped + left]:
                if key not in costs:
                    raise _Differs("its points were changed while they were read; export it again")
                left -= 1
                early += timestamp < 0
                batch.append((wanted.metrics[key], float(value), step, max(0, timestamp)))
                cost += costs[key]
                if len(batch) == _POINTS_AT_ONCE or cost > _BYTES_AT_ONCE:
                    send()
            if not left:
                break
        if batch:
            send()
        if left:
            raise _Differs(f"{left} of its {total} points can't be read; `chachaml-lite verify` tells more")
        changes = []
        if early:
            changes.append(f"{early} of the points have times before 1970, which MLflow doesn't take: it is 0 there")
        if damaged:
            changes.append(f"{damaged} damaged lines of metrics.jsonl are left out")
        if changes:
            self._server.set_tags(held.id, {POINTS_CHANGED: "\n".join(changes)})
            outcome.changed = [*outcome.changed, *changes]

    def _points(self, run_id: str) -> Iterator[tuple[list[StoredPoint], int]]:
        """The run's points in the order in which they were logged, in pieces, each with the number of damaged lines."""
        rest = b""
        for piece in self._source.ask("GET", path_of("api", "runs", run_id, "files", "metrics.jsonl")).pieces():
            lines, end, rest = (rest + piece).rpartition(b"\n")
            if end:
                yield parsed_points(lines)
            rest = rest[:_MAX_LINE_BYTES]
        points, _ = parsed_points(rest)  # one that is just being written is no damage
        yield points, 0

    # -- artifacts

    def _send_artifacts(self, run: dict[str, Any], wanted: Mapped, held: Held, outcome: Outcome) -> None:
        marks = _marks(held.tags)
        there = dict(marks)
        for number, artifact in enumerate(run["artifacts"], 1):
            name, sha256 = artifact["name"], artifact["sha256"]
            if there.get(_mark(name)) != sha256[:_MARK]:
                self._progress(f"artifact {number} of {len(run['artifacts'])}")
                path = path_of("api", "artifacts", run["id"], *name.split("/"), "download")
                pieces = _verified(self._source.ask("GET", path).pieces(), sha256, artifact["size"])
                self._upload(held, wanted.artifacts[name], pieces, marks, _mark(name), sha256)
                outcome.artifacts += 1
        if wanted.changes:
            name = ORIGINAL
            while name in wanted.artifacts:
                name = "_" + name
            content = _original(run, wanted)
            sha256 = hashlib.sha256(content).hexdigest()
            if there.get(_mark(name)) != sha256[:_MARK]:
                self._upload(held, name, [content], marks, _mark(name), sha256)

    def _upload(
        self, held: Held, name: str, pieces: Iterable[bytes], marks: list[tuple[str, str]], mark: str, sha256: str
    ) -> None:
        """Upload an artifact, and add it to the account."""
        self._server.upload(held.id, name, pieces)
        marks.append((mark, sha256[:_MARK]))
        number = (len(marks) - 1) // _MARKS_A_TAG
        text = " ".join(one + other for one, other in marks[number * _MARKS_A_TAG :])
        held.tags[f"{ARTIFACTS}{number}"] = text
        self._server.set_tags(held.id, {f"{ARTIFACTS}{number}": text})


class _Differs(Exception):
    """MLflow's copy of a run is of another run, or has more than is here."""


def _count_sent(held: Held) -> int:
    """Return the number of points that MLflow has of a run. Raises _Differs where its tags were changed."""
    counted = held.tags.get(POINTS, "0")
    if not (counted.isascii() and counted.isdigit()):
        raise _Differs(
            f"its tag {POINTS} in MLflow was changed, to {counted[:80]!r}; set it to the number of its points"
        )
    return int(counted)


def _refuse_another(held: Held, wanted: Mapped, sent: int, total: int) -> None:
    """Raise _Differs where MLflow's run can't have come from this one as it is now."""
    if held.start_time != wanted.start_time:
        raise _Differs("MLflow has another run with this id, of another start: one that came from another store")
    if sent > total or (wanted.status == "RUNNING" and held.status != "RUNNING"):
        raise _Differs("MLflow has more of this run than there is here: this is an older copy of it")


def _marks(tags: Mapping[str, str]) -> list[tuple[str, str]]:
    """The account of artifacts: by name and content, eight digits each; of two for one name the later holds."""
    words: list[str] = []
    while (text := tags.get(f"{ARTIFACTS}{len(words) // _MARKS_A_TAG}")) is not None:
        found = text.split()
        words += found
        if len(found) < _MARKS_A_TAG:
            break
    return [(word[:_MARK], word[_MARK:]) for word in words]


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_MARK]


def _verified(pieces: Iterable[bytes], sha256: str, size: int) -> Iterator[bytes]:
    """The pieces of an artifact, all of it as it was uploaded. Raises _Differs at the end where it isn't."""
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        yield piece
    if (digest.hexdigest(), length) != (sha256, size):
        raise _Differs("the bytes of an artifact are not those that were uploaded; `chachaml-lite verify` tells more")


def _original(run: Mapping[str, Any], wanted: Mapped) -> bytes:
    """The run as it is here, for one of which something had to be changed."""
    passing = ("children", "duration_ms", "last_write_time")  # by these it would be another one each time
    kept = {key: value for key, value in run.items() if key not in passing}
    return (strict_json.indented({"changed": wanted.changes, "run": kept}) + "\n").encode()
