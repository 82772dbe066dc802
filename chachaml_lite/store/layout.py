"""Every file name on disk. No other module joins a path below the data folder.

    DATA/
      .lock                        names the owner of the store; empty after a clean stop
      .index                       what a start need not read again (see `run_index`); rebuildable
      runs/
        .incoming/                 anything unfinished: uploads, new runs, removed runs being deleted
          upload~TOKEN             an upload that is being received
          RUN~SHA256~TOKEN         an upload that is complete and about to be moved into RUN
          RUN~deletion~TOKEN       artifacts of RUN are being deleted: an empty file
          import~TOKEN/RUN/...     a run that is being unpacked and checked
        RUN/
          meta.json                identity, status, tags, note, datasets
          params.json
          metrics.jsonl            one point per line
          artifacts.jsonl          one upload or deletion per line
          logged_models.jsonl      one event of a logged model per line; only in runs that have any
          blobs/NAME               the artifacts' bytes, under the names that `disk_names` gives them
          summary.json             the summary of metrics.jsonl; rebuildable
          .thinned                 the chart data of a long metrics.jsonl; rebuildable
      models/
        MODEL/
          history.jsonl            one event per line
      experiments/
        EXPERIMENT.json            its name and description; only for experiments that have one

Names that begin with a dot are internal: readers skip them, and they may be removed while no server runs.
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
#: Begins with a dot: not part of a zip, a manifest or a digest.
THINNED = ".thinned"
HISTORY = "history.jsonl"
JSON_END = ".json"

# The last line of defence: whatever an earlier check let through, a folder's name is a single plain segment.
_SEGMENT = re.compile(r"[^/\\\x00]{1,255}\Z")


def _segment(name: str) -> str:
    """Return `name`. Raises ValueError if it would lead out of its folder."""
    if not _SEGMENT.match(name) or name.startswith("."):
        raise ValueError(f"not a name for a folder of the store: {name!r}")
    return name


class Layout:
    """The paths of one store, as strings.

    `root` is resolved once, so that later comparisons of paths are consistent.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self.lock_file = f"{self.root}/.lock"
        self.index = f"{self.root}/.index"
        self.runs = f"{self.root}/runs"
        self.incoming = f"{self.runs}/.incoming"
        self.models = f"{self.root}/models"
        self.experiments = f"{self.root}/experiments"

    def run(self, run_id: str) -> str:
        """Return the folder of a run. Raises ValueError for anything but a single plain segment."""
        return f"{self.runs}/{_segment(run_id)}"

    def run_file(self, run_id: str, name: str) -> str:
        """Return the path of one of a run's files; `name` is one of this module's constants. Raises ValueError."""
        return f"{self.runs}/{_segment(run_id)}/{name}"

    def model(self, folder: str) -> str:
        """Return the folder of a model; `folder` is its name as spelled by `disk_names`. Raises ValueError."""
        return f"{self.models}/{_segment(folder)}"

    def history(self, folder: str) -> str:
        """Return the path of a model's history. Raises ValueError."""
        return f"{self.models}/{_segment(folder)}/{HISTORY}"

    def experiment(self, file: str) -> str:
        """Return the path of an experiment's file, given its name. Raises ValueError."""
        return f"{self.experiments}/{_segment(file)}"
