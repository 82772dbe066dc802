"""File names of artifacts, models and experiments on disk (contract, section 4).

A spelling is the name with some characters percent-encoded (UTF-8 bytes, upper-case hex). `%` itself is always encoded,
so `decode` recovers the name from any spelling. Encoded are the characters that NTFS and GitHub's artifact upload
reject, a leading dot (reserved for the store's own files), a trailing dot or space, and the first letter of a Windows
device name. Two names that a file system may treat as one (they differ in case, or in Unicode normalization) get
spellings that differ in more than that: see `spelling`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator
from urllib.parse import unquote

#: The longest path segment, in bytes, that ext4, APFS and NTFS all allow.
MAX_SEGMENT_BYTES = 255
#: Leaves room for the rest of the path within the 4,096 bytes of PATH_MAX (1,024 on macOS).
MAX_PATH_BYTES = 800

_UNPORTABLE = frozenset('":<>|*?\\')
_REFUSED = _UNPORTABLE | {"%", "/"}
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?= *(?:\.|\Z))", re.IGNORECASE)


def is_device_name(name: str) -> bool:
    """Return whether Windows treats `name` as a device, with or without an extension (also `NUL.txt`)."""
    return _DEVICE.match(name) is not None


def _encode(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _spell_segment(segment: str, also: Container[str]) -> str:
    characters = [_encode(c) if c in _REFUSED or c in also or ord(c) < 32 else c for c in segment]
    if segment[0] == "." or is_device_name(segment):
        characters[0] = _encode(segment[0])
    if segment[-1] in ". ":
        characters[-1] = _encode(segment[-1])
    return "".join(characters)


class _Fold(Container[str]):
    """Characters by which two names can differ in case or normalization alone; lower-case ASCII is not among them."""

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and (character.isupper() or character > "\x7f")


class _Everything(Container[str]):
    def __contains__(self, character: object) -> bool:
        return True


def fold(spelling: str) -> str:
    """Return `spelling` as a file system that folds case and normalizes Unicode compares it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", spelling).casefold())


def spelling(name: str, taken: Container[str] = ()) -> str:
    """Return the path, relative and with `/`, under which `name` is stored.

    `taken` holds the folds (see `fold`) of the spellings of other names. The result is the first of three spellings
    that isn't taken: the plain one; one with capitals and all non-ASCII characters encoded; one with every character
    encoded, which no other name can have.
    """
    return _first_free(lambda also: "/".join(_spell_segment(segment, also) for segment in name.split("/")), taken)


def segment_spelling(name: str, taken: Container[str] = ()) -> str:
    """Return the spelling of a name that is a single segment on disk, whatever slashes it contains."""
    return _first_free(lambda also: _spell_segment(name, also), taken)


def _first_free(spell: Callable[[Container[str]], str], taken: Container[str]) -> str:
    candidate = ""
    for also in ((), _Fold(), _Everything()):
        candidate = spell(also)
        if fold(candidate) not in taken:
            break
    return candidate


def fits(name: str) -> bool:
    """Return whether a spelling is short enough for a path on every known file system."""
    encoded = name.encode()
    return len(encoded) <= MAX_PATH_BYTES and all(len(part) <= MAX_SEGMENT_BYTES for part in encoded.split(b"/"))


def is_portable(path: str) -> bool:
    """Return whether a path contains nothing that NTFS or GitHub's artifact upload rejects."""
    parts = path.split("/")
    return not any(_UNPORTABLE & set(part) or part[-1:] in ". " or is_device_name(part) for part in parts)


def decode(text: str) -> str:
    """Return the name that a spelling stands for.

    Raises UnicodeDecodeError if the store did not create the spelling.
    """
    return unquote(text, errors="strict")


class Spellings:
    """The spellings of names, added in the order in which they were first stored.

    Conflicts are found by lookup, so adding a name costs the same however many there are.
    """

    def __init__(self, names: Iterable[str] = (), living: Container[str] | None = None) -> None:
        """Add `names`. `living`: those that have a file, and so conflict with others; None for all."""
        self._spellings: dict[str, str] = {}
        self._used: set[str] = set()
        #: Names that have a file, by their fold; and the number of such names below each folder, by the folder's fold.
        self._names: dict[str, tuple[str, ...]] = {}
        self._folders: dict[str, int] = {}
        for name in names:
            self.add(name, is_living=living is None or name in living)

    def add(self, name: str, *, is_living: bool = True) -> None:
        """Add a name, unless it is already there."""
        if name not in self._spellings:
            spelled_name = self._spellings[name] = self.of(name)
            self._used.add(fold(spelled_name))
        folded_name = fold(name)
        alike = self._names.get(folded_name, ())
        if is_living and name not in alike:
            self._names[folded_name] = (*alike, name)
            for folder in _folders(folded_name):
                self._folders[folder] = self._folders.get(folder, 0) + 1

    def remove(self, name: str) -> None:
        """Record that a name no longer has a file. All spellings are kept, its own too."""
        folded_name = fold(name)
        alike = self._names.get(folded_name, ())
        if name not in alike:
            return
        self._names[folded_name] = tuple(other for other in alike if other != name)
        if not self._names[folded_name]:
            del self._names[folded_name]
        for folder in _folders(folded_name):
            self._folders[folder] -= 1
            if not self._folders[folder]:
                del self._folders[folder]

    def of(self, name: str) -> str:
        """Return the spelling of a name, or the one it would get if it were added next."""
        return self._spellings.get(name) or spelling(name, self._used)

    def overlap(self, name: str) -> str | None:
        """Return a name that can't coexist with this one because one would be a folder of the other, or None."""
        folded_name = fold(name)
        if folded_name in self._folders:
            return next(names[0] for other, names in self._names.items() if other.startswith(f"{folded_name}/"))
        return next((self._names[folder][0] for folder in _folders(folded_name) if folder in self._names), None)

    def as_dict(self) -> dict[str, str]:
        """Return the spelling of each name."""
        return dict(self._spellings)


def _folders(path: str) -> Iterator[str]:
    """Yield the folders above a path, innermost first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Return the spelling of each name; the names are in the order in which they were first stored."""
    return Spellings(names).as_dict()
