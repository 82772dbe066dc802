"""Every file name on disk. Nothing else in the program joins a path below the data folder.

    DATA/
      .lock                        who owns the store; empty after a clean stop
      .index                       what a start need not read again (see `run_index`); rebuildable
      runs/
        .incoming/                 what is not whole yet: uploads, new runs, removed runs on their way out
          upload~TOKEN             an upload that is being received
          RUN~SHA256~TOKEN         one that is received, and about to get its name in RUN
          RUN~deletion~TOKEN       artifacts of RUN are being deleted: empty
          import~TOKEN/RUN/...     a run that is being unpacked and checked
        RUN/
          meta.json                identity, status, tags, note, datasets
          params.json
          metrics.jsonl            one point a line
          artifacts.jsonl          one upload or deletion a line
          logged_models.jsonl      one event of a logged model a line; only in runs that have any
          blobs/NAME               the artifacts' bytes, under the names that `disk_names` gives them
          summary.json             what metrics.jsonl adds up to; rebuildable
          .thinned                 of a long metrics.jsonl: what charts of it need; rebuildable
      models/
        MODEL/
          history.jsonl            one event a line
      experiments/
        EXPERIMENT.json            its name and description; only for those that have one

A name with a dot in front is scaffolding: readers pass it over, and it may be removed while no server runs.
`.incoming` is below runs/ so that a rename into a run never crosses file systems.
"""

from __future__ import annotations

import os
import re

META = "meta.json"
PARAMS = "params.json"
METRICS = "metrics.jsonl"
ARTIFACTS = "artifacts.jsonl"
LOGGED_MODELS = "logged_models.jsonl"
BLOBS = "blobs"
SUMMARY = "summary.json"
#: With a dot in front: no part of a zip, a manifest or a digest.
THINNED = ".thinned"
HISTORY = "history.jsonl"
JSON_END = ".json"

# The last wall: whatever a rule above let through, a folder's name is one plain segment.
_SEGMENT = re.compile(r"[^/\\\x00]{1,255}\Z")


def _segment(name: str) -> str:
    """`name`, or ValueError where it would leave the folder that it is to be in."""
    if not _SEGMENT.match(name) or name.startswith("."):
        raise ValueError(f"not a name for a folder of the store: {name!r}")
    return name


class Layout:
    """Paths of one store, as strings. `root` is resolved once, so that later checks compare like with like."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self.lock_file = f"{self.root}/.lock"
        self.index = f"{self.root}/.index"
        self.runs = f"{self.root}/runs"
        self.incoming = f"{self.runs}/.incoming"
        self.models = f"{self.root}/models"
        self.experiments = f"{self.root}/experiments"

    def run(self, run_id: str) -> str:
        """The folder of a run. ValueError for what is not one plain segment."""
        return f"{self.runs}/{_segment(run_id)}"

    def run_file(self, run_id: str, name: str) -> str:
        """One of the files of a run; `name` is one of this module's constants."""
        return f"{self.runs}/{_segment(run_id)}/{name}"

    def model(self, folder: str) -> str:
        """The folder of a model; `folder` is its name as `disk_names` stores it."""
        return f"{self.models}/{_segment(folder)}"

    def history(self, folder: str) -> str:
        """A model's history file."""
        return f"{self.models}/{_segment(folder)}/{HISTORY}"

    def experiment(self, file: str) -> str:
        """The file of an experiment, by its name there."""
        return f"{self.experiments}/{_segment(file)}"
