"""/api/w/runs and /api/runs: creating, logging to, ending, listing and checking runs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from ...errors import InvalidInput
from ...text import columns, report
from ...text.table import Table
from ...tracking import checks, datasets, metrics, params, runs, tags, trash
from ...tracking.query import search
from ...tracking.transfer import archive
from .. import formats, metrics_body, metrics_fast_path, request_body, responses
from ..context import is_served, tracker
from ..query_string import Query
from ..urls import full_url_for
from . import run_list

#: The most points of a response that is built in memory; a longer one is written to a file.
_MOST_HELD_POINTS = 20_000

api = Blueprint("runs", __name__)

# -- writing


@api.post("/api/w/runs")
def create_run() -> Response:
    """Create a run."""
    as_id = Query(("format",)).text("format")
    if as_id not in (None, "id", "json"):
        raise InvalidInput("format must be id (the bare id, as text) or json")
    body = request_body.check_fields(
        request_body.parse_object(),
        {"experiment": str},
        {"name": str, "tags": dict, "parent_run_id": str, "created_by": str, "id": str, "env": dict},
    )
    run = runs.create_run(tracker(), runs.NewRun(**body))
    if as_id == "id":
        return Response(run["id"] + "\n", mimetype="text/plain")
    return responses.json_response(run)


@api.post("/api/w/runs/<run_id>/params")
def set_params(run_id: str) -> Response:
    """Set params, all or none."""
    Query(())
    params.set_params(tracker(), run_id, request_body.parse_object(takes_nonfinite=True))
    return responses.ok()


@api.post("/api/w/runs/<run_id>/metrics")
def log_metrics(run_id: str) -> Response:
    """Log points, all or none."""
    metrics_fast_path.raise_unexpected(request.environ)
    Query(())
    kind = request_body.require_type(request_body.JSON, request_body.NDJSON)
    body = request_body.read_content()
    try:
        result = metrics.log_points(tracker(), run_id, metrics_body.parse_entries(body, kind))
    except metrics.InvalidEntry as fault:
        raise InvalidInput(metrics_body.describe_position(body, kind, fault.index) + fault.detail) from fault
    return Response(metrics_fast_path.format_result(result), content_type="application/json")


@api.post("/api/w/runs/<run_id>/end")
def end_run(run_id: str) -> Response:
    """End a run, with the status in the body or by a shell's exit code; without either, as completed."""
    exit_code = Query(("exit_code",)).integer("exit_code")
    has_body = bool(request.content_length)
    if exit_code is not None:
        if has_body:
            raise InvalidInput("send either a body or ?exit_code=N, not both")
        body = {"status": "failed", "error": f"exit code {exit_code}"} if exit_code else {"status": "completed"}
    elif has_body:
        body = request_body.check_fields(request_body.parse_object(), {"status": str}, {"error": str})
    else:
        body = {"status": "completed"}
    runs.finish_run(tracker(), run_id, **body)
    return responses.ok()


@api.post("/api/w/runs/<run_id>/resume")
def resume_run(run_id: str) -> Response:
    """Resume a run that has ended."""
    Query(())
    return responses.json_response(runs.resume_run(tracker(), run_id))


@api.post("/api/w/runs/<run_id>/name")
def rename_run(run_id: str) -> Response:
    """Rename a run."""
    Query(())
    name = request_body.check_fields(request_body.parse_object(), {"name": str}, {})["name"]
    runs.change_run(tracker(), run_id, name=name)
    return responses.ok()


@api.post("/api/w/runs/<run_id>/trash")
def trash_run(run_id: str) -> Response:
    """Move a run to the trash."""
    Query(())
    trash.trash_run(tracker(), run_id)
    return responses.ok()


@api.post("/api/w/runs/<run_id>/restore")
def restore_run(run_id: str) -> Response:
    """Restore a run from the trash."""
    Query(())
    trash.restore_run(tracker(), run_id)
    return responses.ok()


@api.delete("/api/w/runs/<run_id>")
def remove_run(run_id: str) -> Response:
    """Remove a run permanently."""
    Query(())
    freed_bytes = trash.remove_run(tracker(), run_id)
    response = responses.ok()
    response.headers["X-Freed-Bytes"] = str(freed_bytes)
    return response


@api.post("/api/w/runs/<run_id>/tags")
def set_tags(run_id: str) -> Response:
    """Set tags; null removes one."""
    Query(())
    tags.set_tags(tracker(), run_id, request_body.parse_object())
    return responses.ok()


@api.post("/api/tags/<run_id>")
def set_tag(run_id: str) -> Response:
    """Set one tag, in chachaml's own form."""
    Query(())
    body = request_body.parse_object()
    values = request_body.check_fields(body, {"key": str}, {"value": (str, int, float, bool)})
    if "value" not in body:
        raise InvalidInput("the field 'value' is missing")
    tags.set_tags(tracker(), run_id, {values["key"]: body["value"]})
    return responses.ok()


@api.post("/api/w/runs/<run_id>/note")
@api.post("/api/note/<run_id>")
def set_note(run_id: str) -> Response:
    """Replace the note."""
    Query(())
    runs.set_note(tracker(), run_id, request_body.check_fields(request_body.parse_object(), {"note": str}, {})["note"])
    return responses.ok()


@api.post("/api/w/runs/<run_id>/datasets")
def log_dataset(run_id: str) -> Response:
    """Log a dataset."""
    Query(())
    body = request_body.parse_object()
    request_body.refuse_unknown(body, datasets.FIELDS)
    datasets.log_datasets(tracker(), run_id, [body])
    return responses.ok()


# -- reading

_FILTERS = ("experiment", "status", "name", "created_by", "parent_run_id")


@api.get("/api/runs")
def list_runs() -> Response:
    """Return one page of the matching runs, newest first or in the requested order."""
    query = Query(("q", "deleted", "children", "env", *_FILTERS, *run_list.PAGING), ("tag.", "param."))
    requested: dict[str, Any] = {name: query.text(name) for name in _FILTERS if query.text(name) is not None}
    requested["deleted"] = search.parse_deleted(query.text("deleted") or "false")
    requested["is_folded"] = search.parse_folding(query.text("children"))
    requested |= {
        "tags": query.with_prefix("tag."),
        "params": query.with_prefix("param."),
        **run_list.parse_paging(query),
    }
    return run_list.run_list(query, search.RunQuery(where=run_list.parse_where(query), **requested))


@api.get("/api/runs/<run_id>")
def get_run(run_id: str) -> Response:
    """Return a run with everything but its points; as a report, with its series plotted."""
    response_format = formats.negotiate(Query(("format",)), formats.ITEM_FORMATS)
    run = tracker().run(run_id)
    details = runs.run_details(tracker(), run)
    if response_format is formats.JSON:
        return responses.json_response(details)
    series = metrics.select_series(tracker(), run, max_points=report.CHART_POINTS)
    sparks = {key: selection.thin(report.SPARK_POINTS) for key, selection in series.items()}
    run_report = report.Report(
        details,
        charts=metrics.series_to_json(series),
        sparks=metrics.series_to_json(sparks),
        url=full_url_for("pages.run_page", run_id=run_id) if is_served() else None,
    )
    text = report.as_markdown(run_report) if response_format is formats.MARKDOWN else report.as_plain_text(run_report)
    return formats.text_response(response_format, text)


@api.get("/api/runs/<run_id>/metrics")
def get_metrics(run_id: str) -> Response:
    """Return the points of a run, by series."""
    query = Query(("key", "max_points", "since_step", "until_step", *formats.FIELDS), repeatable=("key",))
    response_format = formats.negotiate(query)
    max_points = query.integer("max_points")
    if max_points is not None and max_points < 1:
        raise InvalidInput("max_points must be 1 or more")
    steps = query.integer("since_step"), query.integer("until_step")
    if request.method == "HEAD" and metrics.count_points(tracker(), run_id) > _MOST_HELD_POINTS:
        return Response(iter(()), mimetype=response_format.media_type)  # its length isn't known before it is generated
    selections = metrics.select_series(tracker(), run_id, query.texts("key") or None, max_points, *steps)

    def table() -> Table:
        return columns.point_table(selections)

    if sum(len(selection.places) for selection in selections.values()) > _MOST_HELD_POINTS:
        name = f"{run_id}.{response_format.name}"
        return formats.stream_response(
            tracker(), response_format, lambda: metrics.series_to_lines(selections), table, name
        )
    return formats.list_response(response_format, metrics.series_to_json(selections), table)


@api.get("/api/runs/<run_id>/check")
def check_run(run_id: str) -> Response:
    """Check a run against rules: 200 if it passes all of them, else 422."""
    query = Query(("rule", "baseline"), repeatable=("rule",))
    report = checks.check_run(tracker(), run_id, query.texts("rule"), query.text("baseline"))
    return responses.json_response(report)


@api.get("/api/runs/<run_id>/download")
def download_run(run_id: str) -> Response:
    """Return the run's folder as a zip."""
    Query(())
    return responses.generated_file_response(
        archive.open_run_zip(tracker(), run_id), name=f"{run_id}.zip", content_type="application/zip"
    )


@api.get("/api/tags/<run_id>")
def get_tags(run_id: str) -> Response:
    """Return the tags of a run."""
    Query(())
    return responses.json_response(tags.get_tags(tracker(), run_id))


@api.get("/api/datasets/<run_id>")
def get_datasets(run_id: str) -> Response:
    """Return the datasets of a run."""
    Query(())
    return responses.json_response(datasets.get_datasets(tracker(), run_id))
