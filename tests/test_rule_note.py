"""Notes: any Markdown becomes HTML of a few safe tags, in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from string import punctuation
from unittest.mock import patch

import pytest
from flask.testing import FlaskClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chachaml_lite.web.markdown import blocks
from chachaml_lite.web.markdown.blocks import MAX_CHARACTERS, RenderContext, render_markdown
from chachaml_lite.web.markdown.inline import Links

NOTE = RenderContext(3, Links(artifacts="/runs/r1/artifacts/", images="/runs/r1/images/"))
FILE = RenderContext(2, replace(NOTE.links, folder="docs", keeps_lines=False))

#: The tags of the output, and the attributes that each may have.
ALLOWED_TAGS = {
    **{f"h{level}": set() for level in range(2, 7)},
    **dict.fromkeys(("p", "br", "hr", "blockquote", "ul", "code", "em", "strong", "del"), set()),
    **dict.fromkeys(("table", "thead", "tbody", "tr"), set()),
    "ol": {"start"},
    "li": {"class"},
    "pre": {"tabindex"},
    "th": {"class"},
    "td": {"class"},
    "a": {"href", "rel"},
    "img": {"src", "alt", "loading"},
    "div": {"class", "tabindex", "role", "aria-label"},
}
_VOID = {"br", "hr", "img"}
_HREF = re.compile(r"(?:https?://|mailto:|/(?!/)|#)[^\s\"'<>\\]*\Z", re.IGNORECASE)
_SRC = re.compile(r"/(?!/)[^\s\"'<>\\]*\Z")


class StrictReader(HTMLParser):
    """Reads HTML and fails on forbidden tags and attributes, unclosed tags and unsafe addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= ALLOWED_TAGS[tag]
        assert not (tag == "a" and "a" in self.open), "a link in a link"
        values = dict(attrs)
        for name, pattern in (("href", _HREF), ("src", _SRC)):
            if name in values:
                assert pattern.match(values[name] or "")
                self.addresses.append(values[name] or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    handle_pi = unknown_decl = handle_comment

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("# One", "<h3>One</h3>"),
        ("## Two #", "<h3>Two</h3>"),
        ("###### Six", "<h3>Six</h3>"),
        ("# One\n### Three\n## Two\n##### Five", "<h3>One</h3>\n<h4>Three</h4>\n<h4>Two</h4>\n<h5>Five</h5>"),
        ("# 1\n## 2\n### 3\n#### 4\n##### 5", "<h3>1</h3>\n<h4>2</h4>\n<h5>3</h5>\n<h6>4</h6>\n<h6>5</h6>"),
        ("#none", "<p>#none</p>"),
        ("Title\n=====\nText\n---\n", "<h3>Title</h3>\n<h4>Text</h4>"),
        ("a\nb\n\nc", "<p>a<br>\nb</p>\n<p>c</p>"),
        ("*a* _b_ **c** __d__ ~~e~~ ***f***", "<p><em>a</em> <em>b</em> <strong>c</strong> <strong>d</strong> "
         "<del>e</del> <strong><em>f</em></strong></p>"),
        ("**a *b* c** *d **e***", "<p><strong>a <em>b</em> c</strong> <em>d <strong>e</strong></em></p>"),
        ("snake_case_name 2 * 3 * 4 **open", "<p>snake_case_name 2 * 3 * 4 **open</p>"),
        (r"\*a\* \_ \# \<", "<p>*a* _ # &lt;</p>"),
        ("`a*b*` ``c`d`` `open", "<p><code>a*b*</code> <code>c`d</code> `open</p>"),
        ("[a](http://b.example/c_d_e)", '<p><a href="http://b.example/c_d_e" rel="noopener noreferrer">a</a></p>'),
        ('[a](/runs "t") [b](#c)', '<p><a href="/runs" rel="noopener noreferrer">a</a> '
         '<a href="#c" rel="noopener noreferrer">b</a></p>'),
        ("[*a*](<mailto:x@y.example>)", '<p><a href="mailto:x@y.example" rel="noopener noreferrer"><em>a</em></a></p>'),
        ("see https://a.example/x_(y). <https://b.example>", '<p>see <a href="https://a.example/x_(y)" '
         'rel="noopener noreferrer">https://a.example/x_(y)</a>. <a href="https://b.example" '
         'rel="noopener noreferrer">https://b.example</a></p>'),
        ("[the model](models/a%20b.pkl)",
         '<p><a href="/runs/r1/artifacts/models/a%20b.pkl" rel="noopener noreferrer">the model</a></p>'),
        ("![a *plot*](./plot.png)", '<p><img src="/runs/r1/images/plot.png" alt="a *plot*" loading="lazy"></p>'),
        ("[![p](p.png)](http://a.example)", '<p><a href="http://a.example" rel="noopener noreferrer">'
         '<img src="/runs/r1/images/p.png" alt="p" loading="lazy"></a></p>'),
        ("![a *b*](http://a.example/x.png)",
         '<p><a href="http://a.example/x.png" rel="noopener noreferrer">a *b*</a></p>'),
        ("- a\n- b\n  - c\n* d", "<ul>\n<li>a</li>\n<li>b\n<ul>\n<li>c</li>\n</ul></li>\n</ul>\n"
         "<ul>\n<li>d</li>\n</ul>"),
        ("- a\n\n- b", "<ul>\n<li><p>a</p></li>\n<li><p>b</p></li>\n</ul>"),
        ("3. a\n4. b\nlazy", '<ol start="3">\n<li>a</li>\n<li>b<br>\nlazy</li>\n</ol>'),
        ("in\n2024. that was", "<p>in<br>\n2024. that was</p>"),
        ("- [ ] a\n- [x] b", '<ul>\n<li class="task">☐ a</li>\n<li class="task">☑ b</li>\n</ul>'),
        ("> a\n> > b\nlazy", "<blockquote>\n<p>a</p>\n<blockquote>\n<p>b<br>\nlazy</p>\n</blockquote>\n</blockquote>"),
        ("```python\n<b> *x*\n```", '<pre tabindex="0"><code>&lt;b&gt; *x*</code></pre>'),
        ("~~~\nopen", '<pre tabindex="0"><code>open</code></pre>'),
        ("---\n***\n_ _ _", "<hr>\n<hr>\n<hr>"),
        ("|a|b|\n|-|-:|\n|1|2|\n|3|\n|4|5|6|\nend",
         '<div class="scroll" tabindex="0" role="region" aria-label="Table">\n'
         '<table>\n<thead>\n<tr><th>a</th><th class="number">b</th></tr>\n</thead>\n<tbody>\n'
         '<tr><td>1</td><td class="number">2</td></tr>\n<tr><td>3</td></tr>\n'
         '<tr><td>4</td><td class="number">5</td></tr>\n'
         "</tbody>\n</table>\n</div>\n<p>end</p>"),
        (r"a \| b" + "\n|-|-|", "<p>a | b<br>\n|-|-|</p>"),
        ("", ""),
    ],
)  # fmt: skip
def test_markdown_is_rendered_as(source: str, html: str) -> None:
    output = render_markdown(source, NOTE)
    assert output.rstrip("\n") == html
    StrictReader(output)


def test_file_joins_its_lines_and_a_note_keeps_them() -> None:
    assert render_markdown("a\nb  \nc\\\nd", FILE) == "<p>a\nb<br>\nc<br>\nd</p>\n"
    assert render_markdown("a\nb  \nc\\\nd", NOTE) == "<p>a<br>\nb<br>\nc<br>\nd</p>\n"


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<!-- --><iframe src=javascript:alert(1)>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](java\tscript:alert(1))",
        "[a](java&#10;script:alert(1))",
        "[a](&#106;avascript:alert(1))",
        "[a](\x01javascript:alert(1))",
        "[a](%6aavascript:alert(1))",
        "[a](<javascript:alert(1)>)",
        "[a]( javascript:alert(1))",
        "<javascript:alert(1)>",
        "[a](vbscript:x) [b](data:text/html;base64,PHNjcmlwdD4=) [c](file:///etc/passwd)",
        "[a](//evil.example) [b](/\\evil.example) [c](\\\\evil.example) [d](https:/\\evil.example)",
        "[a](http://x\" onmouseover=\"alert(1))",
        "[a](http://x' onmouseover='alert(1))",
        "[a](/x\"onmouseover=alert(1))",
        '[a](http://x "t\\" onmouseover=alert(1)")',
        "http://x\"onmouseover=alert(1)",
        "<http://x\"onmouseover=alert(1)>",
        "![a](http://evil.example/x.png)",
        "![a](//evil.example/x.png)",
        "![a](javascript:alert(1))",
        "![a](data:image/svg+xml,<svg/onload=alert(1)>)",
        "![\" onerror=alert(1) x=\"](p.png)",
        "![a](p.png\" onerror=\"alert(1))",
        "![a](../../api/export) ![b](a/../b.png) [c](../login)",
        "[a](..%2f..%2flogin) [b](%2e%2e/x) [c](%2fx) [d](a%00b) [e](%5cx)",
        "`<b>` ``` <i> ```",
        "```html\n<script>alert(1)</script>\n```\n</code></pre><script>",
        "```\"onmouseover=alert(1)\nx\n```",
        "| <b> | \"x\" |\n|---|---|\n| <script> | [a](javascript:x) |",
        "# <h1 onclick=alert(1)>",
        "1\"onclick=x. a",
        "*<b>* **[a](javascript:x)**",
        "[<img src=x onerror=alert(1)>](http://a.example)",
        "[a][1]\n\n[1]: javascript:alert(1)",
        "\u202e\x00\x1b[31m\ud800",
    ],
)  # fmt: skip
def test_hostile_source_never_becomes_active_html(source: str) -> None:
    reader = StrictReader(render_markdown(source, NOTE))
    for address in reader.addresses:
        assert address.startswith(("/runs/r1/", "http://a.example", "http://evil.example/")) or address == "http://x"


_PIECES = """# |- |1. |> |```|[x](|![|](|http://a.b|javascript:|<script>|&amp;|**|__|***|~~|é|[ ] |](/x)|](x.png)|](<|>)
a|"t"|b c|    |\t|\0"""
_WORDS = st.sampled_from([*punctuation, "\n", "\n\n", "  \n", "~~~\n", "|-|-|\n", "| ", *_PIECES.split("|")])


@given(
    st.lists(_WORDS, max_size=60).map("".join) | st.text(max_size=200), st.sampled_from([NOTE, FILE, RenderContext(3)])
)
@example("[a [b](/x) c](/y)", NOTE)
@example("![a [b](/x)](y.png)", NOTE)
@example("*a [b* c](/x) d*", NOTE)
@example("***a** b*", NOTE)
def test_output_has_only_allowed_tags_each_closed_for_any_source(source: str, context: RenderContext) -> None:
    StrictReader(render_markdown(source, context))


_GRAMMAR = st.sampled_from(
    ["\\", "`", "``", "```", "\n```", "\\```", "a", " ", "\n", "*", "[", "](x)", "|", "\ud800", "%"]
)


@given(st.lists(_GRAMMAR, max_size=25).map("".join), st.sampled_from([NOTE, FILE, RenderContext(3)]))
@example("\\``", NOTE)
@example("\\``a`", NOTE)
@example("a\\```\nb", NOTE)
@example("[a](\ud800)", NOTE)
@settings(max_examples=500)
def test_renderer_never_fails_on_escapes_and_backticks(source: str, context: RenderContext) -> None:
    with patch.object(blocks.log, "exception") as log_exception:
        StrictReader(render_markdown(source, context))
    assert not log_exception.called


def test_code_span_after_escaped_tick_begins_with_the_rest_of_its_run() -> None:
    assert render_markdown("\\``a`", NOTE) == "<p>`<code>a</code></p>\n"


def test_pages_show_the_plain_text_if_the_renderer_fails(
    client: FlaskClient, log_run: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    """Each page that renders Markdown shows the text as it is, and the log contains it."""
    text = "<b>the note</b>\nthat breaks"
    run_id = log_run(artifacts={"a.md": text.encode()})
    assert client.post(f"/api/w/runs/{run_id}/note", json={"note": text}).status_code == 200
    assert client.post("/api/w/experiments/iris", json={"description": text}).status_code == 200
    render_markdown.cache_clear()
    with patch.object(blocks, "render_inline", side_effect=KeyError(1)):
        for path in (f"/runs/{run_id}", f"/runs/{run_id}/artifacts/a.md", "/experiments", "/experiments/iris"):
            caplog.clear()
            answer = client.get(path, headers={"Accept": "text/html"})
            render_markdown.cache_clear()
            assert answer.status_code == 200
            assert "&lt;b&gt;the note&lt;/b&gt;" in answer.text
            assert "<b>the note" in caplog.text


@given(st.text(alphabet=st.characters(categories=["L", "N"], include_characters=" .,!?()"), max_size=100))
def test_plain_words_stay_unchanged(words: str) -> None:
    source = "x" + " ".join(words.split())
    assert StrictReader(render_markdown(source, NOTE)).text == source + "\n"


_LONG = 20_000


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "[",
            "[a](b",
            "![](<",
            '[](a "',
            "]((",
            "[[](/a)",
            "[x](/a) ",
            "http://",
            "<http://",
            "(",
            "(a(",
            "\\",
            " ",
            "a  ",
        ),
        *(
            "*a ",
            "_a_*b*",
            "**a*",
            "a*",
            "~~a",
            "***a",
            "_ ",
            "`",
            "`a``b```c",
            "```\n",
            "|-",
            "a|b\n",
            "|\n",
            "x|y\n-|-|-\n",
        ),
        *("> ", "- ", "* ", "- - a\n", "> - ", "1. ", "- a\n\n", "#", "=\n", "-\n\n"),
    ],
)
def test_output_size_is_linear_in_the_source(piece: str) -> None:
    source = piece * (_LONG // len(piece))
    for each in (source, "a|b\n-|-\n" + source):
        output = render_markdown(each, RenderContext(3))
        assert len(output) < 12 * len(each)
        StrictReader(output)


def test_source_over_the_limit_is_truncated_with_a_notice() -> None:
    output = render_markdown("a" * (MAX_CHARACTERS + 1), NOTE)
    assert output.endswith("<p><em>The first 100,000 of 100,001 characters.</em></p>\n")
