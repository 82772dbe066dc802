"""A stub of actions/upload-artifact: it omits and rejects the same files, and writes the same zip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

_INVALID_IN_PATHS = re.compile(r'[":<>|*?\r\n]')
_INVALID_IN_NAMES = re.compile(r'[":<>|*?\r\n\\/]')


class Artifacts:
    """The artifacts of a workflow run, as zip files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def upload(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """Upload files. Raises AssertionError if GitHub would reject them."""
        name, pattern = inputs["name"], Path(inputs["path"])
        assert name and not _INVALID_IN_NAMES.search(name), f"GitHub rejects an artifact of the name {name!r}"
        # The zip's root is the path before the first wildcard; without one, the folder itself.
        literal_parts = [part for part in pattern.parts if "*" not in part]
        root = Path(*literal_parts)
        matches = list(root.glob(pattern.name)) if len(literal_parts) < len(pattern.parts) else [root]
        if root.is_file():
            root = root.parent
        files = [file for each in matches for file in ([each] if each.is_file() else each.rglob("*")) if file.is_file()]
        assert files, f"there is nothing at {pattern}"
        with zipfile.ZipFile(self._folder / f"{name}.zip", "x") as archive:  # a name can be used once
            for file in files:
                path = file.relative_to(root)
                if not any(part.startswith(".") for part in path.parts):
                    assert not _INVALID_IN_PATHS.search(str(path)), f"GitHub rejects {path}"
                    archive.write(file, path)
        return {}

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.iterdir())

    def unzip(self, name: str, into: Path) -> None:
        """Extract the zip, as `gh run download -n NAME -D FOLDER` does."""
        with zipfile.ZipFile(self._folder / f"{name}.zip") as archive:
            archive.extractall(into)
