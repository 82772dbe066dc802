"""The artifacts that MLflow has of a run, as recorded in tags of MLflow's run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from .mapping import ARTIFACTS

#: Artifacts recorded in one tag: 17 characters each.
_PER_TAG = 250
#: Digits of the digests of a name and of a content.
_DIGITS = 8


class ArtifactLedger:
    """The recorded artifacts, as digests of name and content; the last of a name counts."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        """Read the tags of MLflow's run."""
        self._entries: list[str] = []
        while (text := tags.get(f"{ARTIFACTS}{len(self._entries) // _PER_TAG}")) is not None:
            entries = text.split()
            self._entries += entries
            if len(entries) < _PER_TAG:
                break
        self._contents = {entry[:_DIGITS]: entry[_DIGITS:] for entry in self._entries}

    def has(self, name: str, sha256: str) -> bool:
        """Return whether MLflow has the artifact with that content."""
        return self._contents.get(_digest(name)) == sha256[:_DIGITS]

    def add(self, name: str, sha256: str) -> tuple[str, str]:
        """Record an artifact; return the tag to set in MLflow, as key and value."""
        self._entries.append(_digest(name) + sha256[:_DIGITS])
        self._contents[_digest(name)] = sha256[:_DIGITS]
        number = (len(self._entries) - 1) // _PER_TAG
        return f"{ARTIFACTS}{number}", " ".join(self._entries[number * _PER_TAG :])


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
