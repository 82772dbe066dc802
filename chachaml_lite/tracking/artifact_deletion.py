"""Deletion of single artifacts and of folders (the contract, section 2, "Deleted artifacts")."""

from __future__ import annotations

from ..errors import Conflict
from .artifact_folders import get_folder
from .artifacts import describe_pin, get_artifact
from .index.artifact_lines import Deletion
from .index.run_parts import ARTIFACTS
from .names import quote_name
from .tracker import Tracker


def delete_artifacts(tracker: Tracker, run_id: str, name: str) -> int:
    """Delete an artifact, or a folder if `name` ends with a slash; return the number of artifacts deleted.

    The run may have ended. Raises NotFound, RunTrashed, Conflict (a model version is pinned to one of the artifacts);
    nothing is deleted in these cases.
    """
    with tracker.writable_run(run_id, ARTIFACTS) as run:
        to_delete = get_folder(run, name) if name.endswith("/") else [get_artifact(tracker, run_id, name)]
        run.refuse_damaged(ARTIFACTS)
        versions = tracker.registry.pinned_to(run_id)
        for artifact in to_delete if versions else ():
            for version in versions:
                if version.pins(artifact.name, artifact.sha256):
                    raise Conflict(
                        f"artifact {quote_name(artifact.name)} is {describe_pin(version)} is pinned to; "
                        "delete that version first"
                    )
        artifacts, now_ms = run.artifacts, tracker.clock.now_ms()
        # In a merge the later line wins. Never date a deletion before its upload, or a clock that was set back would
        # bring the artifact back.
        deletions = [Deletion(each.name, max(now_ms, each.timestamp)) for each in to_delete]
        spellings = [artifacts.spellings.of(each.name) for each in to_delete]
        stamp = tracker.store.blobs.delete(run_id, spellings, [each.to_json() for each in deletions])
        tracker.catalog.put(run, ARTIFACTS, artifacts.without(deletions), stamp)
    return len(to_delete)
