"""Previews of artifacts: the kind of an uploaded file by its name and its first bytes, and how it is shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chachaml_lite.web.markdown.blocks import RenderContext
from chachaml_lite.web.markdown.inline import Links
from chachaml_lite.web.pages.artifact.preview import HEAD_BYTES, MAX_COLUMNS, MAX_ROWS, Preview, image_type, preview_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SVG = b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'

CONTEXT = RenderContext(2, Links(artifacts="/runs/r1/artifacts/", images="/runs/r1/images/", folder="docs"))


def build_preview(name: str, content: bytes) -> Preview:
    """Return the preview as the page builds it, from the first bytes and whether they are all."""
    return preview_of(name, content[:HEAD_BYTES], is_end=len(content) <= HEAD_BYTES, context=CONTEXT)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.png", PNG, "image"),
        ("a.txt", PNG, "image"),
        ("a.jpg", b"\xff\xd8\xff\xe0rest", "image"),
        ("a", b"GIF89a\x00", "image"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image"),
        ("plot.SVG", SVG, "image"),
        ("plot.svg", b"\xef\xbb\xbf\n" + SVG, "image"),
        ("plot.xml", SVG, "text"),
        ("plot.svg", b"no picture", "text"),
        ("a.png", b"<script>alert(1)</script>", "text"),
        ("a.wav", b"RIFF\x00\x00\x00\x00WAVE", "binary"),
        ("page.html", b"<script>alert(1)</script>", "text"),
        ("log.txt", "größer\n".encode(), "text"),
        ("log.txt", "größer\n".encode("latin-1") * 30, "text"),
        ("log.txt", "\ufeffgrößer\n".encode("utf-16-le"), "text"),
        ("model.pkl", bytes(range(256)), "binary"),
        ("model.gz", b"\x1f\x8b\x08" + bytes(range(1, 256)) * 3, "binary"),
        ("zeros", b"\x00" * 100, "binary"),
        ("a.csv", b"a,b\n1,2\n", "table"),
        ("a.csv", b"only words here\nand here\n", "text"),
        ("a.csv", b"", "empty"),
        ("a.csv", b"\x00a,b", "binary"),
        ("a.tsv", b"a\tb\n1\t2\n", "table"),
        ("a.json", b'[{"a": 1}]', "table"),
        ("a.json", b'{"a": 1, "b": "x"}', "table"),
        ("a.json", b'{"a": [1]}', "text"),
        ("a.json", b"[1, 2]", "text"),
        ("a.json", b"{not json", "text"),
        ("a.json", b"[" * 50_000, "text"),
        ("a.json", b"1" * 10_000, "text"),
        ("a.jsonl", b'{"a": 1}\n{"b": 2}\n', "table"),
        ("a.jsonl", b"1\n2\n", "text"),
        ("a.md", b"# Title", "markdown"),
        ("README", b"# Title", "text"),
    ],
)
def test_preview_has_the_kind_of_the_file(name: str, content: bytes, kind: str) -> None:
    assert build_preview(name, content).kind == kind


def test_image_type_is_none_for_other_content() -> None:
    assert image_type("a.png", b"<svg/onload=alert(1)>") is None
    assert image_type("a.svg.html", SVG) is None
    assert image_type("a.svg", b" " * 5000 + b"<svg>") is None


def test_table_of_separated_values() -> None:
    table = build_preview("a.csv", b'id;name;score\r\n1;"a; ""b""\n<c>";0.5\r\n2;d\r\n').table
    assert table is not None
    assert table.head == ["id", "name", "score"]
    assert table.rows == [["1", 'a; "b"\n<c>', "0.5"], ["2", "d", ""]]
    assert table.numbers == [True, False, True]


def test_table_of_records_has_the_columns_of_all_records() -> None:
    table = build_preview("a.json", json.dumps([{"a": 1, "b": None}, {"c": [1, "x"]}, {"a": "é"}]).encode()).table
    assert table is not None
    assert table.head == ["a", "b", "c"]
    assert table.rows == [["1", "null", ""], ["", "", '[1, "x"]'], ["é", "", ""]]


def test_notes_count_the_rows_and_columns_shown() -> None:
    row = ",".join(map(str, range(300)))
    result = build_preview("a.csv", "\n".join([row] * 100).encode())
    assert result.table is not None
    assert len(result.table.head) == MAX_COLUMNS
    assert result.notes == (f"the first {len(result.table.rows)} rows", "the first 50 of 300 columns")
    for name, content in (
        ("a.csv", b"a,b\n" + b"1,2\n" * 1000),
        ("a.jsonl", b'{"a":1}\n' * 1000),
        ("a.json", json.dumps([{"a": 1}] * 1000).encode()),
    ):
        result = build_preview(name, content)
        assert result.table is not None
        assert (len(result.table.rows), result.notes) == (MAX_ROWS, ("the first 200 rows",))


def test_row_cut_off_at_the_end_is_left_out() -> None:
    long = b"x" * 1000
    table = build_preview("a.csv", b"a,b\n" + (b"1," + long + b"\n") * 100).table
    assert table is not None
    assert {row[0] for row in table.rows} == {"1"}
    assert {len(row[1]) for row in table.rows} == {300}
    records = build_preview("a.jsonl", (b'{"a":"' + long + b'"}\n') * 100).table
    assert records is not None
    assert len(records.rows) == HEAD_BYTES // 1009


def test_text_looks_as_in_a_terminal() -> None:
    log = b"\x1b[1;32mok\x1b[0m\n 10%\r 50%\r100%\r\n\x1b]0;title\x07plain\ttab\x00"[:-1] + "\u202egnp\x07".encode()
    assert build_preview("log", log).text == "ok\n100%\nplain\ttab\\u202egnp\\x07"


def test_preview_of_a_part_has_whole_characters_only() -> None:
    assert preview_of("log", b"\xa9\xa9 end", is_start=False, context=CONTEXT).text == " end"
    assert preview_of("a.csv", b"1,2\n3,4\n", is_start=False, context=CONTEXT).kind == "text"
    assert preview_of("a", "ab\u20ac".encode()[:-1], is_end=False, context=CONTEXT).text == "ab"


def test_markdown_links_lead_to_the_artifacts_beside_the_file() -> None:
    result = build_preview(
        "docs/a.md", b"![plot](img/a b.png) [data](../data.csv) [m](m.pkl)".replace(b"a b", b"a%20b")
    )
    assert '<img src="/runs/r1/images/docs/img/a%20b.png"' in result.html
    assert '<a href="/runs/r1/artifacts/docs/m.pkl"' in result.html
    assert "[data](../data.csv)" in result.html


_NAMES = st.sampled_from(["a.csv", "a.tsv", "a.json", "a.jsonl", "a.md", "a.svg", "a.png", "a", "a.txt"])


@given(_NAMES, st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
@example("a.csv", b'"' + b"a" * 70_000)
@example("a.csv", b"," * 64_000)
@example("a.json", b"[" * 11 + b"1," * 30_000 + b"1" + b"]" * 11)
@example("a.json", b'{"\\ud800": 1}')
@example("a.csv", b"\r\ra,b\r\n\r")
def test_preview_never_raises_and_is_never_much_larger_than_the_file(name: str, content: bytes) -> None:
    result = build_preview(name, content)
    characters = len(result.text) + len(result.html)
    if result.table is not None:
        characters += sum(len(cell) for row in [result.table.head, *result.table.rows] for cell in row)
        assert {len(row) for row in result.table.rows} <= {len(result.table.head)} == {len(result.table.numbers)}
    assert characters <= 40 * len(content) + 2000
