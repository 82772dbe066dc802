"""Folders of artifacts: all that is below a name with a slash at its end (the contract, section 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import NotFound
from .index.artifact_lines import Artifact, Artifacts
from .index.run_entry import Run
from .names import quote_name


def files_in(artifacts: Artifacts, folder: str) -> list[Artifact]:
    """The artifacts in `folder`, which ends with a slash, in the byte order of their names."""
    found = [artifact for name, artifact in artifacts.items() if name.startswith(folder)]
    return sorted(found, key=lambda artifact: artifact.name.encode())


def folders_of(artifacts: Iterable[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """Each folder of artifacts, as the API lists these, sorted: its name, and the number of its files and bytes."""
    folders: dict[str, list[int]] = {}
    for artifact in artifacts:
        folder = artifact["name"]
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            counts = folders.setdefault(f"{folder}/", [0, 0])
            counts[0] += 1
            counts[1] += artifact["size"]
    return [(name, *counts) for name, counts in sorted(folders.items())]  # type: ignore[misc]


def get_folder(run: Run, folder: str) -> list[Artifact]:
    """The same of a run. Raises NotFound where there are none."""
    found = files_in(run.artifacts, folder)
    if not found:
        raise NotFound("artifact", f"the run has no artifacts in {quote_name(folder)}")
    return found


def folder_sha256(folder: str, files: Sequence[Artifact]) -> str:
    """The checksum of a folder: that of what `sha256sum` prints of its files, by their paths in it."""
    digest = hashlib.sha256()
    for artifact in files:
        digest.update(f"{artifact.sha256}  {artifact.name[len(folder) :]}\n".encode())
    return digest.hexdigest()
