"""Folders of artifacts: name prefixes that end with a slash (the contract, section 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import NotFound
from ..store.checksum import checksum_of
from .index.artifact_lines import Artifact, Artifacts
from .index.run_entry import Run
from .names import quote_name


def list_files(artifacts: Artifacts, folder: str) -> list[Artifact]:
    """Return the artifacts in `folder`, which ends with a slash, in the byte order of their names."""
    files = [artifact for name, artifact in artifacts.items() if name.startswith(folder)]
    return sorted(files, key=lambda artifact: artifact.name.encode())


def list_folders(artifacts: Iterable[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """Return (name, number of files, size in bytes) of each folder of `artifacts`, which are in the API's form."""
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
    """Return the artifacts in a folder of a run. Raises NotFound if there are none."""
    files = list_files(run.artifacts, folder)
    if not files:
        raise NotFound("artifact", f"the run has no artifacts in {quote_name(folder)}")
    return files


def folder_sha256(folder: str, files: Sequence[Artifact]) -> str:
    """Return the checksum of a folder: that of the output of `sha256sum` for its files, run inside the folder."""
    return checksum_of(f"{each.sha256}  {each.name[len(folder) :]}\n".encode() for each in files).sha256
