"""Snapshots of a store's folder, to compare it with its earlier state."""

from __future__ import annotations

from pathlib import Path


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return every path below `folder` with its bytes, or None for a folder, including leftovers and hidden files."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}
