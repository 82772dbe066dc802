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
#: What NTFS or GitHub's artifact upload refuses anywhere in a name, and what Windows takes for a device.
REFUSED = re.compile(r'[\x00-\x1f":<>|*?\\]')
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE | re.DOTALL)

# Pieces that matter make names that matter: case, normalisation, what is encoded, and what looks encoded.
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


@pytest.mark.parametrize(("name", "spelled"), TABLE.items())
def test_name_is_spelled_plainly_but_for_what_somebody_refuses(name: str, spelled: str) -> None:
    assert spelling(name) == spelled
    assert decode(spelled) == name


@settings(deadline=None, max_examples=300)
@given(NAMES)
def test_spelling_gives_the_name_back_and_holds_nothing_that_is_refused(name: str) -> None:
    for taken in ((), {fold(spelling(name))}, {fold(spelling(name)), fold(spelling(name, {fold(spelling(name))}))}):
        spelled = spelling(name, taken)
        assert decode(spelled) == name
        assert spelled.count("/") == name.count("/")
        for segment in spelled.split("/"):
            assert segment
            assert not REFUSED.search(segment)
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
def test_no_two_names_share_a_file_where_case_or_normalisation_is_folded(names: list[str]) -> None:
    spelled = spellings(names)
    assert list(spelled) == names
    assert {name: decode(each) for name, each in spelled.items()} == {name: name for name in names}
    for folded in (
        fold,
        str.lower,
        str.upper,
        str.casefold,
        lambda text: unicodedata.normalize("NFC", text),
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold()),
    ):
        assert len({folded(each) for each in spelled.values()}) == len(names)


@settings(deadline=None)
@given(st.lists(NAMES, unique=True, max_size=8))
def test_name_keeps_its_spelling_when_others_come(names: list[str]) -> None:
    whole = spellings(names)
    for count in range(len(names)):
        assert spellings(names[:count]) == {name: whole[name] for name in names[:count]}
    assert spellings([*names, *names]) == whole


@pytest.mark.parametrize(
    ("spelled", "does_fit"),
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
def test_segment_has_255_bytes_and_a_path_800(spelled: str, does_fit: bool) -> None:
    assert fits(spelled) is does_fit


def test_folder_that_we_did_not_name_has_no_name() -> None:
    with pytest.raises(UnicodeDecodeError):
        decode("%FF")


@given(st.lists(st.text("aA/bé", min_size=1, max_size=6).filter(lambda name: all(name.split("/"))), max_size=8))
def test_names_that_overlap_are_found_as_by_comparing_all_of_them(names: list[str]) -> None:
    *before, name = [*names, "a/b"]
    others = {fold(other) for other in before} - {fold(name)}
    overlapping = [one for one in others if one.startswith(f"{fold(name)}/") or fold(name).startswith(f"{one}/")]
    overlap = Spellings(before).overlap(name)
    assert (overlap is not None) == bool(overlapping)
    assert overlap is None or fold(overlap) in overlapping


@given(
    st.lists(st.tuples(st.sampled_from(["a", "A", "a/b", "a/B", "a/b/c", "b", "a/b/d"]), st.booleans()), max_size=12)
)
def test_names_that_were_removed_stand_in_nobody_s_way(steps: list[tuple[str, bool]]) -> None:
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
