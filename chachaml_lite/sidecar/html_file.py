"""The run of a job as one HTML file, or the comparison of its runs, as their pages have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..client.base import ApiError, Unreachable, build_path
from ..client.folder import FolderClient
from .job import Job

#: Runs that a comparison takes.
MAX_COMPARED = 20


def write_html(job: Job, data: Path, run_ids: Sequence[str], file: Path) -> bool:
    """Write the page of one run, or of several the comparison, and return whether that worked.

    It is read from the store in `data`, so it has no link to a server that has stopped. Errors are reported to the job.
    """
    if not run_ids:
        job.annotate("notice", f"no run was logged, so {file} was not written")
        return False
    if len(run_ids) > MAX_COMPARED:
        job.annotate("notice", f"{file} compares the newest {MAX_COMPARED} of {len(run_ids)} runs")
    one = len(run_ids) == 1
    path = build_path("runs", run_ids[0]) if one else build_path("compare")
    ids = [] if one else [("ids", ",".join(run_ids[:MAX_COMPARED]))]
    try:
        with FolderClient(data) as client:
            content = client.ask("GET", path, [*ids, ("format", "html")], headers={"Accept": "text/html"}).content()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as fault:
        job.annotate("warning", f"cannot write {file}: {fault.strerror}")
        return False
    except (ApiError, Unreachable) as fault:
        job.annotate("warning", f"cannot write {file}: {fault}")
        return False
    job.say(f"the HTML file is {file}")
    return True
