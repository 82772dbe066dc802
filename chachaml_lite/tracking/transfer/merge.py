"""A run that is imported, and is here already: what of it is new, and whether the two can be one run.

Every part of a run only ever grows, so that of two copies of one run one has what the other has, and maybe more:
params, the points, the uploads under a name, an end. What one of them lacks is taken from the other; where both went on
in different ways it is a conflict, named, and nothing is stored. So a run can be imported again and again while it
is still being logged where it comes from, and an older copy never takes anything away.

Name, tags, note and files of no meaning to us may change in any way, and nothing tells which of two is the newer. What
is here stays, unless the client says `overwrite`; data sets are added.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from ...errors import Conflict, InvalidInput
from ...store import disk_names, layout
from ...store.beneath import InTheWay
from ...store.incoming import Upload
from ..artifacts import refuse_overlaps
from ..datasets import merge_datasets
from ..index.artifact_lines import Artifact, Deletion, is_deleted, line_from
from ..index.run_entry import Run
from ..index.run_parts import ARTIFACTS, META, PARAMS
from ..names import quote_name
from ..params import same_json
from ..runs import CHANGEABLE
from ..tracker import Tracker
from .incoming_run import IncomingRun
from .manifest import event_key
from .merged_end import END_FIELDS, merged_end
from .merged_mlflow import MLFLOW, merged_mlflow

#: What a run is from its start, and never something else.
_IDENTITY = ("experiment", "start_time")
_MERGED = ("id", "tags", "note", "datasets", "env", "deleted_at", MLFLOW, *_IDENTITY, *CHANGEABLE, *END_FIELDS)


class Merge:
    """The merge of an imported run into the stored one. The caller holds the run from before it until `apply`."""

    def __init__(self, tracker: Tracker, stored: Run, sent: IncomingRun, *, overwrite: bool) -> None:
        """Compare the two. Raises Conflict, InvalidInput."""
        self._tracker = tracker
        self._stored = stored
        self._sent = sent
        self._overwrite = overwrite
        #: In the order in which a client would have sent it: should the server be killed in between, what is here is
        #: the run as it may have been at an earlier moment, and the rest comes with the next try.
        self.changes: list[Callable[[], object]] = []
        self._refuse_damage()
        meta = self._merged_meta()
        self._add_artifacts()
        self._add_others()
        self._add_events()
        self._add_params()
        self._add_points()
        if not same_json(meta, stored.meta):
            self.changes.append(lambda: self._write(META, layout.META, meta, sent.meta))

    def apply(self) -> None:
        """Store what is new. Raises OSError."""
        for change in self.changes:
            change()

    def _refuse(self, text: str, resolvable_by: str | None = None) -> NoReturn:
        raise Conflict(f"run {self._stored.id}: {text}", resolvable_by=resolvable_by)

    def _refuse_damage(self) -> None:
        models = self._tracker.logged_models.damage(self._stored)
        for damage in (self._stored.part(PARAMS).damage, self._stored.part(ARTIFACTS).damage, models):
            if damage is not None:
                self._refuse(f"the one that is here is damaged ({damage}); mend or remove it first")

    def _write(self, part: int, name: str, value: dict[str, Any], sent: dict[str, Any]) -> None:
        """Give a JSON file its new content; where that is what was sent, byte for byte."""
        if same_json(value, sent):
            self._tracker.store.runs.take(self._stored.id, name, f"{self._sent.folder}/{name}")
            return
        stamp = self._tracker.store.runs.replace(self._stored.id, name, value)
        self._tracker.catalog.put(self._stored, part, value, stamp)

    def _differs(self, what: str, here: object, there: object) -> NoReturn:
        self._refuse(f"{what} is {_quoted(here)} here and {_quoted(there)} in the zip")

    # -- meta.json

    def _merged_meta(self) -> dict[str, Any]:
        here, there = self._stored.meta, self._sent.meta
        for field in _IDENTITY:
            if not same_json(here.get(field), there.get(field)):
                self._differs(field, here.get(field), there.get(field))
        merged = {**there, **{key: here[key] for key in here if key not in there}}
        end = merged_end(here, there)
        if end is None:
            field = next(field for field in END_FIELDS if not same_json(here.get(field), there.get(field)))
            self._differs(field, here.get(field), there.get(field))
        merged |= {field: value for field, value in end.items() if value is not None or field in merged}
        for field in (*CHANGEABLE, "env"):
            mine, sent = here.get(field), there.get(field)
            if not self._overwrite and None not in (mine, sent) and not same_json(mine, sent):
                self._refuse_changeable(field, mine, sent)
            merged[field] = mine if sent is None else sent
        # Where a run is in the trash is each store's own affair.
        merged.pop("deleted_at", None)
        merged |= {"deleted_at": here["deleted_at"]} if "deleted_at" in here else {}
        tags, sent_tags = here.get("tags", {}), there.get("tags", {})
        if not self._overwrite:
            for key in tags.keys() & sent_tags.keys():
                if not same_json(tags[key], sent_tags[key]):
                    self._refuse_changeable(f"tag {quote_name(key)}", tags[key], sent_tags[key])
            if here.get("note") and there.get("note") and here["note"] != there["note"]:
                self._refuse_changeable("the note", here["note"], there["note"])
        # Where they differ the sent ones count, if at all; what is only here stays in any case.
        merged |= {"tags": {**sent_tags, **{key: tags[key] for key in tags if key not in sent_tags}}} if tags else {}
        merged |= {"note": there.get("note") or here["note"]} if here.get("note") else {}
        if here.get("datasets"):
            sent_datasets = there.get("datasets", [])
            merged["datasets"] = merge_datasets(here["datasets"], sent_datasets, overwrite=self._overwrite)
        merged.pop(MLFLOW, None)
        of_mlflow = merged_mlflow(here, there)
        merged |= {MLFLOW: of_mlflow} if of_mlflow or MLFLOW in here else {}
        for key in there.keys() & here.keys() - set(_MERGED):
            if not self._overwrite and not same_json(here[key], there[key]):
                self._refuse_changeable(f"{quote_name(key)} in {layout.META}", here[key], there[key])
        # A field that neither has is no null: else a copy that was made by hand would be another one after its import.
        return {key: value for key, value in merged.items() if value is not None or key in here or key in there}

    def _refuse_changeable(self, what: str, here: object, there: object) -> NoReturn:
        self._refuse(f"{what} is {_quoted(here)} here and {_quoted(there)} in the zip", "overwrite")

    # -- params, points

    def _add_params(self) -> None:
        here, there = self._stored.params, self._sent.params
        for key in here.keys() & there.keys():
            if not same_json(here[key], there[key]):
                self._differs(f"param {quote_name(key)}", here[key], there[key])
        if there.keys() - here.keys():
            merged = {**there, **{key: here[key] for key in here if key not in there}}
            self.changes.append(lambda: self._write(PARAMS, layout.PARAMS, merged, there))

    def _add_points(self) -> None:
        sent, run_id = self._sent.points, self._stored.id
        if sent is None:
            return
        runs = self._tracker.store.runs
        common, lines, size = runs.same_start(run_id, layout.METRICS, sent.path)
        if common < min(size, sent.size):
            self._refuse(
                f"its points differ from line {lines + 1} of {layout.METRICS} on: it was logged to in both places"
            )
        if size < sent.size:
            self.changes.append(lambda: runs.take(run_id, layout.METRICS, sent.path))

    # -- artifacts, other files

    def _add_artifacts(self) -> None:
        here, sent, once_there, once_here = self._stored.artifacts, self._sent.artifacts, *self._once()
        gone = [mine for mine in here.values() if is_deleted(mine, sent, once_there)]
        for mine in gone:
            self._refuse_unpinning(mine, "deleted")
        new = [
            artifact
            for artifact in sent.values()
            if not is_deleted(artifact, here, once_here)
            and self._is_new(artifact, here.get(artifact.name), once_there, once_here)
        ]
        left = here.keys() - {mine.name for mine in gone}
        try:
            refuse_overlaps([*left, *(artifact.name for artifact in new)])
        except Conflict as fault:
            self._refuse(fault.detail)
        spelled = disk_names.spellings([*here.all_names, *(artifact.name for artifact in new)])
        if gone:
            lines = [Deletion(mine.name, sent.deleted[mine.name]).to_json() for mine in gone]
            blobs = [spelled[mine.name] for mine in gone]
            self.changes.append(lambda: self._tracker.store.blobs.delete(self._stored.id, blobs, lines))
        for artifact in new:
            blob = self._sent.blobs.get(artifact.name)
            if blob is None:
                raise InvalidInput(
                    f"run {self._stored.id}: the bytes of artifact {quote_name(artifact.name)} are neither in the zip "
                    "nor in the run that is here"
                )
            if not disk_names.fits(spelled[artifact.name]):
                self._refuse(f"artifact {quote_name(artifact.name)} differs from another one in nothing but case")
            self.changes.append(self._placing(spelled[artifact.name], blob, artifact))

    def _is_new(self, sent: Artifact, mine: Artifact | None, there: set[Artifact], here: set[Artifact]) -> bool:
        """Whether an artifact is to be taken; `there`, `here`: all that was ever uploaded to the two.

        Raises Conflict, where both sides replaced it, or a model needs mine.
        """
        if mine is None:
            pin = self._tracker.registry.folder_pin(self._stored.id, sent.name)
            if pin is not None:
                self._refuse(
                    f"artifact {quote_name(sent.name)} was added where it comes from, in the folder "
                    f"{quote_name(pin.artifact)} that version {pin.version} of the model "
                    f"{quote_name(pin.name)} is pinned to here"
                )
            return True
        if (mine.sha256, mine.size) == (sent.sha256, sent.size) or sent in here:
            return False
        if mine not in there:
            self._refuse(f"artifact {quote_name(sent.name)} was given other bytes in both places")
        self._refuse_unpinning(mine, "replaced")
        return True

    def _placing(self, spelled: str, upload: Upload, artifact: Artifact) -> Callable[[], object]:
        def place() -> None:
            try:
                self._tracker.store.blobs.place(self._stored.id, spelled, upload, artifact._asdict(), replaces=True)
            except InTheWay as fault:
                self._refuse(
                    f"{quote_name(str(fault))} in its folder is something that nobody uploaded; remove it first"
                )

        return place

    def _once(self) -> tuple[set[Artifact], set[Artifact]]:
        """Whatever was uploaded to the sent run, and to the stored one."""
        records, _, _ = self._tracker.store.runs.read_records(self._stored.id, layout.ARTIFACTS)
        return self._sent.uploads, {line for line in map(line_from, records) if isinstance(line, Artifact)}

    def _refuse_unpinning(self, mine: Artifact, what: str) -> None:
        for version in self._tracker.registry.pinned_to(self._stored.id):
            if version.pins(mine.name, mine.sha256):
                self._refuse(
                    f"artifact {quote_name(mine.name)} was {what} where it comes from, and is what version "
                    f"{version.version} of the model {quote_name(version.name)} is pinned to here"
                )

    def _add_events(self) -> None:
        """The events of logged models that are there, and not here. The events' times tell which model comes first."""
        sent, stored = self._sent.events, self._stored
        if not sent:
            return
        here = self._tracker.store.runs.read_records(stored.id, layout.LOGGED_MODELS)[0]
        created = {each["model_id"]: each for each in here if each["event"] == "created"}
        for event in sent:
            mine = created.get(event["model_id"]) if event["event"] == "created" else None
            if mine is not None and not same_json(mine, event):
                self._refuse(f"the logged model {event['model_id']} is another one here: both places logged one")
        known = set(map(event_key, here))
        new = [event for event in sent if event_key(event) not in known]
        if new:
            runs = self._tracker.store.runs
            self.changes.append(lambda: runs.append_records(stored.id, layout.LOGGED_MODELS, new))

    def _add_others(self) -> None:
        run_id, runs = self._stored.id, self._tracker.store.runs
        for path, file in self._sent.others.items():
            sha256 = self._tracker.store.inspection.sum_of(run_id, path)
            if sha256 == file.sha256:
                continue
            if sha256 is not None and path.startswith(f"{layout.BLOBS}/"):
                self._refuse(f"{quote_name(path)} has other bytes here, and is no artifact in the zip")
            if sha256 is not None and not self._overwrite:
                self._refuse(f"the file {quote_name(path)} has other bytes here", "overwrite")

            def take(path: str = path, source: str = file.path) -> None:
                try:
                    runs.take(run_id, path, source)
                except InTheWay as fault:
                    self._refuse(f"{quote_name(str(fault))} in its folder is in the way; remove it first")

            self.changes.append(take)


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= 80 else text[:79] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
