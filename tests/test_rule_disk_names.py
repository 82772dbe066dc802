"""The spelling of names on disk: lossless, distinct, and valid on every file system."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chachaml_lite.store.disk_names import Spellings, decode, fits, fold, is_device_name, spelling, spellings

TABLE = {
    "model.pkl": "model.pkl",
    "checkpoints/step_50.pt": "checkpoints/step_50.pt",
    "größe 大.bin": "größe 大.bin",
    "a:b": "a%3Ab",
    'a"b<c>d|e*f?g': "a%22b%3Cc%3Ed%7Ce%2Af%3Fg",
    "100%": "100%25",
    "%41": "%2541",
    ".hidden": "%2Ehidden",
    "...": "%2E.%2E",
    "dot.": "dot%2E",
    "space ": "space%20",
    " space": " space",
    "a./b ": "a%2E/b%20",
    "CON": "%43ON",
    "nul.txt": "%6Eul.txt",
    "com1/lpt9.log": "%63om1/%6Cpt9.log",
    "COM¹": "%43OM¹",
    "aux .txt": "%61ux .txt",
    "console": "console",
    "com10": "com10",
    "null": "null",
}
#: The characters that NTFS or GitHub's artifact upload forbids anywhere in a name, and the device names of Windows.
FORBIDDEN = re.compile(r'[\x00-\x1f":<>|*?\\]')
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE | re.DOTALL)

# Names built of pieces that are likely to collide: case, normalisation, encoded characters, and such as look encoded.
PIECES = st.sampled_from(
    [
        *"aAbkKsSiI%.:?$ éÉßẞıİſﬁÅιςσ大\u212a\u212b\u0301\u0345",
        *("%41", "%61", "41", "e\u0301", "ss", "SS", "fi", "CON", "con", "nul", "com1", "Com1", ".txt"),
    ]
)
SEGMENTS = (st.lists(PIECES, min_size=1, max_size=5).map("".join) | st.text(min_size=1, max_size=8)).filter(
    lambda text: text not in (".", "..") and not re.search(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", text)
)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize(("name", "on_disk"), TABLE.items())
def test_spelling_encodes_only_what_some_file_system_forbids(name: str, on_disk: str) -> None:
    assert spelling(name) == on_disk
    assert decode(on_disk) == name


@settings(deadline=None, max_examples=300)
@given(NAMES)
def test_spelling_decodes_to_the_name_and_contains_nothing_forbidden(name: str) -> None:
    for taken_spellings in (
        (),
        {fold(spelling(name))},
        {fold(spelling(name)), fold(spelling(name, {fold(spelling(name))}))},
    ):
        spelling_of_name = spelling(name, taken_spellings)
        assert decode(spelling_of_name) == name
        assert spelling_of_name.count("/") == name.count("/")
        for segment in spelling_of_name.split("/"):
            assert segment
            assert not FORBIDDEN.search(segment)
            assert not segment.startswith(".")
            assert segment[-1] not in ". "
            assert not DEVICE.fullmatch(segment)
            assert not is_device_name(segment)


@settings(deadline=None, max_examples=300)
@given(st.lists(NAMES, unique=True, max_size=12))
@example(["a", "A", "%41", "%61"])
@example(["é", "e\u0301", "É", "E\u0301"])
@example(["ß", "ẞ", "ss", "SS"])
@example(["a/x", "A/x", "a/X", "A/X"])
def test_names_get_distinct_files_where_case_or_normalisation_is_folded(names: list[str]) -> None:
    by_name = spellings(names)
    assert list(by_name) == names
    assert {name: decode(each) for name, each in by_name.items()} == {name: name for name in names}
    for fold_with in (
        fold,
        str.lower,
        str.upper,
        str.casefold,
        lambda text: unicodedata.normalize("NFC", text),
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold()),
    ):
        assert len({fold_with(each) for each in by_name.values()}) == len(names)


@settings(deadline=None)
@given(st.lists(NAMES, unique=True, max_size=8))
def test_spelling_of_a_name_stays_when_others_are_added(names: list[str]) -> None:
    all_spellings = spellings(names)
    for count in range(len(names)):
        assert spellings(names[:count]) == {name: all_spellings[name] for name in names[:count]}
    assert spellings([*names, *names]) == all_spellings


@pytest.mark.parametrize(
    ("on_disk", "does_fit"),
    [
        ("a" * 255, True),
        ("a" * 256, False),
        ("é" * 127, True),
        ("é" * 128, False),
        ("a" * 255 + "/" + "b" * 255, True),
        ("a/" + "b" * 256, False),
        ("/".join(["a" * 199] * 4), True),
        ("/".join(["a" * 200] * 4), False),
    ],
)
def test_segment_is_limited_to_255_bytes_and_a_path_to_800(on_disk: str, does_fit: bool) -> None:
    assert fits(on_disk) is does_fit


def test_decode_raises_for_a_folder_of_another_program() -> None:
    with pytest.raises(UnicodeDecodeError):
        decode("%FF")


@given(st.lists(st.text("aA/bé", min_size=1, max_size=6).filter(lambda name: all(name.split("/"))), max_size=8))
def test_overlap_finds_the_same_as_comparing_all_names(names: list[str]) -> None:
    *before, name = [*names, "a/b"]
    others = {fold(other) for other in before} - {fold(name)}
    overlapping = [one for one in others if one.startswith(f"{fold(name)}/") or fold(name).startswith(f"{one}/")]
    overlap = Spellings(before).overlap(name)
    assert (overlap is not None) == bool(overlapping)
    assert overlap is None or fold(overlap) in overlapping


@given(
    st.lists(st.tuples(st.sampled_from(["a", "A", "a/b", "a/B", "a/b/c", "b", "a/b/d"]), st.booleans()), max_size=12)
)
def test_removed_names_overlap_with_no_other(steps: list[tuple[str, bool]]) -> None:
    spellings, living = Spellings(), set[str]()
    for name, is_removed in steps:
        spellings.add(name)
        living.add(name)
        if is_removed:
            spellings.remove(name)
            living.discard(name)
    names = list(dict.fromkeys(name for name, _ in steps))
    expected = Spellings(names, living=living)
    assert spellings.as_dict() == expected.as_dict()
    for name in ("a", "b", "a/b", "a/b/c", "a/x", "b/x", "A/B/C/d"):
        assert (spellings.overlap(name) is None) == (expected.overlap(name) is None), name
        overlap = spellings.overlap(name)
        assert overlap is None or overlap in living
