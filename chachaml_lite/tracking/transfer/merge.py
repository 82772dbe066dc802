"""Merge of an imported run into a stored copy: finds what is new, and whether both can be the same run.

Every part of a run only ever grows, so of two copies one has everything that the other has, and maybe more: params,
points, uploads under a name, an end. What the stored run lacks is added from the imported one; if both went on in
different ways, that is a conflict, which is named, and nothing is stored. A run can therefore be imported repeatedly
while it is still being logged elsewhere, and an older copy never removes anything.

The name, tags, the note and files unknown to this program may change in any way, and nothing tells which copy is newer.
The stored value is kept unless the client says `overwrite`; datasets are added.
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
from .merge_end import END_FIELDS, merge_end
from .merge_mlflow import MLFLOW, merge_mlflow

#: Fields that are set when a run starts and never change.
_IDENTITY = ("experiment", "start_time")
_MERGED = ("id", "tags", "note", "datasets", "env", "deleted_at", MLFLOW, *_IDENTITY, *CHANGEABLE, *END_FIELDS)


class Merge:
    """The merge of an imported run into the stored one. The caller holds the run's lock until after `apply`."""

    def __init__(self, tracker: Tracker, stored: Run, incoming: IncomingRun, *, overwrite: bool) -> None:
        """Compare the two runs. Raises Conflict, InvalidInput."""
        self._tracker = tracker
        self._stored = stored
        self._incoming = incoming
        self._overwrite = overwrite
        #: In the order in which a client would have sent them: if the server is killed in between, the stored run is
        #: in a state that it may have had at an earlier moment, and the next import adds the rest.
        self.changes: list[Callable[[], object]] = []
        self._refuse_damage()
        meta = self._merge_meta()
        self._add_artifacts()
        self._add_others()
        self._add_events()
        self._add_params()
        self._add_points()
        if not same_json(meta, stored.meta):
            self.changes.append(lambda: self._write(META, layout.META, meta, incoming.meta))

    def apply(self) -> None:
        """Store the changes. Raises OSError, Conflict."""
        for change in self.changes:
            change()

    def _refuse(self, text: str, resolvable_by: str | None = None) -> NoReturn:
        raise Conflict(f"run {self._stored.id}: {text}", resolvable_by=resolvable_by)

    def _refuse_damage(self) -> None:
        models = self._tracker.logged_models.damage(self._stored)
        for damage in (self._stored.part(PARAMS).damage, self._stored.part(ARTIFACTS).damage, models):
            if damage is not None:
                self._refuse(f"the one that is here is damaged ({damage}); repair or remove it first")

    def _write(self, part: int, name: str, value: dict[str, Any], incoming: dict[str, Any]) -> None:
        """Replace a JSON file. If the new content equals the imported file's, that file is used, byte for byte."""
        if same_json(value, incoming):
            self._tracker.store.runs.take(self._stored.id, name, f"{self._incoming.folder}/{name}")
            return
        stamp = self._tracker.store.runs.replace(self._stored.id, name, value)
        self._tracker.catalog.put(self._stored, part, value, stamp)

    def _differs(self, subject: str, ours: object, theirs: object) -> NoReturn:
        self._refuse(f"{subject} is {_quote(ours)} here and {_quote(theirs)} in the zip")

    # -- meta.json

    def _merge_meta(self) -> dict[str, Any]:
        ours, theirs = self._stored.meta, self._incoming.meta
        for field in _IDENTITY:
            if not same_json(ours.get(field), theirs.get(field)):
                self._differs(field, ours.get(field), theirs.get(field))
        result = {**theirs, **{key: ours[key] for key in ours if key not in theirs}}
        end = merge_end(ours, theirs)
        if end is None:
            field = next(field for field in END_FIELDS if not same_json(ours.get(field), theirs.get(field)))
            self._differs(field, ours.get(field), theirs.get(field))
        result |= {field: value for field, value in end.items() if value is not None or field in result}
        for field in (*CHANGEABLE, "env"):
            our_value, their_value = ours.get(field), theirs.get(field)
            if not self._overwrite and None not in (our_value, their_value) and not same_json(our_value, their_value):
                self._refuse_changeable(field, our_value, their_value)
            result[field] = our_value if their_value is None else their_value
        # Each store has a trash of its own.
        result.pop("deleted_at", None)
        result |= {"deleted_at": ours["deleted_at"]} if "deleted_at" in ours else {}
        tags, sent_tags = ours.get("tags", {}), theirs.get("tags", {})
        if not self._overwrite:
            for key in tags.keys() & sent_tags.keys():
                if not same_json(tags[key], sent_tags[key]):
                    self._refuse_changeable(f"tag {quote_name(key)}", tags[key], sent_tags[key])
            if ours.get("note") and theirs.get("note") and ours["note"] != theirs["note"]:
                self._refuse_changeable("the note", ours["note"], theirs["note"])
        # Of differing values the imported one wins, which needs `overwrite`; values that exist only here are kept.
        result |= {"tags": {**sent_tags, **{key: tags[key] for key in tags if key not in sent_tags}}} if tags else {}
        result |= {"note": theirs.get("note") or ours["note"]} if ours.get("note") else {}
        if ours.get("datasets"):
            sent_datasets = theirs.get("datasets", [])
            result["datasets"] = merge_datasets(ours["datasets"], sent_datasets, overwrite=self._overwrite)
        result.pop(MLFLOW, None)
        of_mlflow = merge_mlflow(ours, theirs)
        result |= {MLFLOW: of_mlflow} if of_mlflow or MLFLOW in ours else {}
        for key in theirs.keys() & ours.keys() - set(_MERGED):
            if not self._overwrite and not same_json(ours[key], theirs[key]):
                self._refuse_changeable(f"{quote_name(key)} in {layout.META}", ours[key], theirs[key])
        # Omit fields that neither copy has: a null would make a copy made by hand differ after its import.
        return {key: value for key, value in result.items() if value is not None or key in ours or key in theirs}

    def _refuse_changeable(self, subject: str, ours: object, theirs: object) -> NoReturn:
        self._refuse(f"{subject} is {_quote(ours)} here and {_quote(theirs)} in the zip", "overwrite")

    # -- params, points

    def _add_params(self) -> None:
        ours, theirs = self._stored.params, self._incoming.params
        for key in ours.keys() & theirs.keys():
            if not same_json(ours[key], theirs[key]):
                self._differs(f"param {quote_name(key)}", ours[key], theirs[key])
        if theirs.keys() - ours.keys():
            result = {**theirs, **{key: ours[key] for key in ours if key not in theirs}}
            self.changes.append(lambda: self._write(PARAMS, layout.PARAMS, result, theirs))

    def _add_points(self) -> None:
        incoming, run_id = self._incoming.points, self._stored.id
        if incoming is None:
            return
        runs = self._tracker.store.runs
        common, lines, size = runs.same_start(run_id, layout.METRICS, incoming.path)
        if common < min(size, incoming.size):
            self._refuse(
                f"its points differ from line {lines + 1} of {layout.METRICS} on: it was logged to in both places"
            )
        if size < incoming.size:
            self.changes.append(lambda: runs.take(run_id, layout.METRICS, incoming.path))

    # -- artifacts, other files

    def _add_artifacts(self) -> None:
        ours, theirs, their_uploads, our_uploads = (
            self._stored.artifacts,
            self._incoming.artifacts,
            *self._all_uploads(),
        )
        removed = [old_artifact for old_artifact in ours.values() if is_deleted(old_artifact, theirs, their_uploads)]
        for old_artifact in removed:
            self._refuse_unpinning(old_artifact, "deleted")
        new = [
            artifact
            for artifact in theirs.values()
            if not is_deleted(artifact, ours, our_uploads)
            and self._is_new(artifact, ours.get(artifact.name), their_uploads, our_uploads)
        ]
        remaining = ours.keys() - {old_artifact.name for old_artifact in removed}
        try:
            refuse_overlaps([*remaining, *(artifact.name for artifact in new)])
        except Conflict as fault:
            self._refuse(fault.detail)
        spellings = disk_names.spellings([*ours.all_names, *(artifact.name for artifact in new)])
        if removed:
            lines = [
                Deletion(old_artifact.name, theirs.deleted[old_artifact.name]).to_json() for old_artifact in removed
            ]
            blobs = [spellings[old_artifact.name] for old_artifact in removed]
            self.changes.append(lambda: self._tracker.store.blobs.delete(self._stored.id, blobs, lines))
        for artifact in new:
            blob = self._incoming.blobs.get(artifact.name)
            if blob is None:
                raise InvalidInput(
                    f"run {self._stored.id}: the bytes of artifact {quote_name(artifact.name)} are neither in the zip "
                    "nor in the run that is here"
                )
            if not disk_names.fits(spellings[artifact.name]):
                self._refuse(f"artifact {quote_name(artifact.name)} differs from another one only in case")
            self.changes.append(self._placing(spellings[artifact.name], blob, artifact))

    def _is_new(
        self, artifact: Artifact, existing: Artifact | None, their_uploads: set[Artifact], our_uploads: set[Artifact]
    ) -> bool:
        """Return whether to take an imported artifact; the sets contain every upload ever made to either copy.

        Raises Conflict if both sides replaced it, or if a model version is pinned to the stored one or to its folder.
        """
        if existing is None:
            pin = self._tracker.registry.folder_pin(self._stored.id, artifact.name)
            if pin is not None:
                self._refuse(
                    f"artifact {quote_name(artifact.name)} was added where it comes from, in the folder "
                    f"{quote_name(pin.artifact)} that version {pin.version} of the model "
                    f"{quote_name(pin.name)} is pinned to here"
                )
            return True
        if (existing.sha256, existing.size) == (artifact.sha256, artifact.size) or artifact in our_uploads:
            return False
        if existing not in their_uploads:
            self._refuse(f"artifact {quote_name(artifact.name)} was given other bytes in both places")
        self._refuse_unpinning(existing, "replaced")
        return True

    def _placing(self, spelling: str, upload: Upload, artifact: Artifact) -> Callable[[], object]:
        def place() -> None:
            try:
                self._tracker.store.blobs.place(self._stored.id, spelling, upload, artifact._asdict(), replaces=True)
            except InTheWay as fault:
                self._refuse(
                    f"{quote_name(str(fault))} in its folder is something that nobody uploaded; remove it first"
                )

        return place

    def _all_uploads(self) -> tuple[set[Artifact], set[Artifact]]:
        """Return every upload ever made to the imported run, and to the stored one."""
        records, _, _ = self._tracker.store.runs.read_records(self._stored.id, layout.ARTIFACTS)
        return self._incoming.uploads, {line for line in map(line_from, records) if isinstance(line, Artifact)}

    def _refuse_unpinning(self, artifact: Artifact, change: str) -> None:
        for version in self._tracker.registry.pinned_to(self._stored.id):
            if version.pins(artifact.name, artifact.sha256):
                self._refuse(
                    f"artifact {quote_name(artifact.name)} was {change} where it comes from, and is what version "
                    f"{version.version} of the model {quote_name(version.name)} is pinned to here"
                )

    def _add_events(self) -> None:
        """Add imported events of logged models that the stored run lacks. Events are ordered by their timestamps."""
        incoming, stored = self._incoming.events, self._stored
        if not incoming:
            return
        our_events = self._tracker.store.runs.read_records(stored.id, layout.LOGGED_MODELS)[0]
        created = {each["model_id"]: each for each in our_events if each["event"] == "created"}
        for event in incoming:
            existing = created.get(event["model_id"]) if event["event"] == "created" else None
            if existing is not None and not same_json(existing, event):
                self._refuse(f"the logged model {event['model_id']} is another one here: both places logged one")
        known_keys = set(map(event_key, our_events))
        new = [event for event in incoming if event_key(event) not in known_keys]
        if new:
            runs = self._tracker.store.runs
            self.changes.append(lambda: runs.append_records(stored.id, layout.LOGGED_MODELS, new))

    def _add_others(self) -> None:
        run_id, runs = self._stored.id, self._tracker.store.runs
        for path, file in self._incoming.others.items():
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


def _quote(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= 80 else text[:79] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
