"""Permissions of files: the owner may read and write, others at most read, whatever the shell's umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from support.calls import register, upload


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0o022)

    def set_umask(mask: int) -> None:
        os.umask(mask)

    yield set_umask
    os.umask(before)


def read_modes(data: Path, kind: Callable[[int], bool]) -> dict[str, str]:
    """Return the modes of all files or folders of the store, by path."""
    modes_by_path = {}
    for path in [data, *data.rglob("*")]:
        status = path.lstat()
        if kind(status.st_mode):
            modes_by_path[str(path.relative_to(data))] = oct(stat.S_IMODE(status.st_mode))
    return modes_by_path


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o000, "0o644", "0o755"), (0o077, "0o600", "0o700")])
@pytest.mark.parametrize("is_there", [False, True])
def test_store_is_writable_by_its_owner_only(
    make_app: Callable[..., Flask],
    data: Path,
    umask: Callable[[int], None],
    mask: int,
    file: str,
    folder: str,
    is_there: bool,
) -> None:
    if is_there:
        data.mkdir(mode=0o755)
        data.chmod(0o755)
    umask(mask)
    client = make_app().test_client()
    client.post("/api/w/runs", json={"experiment": "e", "id": "r"})
    client.post("/api/w/runs/r/params", json={"lr": 1})
    client.post("/api/w/runs/r/metrics", json={"loss": 1})
    assert upload(client, "r", "a", b"a") == upload(client, "r", "deep/b", b"b") == 200
    register(client, "r")
    assert client.post("/api/w/runs/r/end").status_code == 200
    folders, files = read_modes(data, stat.S_ISDIR), read_modes(data, stat.S_ISREG)
    assert folders.pop(".") == ("0o755" if is_there else "0o700")  # a folder of the user's keeps its mode
    assert folders == dict.fromkeys(
        ("runs", "runs/.incoming", "runs/r", "runs/r/blobs", "runs/r/blobs/deep", "models", "models/iris"), folder
    )
    assert set(files.values()) == {file}
    assert len(files) == 9
