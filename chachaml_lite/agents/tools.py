"""Tools for agents, one method each, with short text responses for a model's context. Independent of the protocol.

The model sees the names and docstrings. RUN is an id, latest:EXPERIMENT (its newest completed run) or
production:MODEL (the run of that version), as on the command line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from .. import strict_json
from ..client.base import ApiError, Client, Unreachable, build_path
from ..client.run_names import UnknownRun, resolve_run

P = ParamSpec("P")
#: Characters of a response; the rest is cut off, with a notice.
MAX_CHARACTERS = 12_000
#: Default points of each series.
DEFAULT_POINTS = 40
MAX_POINTS = 1000

Value = str | int | float | bool | None
#: A metric's value: NaN and the infinities, which JSON lacks, are texts.
Metric = float | int | str


class ToolFailed(Exception):
    """A tool failed; the text says why, and what to do."""


def _tool(method: Callable[P, str]) -> Callable[P, str]:
    """Wrap a tool: long responses are truncated, and errors become ToolFailed."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            text = method(*args, **kwargs)
        except (ApiError, UnknownRun, Unreachable) as fault:
            raise ToolFailed(str(fault)) from fault
        if len(text) <= MAX_CHARACTERS:
            return text
        return f"{text[:MAX_CHARACTERS]}\n... {len(text) - MAX_CHARACTERS} characters more; ask for less"

    return call


class ReadTools:
    """The tools that change nothing, for the server or folder of `client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @_tool
    def list_experiments(self) -> str:
        """List the experiments with the number of their runs by status. Example: list_experiments()"""
        return self._text("/api/experiments")

    @_tool
    def list_runs(
        self, query: str = "", experiment: str = "", order_by: str = "", limit: int = 20, offset: int = 0
    ) -> str:
        """List runs, newest first, as a table; offset skips that many.

        query: comparisons joined by and, or, not; fields are metrics.KEY, params.KEY, tags.KEY, status, name, duration,
        start_time, env.git.commit. order_by: a field, followed by desc for descending order.
        Example: list_runs(query='metrics.loss < 0.5 and params.lr <= 0.01', experiment='iris', order_by='metrics.loss')
        """
        return self._text("/api/runs", q=query, experiment=experiment, order_by=order_by, limit=limit, offset=offset)

    @_tool
    def get_run(self, run: str) -> str:
        """Show a run: status, params, latest metrics, tags, artifacts, note. Example: get_run(run='latest:iris')"""
        return self._text(self._path(run))

    @_tool
    def get_series(
        self, run: str, keys: list[str], max_points: int = DEFAULT_POINTS, since_step: int | None = None
    ) -> str:
        """Show the course of a run's metrics, reduced to max_points for each metric such that spikes stay visible.

        Example: get_series(run='latest:iris', keys=['loss', 'val/loss'])
        """
        fields: list[tuple[str, str]] = [("key", key) for key in keys]
        fields.append(("max_points", str(max(1, min(MAX_POINTS, max_points)))))
        if since_step is not None:
            fields.append(("since_step", str(since_step)))
        series_by_key: dict[str, Any] = self._client.get(f"{self._path(run)}/metrics", fields)
        lines = []
        for key, series in series_by_key.items():
            points = series["points"]
            lines.append(f"{key}: {len(points)} of {series['total']} points, as step=value")
            lines.append(" ".join(f"{point['step']}={point['value']}" for point in points))
        missing = [key for key in keys if key not in series_by_key]
        lines += [f"{key}: nothing was logged" for key in missing]
        return "\n".join(lines)

    @_tool
    def compare_runs(self, runs: list[str]) -> str:
        """Compare runs: params and metrics that differ, that are missing in some runs, that are equal.

        Example: compare_runs(runs=['latest:iris', 'production:iris-classifier'])
        """
        return self._text("/api/compare", ids=",".join(resolve_run(self._client, run) for run in runs))

    @_tool
    def get_best_run(self, experiment: str, metric: str, direction: str = "") -> str:
        """Show the best run of an experiment by a metric; direction is min or max, by default derived from its name.

        Example: get_best_run(experiment='iris', metric='loss', direction='min')
        """
        path = build_path("api", "experiments", experiment)
        best = self._client.get(path, _fields(metric=metric, direction=direction))["best"]
        if best["run_id"] is None:
            raise ToolFailed(f"no run of {experiment!r} has a finite {metric!r}; list_runs shows what there is")
        return self._text(build_path("api", "runs", best["run_id"]))

    @_tool
    def report_run(self, run: str) -> str:
        """Report on a run in Markdown, with a chart of each metric, for a pull request or an email.

        Example: report_run(run='latest:iris')
        """
        return self._text(self._path(run), form="md")

    @_tool
    def check_run(self, run: str, rules: list[str], baseline: str = "") -> str:
        """Check a run against rules, each with a number or a baseline run.

        Example: check_run(run='latest:iris', rules=['acc>=0.9', 'loss<=baseline*1.02'], baseline='production:iris')
        """
        fields = [("rule", rule) for rule in rules] + _fields(baseline=baseline)
        try:
            report: Any = self._client.get(f"{self._path(run)}/check", fields)
        except ApiError as fault:
            if fault.status != 422:
                raise
            report = fault.body
        lines = [
            f"{'passed' if rule['passed'] else 'FAILED'}  {rule['rule']}  (value {rule['value']})"
            for rule in report["rules"]
        ]
        return "\n".join([f"{'passed' if report['passed'] else 'FAILED'}", *lines])

    @_tool
    def list_models(self, name: str = "") -> str:
        """List the models, or the versions of one with their stages. Example: list_models(name='iris-classifier')"""
        return self._text(build_path("api", "models", name) if name else "/api/models")

    def _path(self, run: str) -> str:
        return build_path("api", "runs", resolve_run(self._client, run))

    def _text(self, path: str, *, form: str = "txt", **fields: object) -> str:
        return self._client.ask("GET", path, [*_fields(**fields), ("format", form)]).content().decode()


class WriteTools:
    """The tools that write."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @_tool
    def start_run(self, experiment: str, name: str = "", tags: dict[str, str] | None = None) -> str:
        """Start a run and return its id. Example: start_run(experiment='iris', name='baseline')"""
        body = {"experiment": experiment, "tags": tags or {}} | ({"name": name} if name else {})
        return str(self._client.post("/api/w/runs", body)["id"])

    @_tool
    def log(
        self, run: str, metrics: dict[str, Metric] | None = None, step: int = 0, params: dict[str, Value] | None = None
    ) -> str:
        """Log metrics at a step, params, or both, to a running run. A param can only be set once.

        Example: log(run='ID', metrics={'loss': 0.4, 'accuracy': 0.9}, step=12, params={'lr': 0.01})
        """
        path = self._path(run)
        if params:
            self._client.post(f"{path}/params", params)
        if metrics:
            self._client.post(f"{path}/metrics", {"metrics": metrics, "step": step})
        return f"logged {len(metrics or {})} metrics and {len(params or {})} params"

    @_tool
    def end_run(self, run: str, status: str = "completed", error: str = "") -> str:
        """End a run as completed or failed. Example: end_run(run='ID', status='failed', error='out of memory')"""
        self._client.post(f"{self._path(run)}/end", {"status": status} | ({"error": error} if error else {}))
        return f"ended as {status}"

    @_tool
    def annotate_run(self, run: str, note: str = "", tags: dict[str, str] | None = None) -> str:
        """Set a run's note in Markdown, replacing the old one, or its tags; also works after its end.

        Example: annotate_run(run='latest:iris', note='The learning rate was too high.', tags={'reviewed': 'yes'})
        """
        path = self._path(run)
        if note:
            self._client.post(f"{path}/note", {"note": note})
        if tags:
            self._client.post(f"{path}/tags", tags)
        return "done"

    def _path(self, run: str) -> str:
        return build_path("api", "w", "runs", resolve_run(self._client, run))


def _fields(**fields: object) -> list[tuple[str, str]]:
    """Return the fields of a query string without empty ones."""
    texts = {name: value if isinstance(value, str) else strict_json.dumps(value) for name, value in fields.items()}
    return [(name, text) for name, text in texts.items() if text]


READ_TOOLS = (
    ReadTools.list_experiments,
    ReadTools.list_runs,
    ReadTools.get_run,
    ReadTools.get_series,
    ReadTools.compare_runs,
    ReadTools.get_best_run,
    ReadTools.report_run,
    ReadTools.check_run,
    ReadTools.list_models,
)
WRITE_TOOLS = (WriteTools.start_run, WriteTools.log, WriteTools.end_run, WriteTools.annotate_run)
