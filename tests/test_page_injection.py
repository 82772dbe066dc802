"""Any value sent by a client stays text: it adds no tag or attribute to any page.

A store is filled with one value in every field that a client can set, and every page is parsed strictly, with that
value in its query string and its path as well. With hostile values no page may have more parts than with harmless
ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from conftest import open_app
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS
from support.strict_html import NotStrict, StrictPage

MakeApp = Callable[..., Flask]
#: Words without markup: several, since a name with a space can't be the target of a link in Markdown; one, which can;
#: and an invalid query, so that the error page for queries is among the pages.
HARMLESS = ("plain words", "word", "word =")
HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</title></textarea></pre></style><script>alert(1)</script>",
    '" autofocus onfocus=alert(1) x="',
    "' onmouseover='alert(1)",
    "x onclick=alert(1) y",
    "<!-- -->",
    "<!--",
    "<![CDATA[<b>]]>",
    "&quot;><b id=x>",
    "&#34;&#62;<b>",
    "&lt;b&gt; &amp &",
    "{{ 7*7 }}{% endblock %}",
    "javascript:alert(1)//",
    "data:text/html,<b>",
    "\\\"'<b",
    "\u202e<i>\u2028",
    "<\ud83d\ude00>".encode("utf-16", "surrogatepass").decode("utf-16"),
)
#: The beginning of an address of this server or of the web.
GOOD_ADDRESS = re.compile(r"/(?!/)|#|https?://|mailto:|\?|\Z")


def fill(client: FlaskClient, value: str) -> str:
    """Set every field that a client can set, in every shape; return the name of the model and the artifacts."""

    def post(path: str, body: Any) -> Any:
        answer = client.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)
        return answer.get_json()

    def upload(name: str, content: bytes) -> None:
        query = {"name": name}
        answer = client.post("/api/w/runs/one/artifacts", query_string=query, data=content, content_type=OCTETS)
        assert answer.status_code == 200, answer.text

    name = value.replace("/", "|").replace("\\", "|").strip()
    common = {
        "experiment": value,
        "name": value,
        "created_by": value,
        "tags": {value: value, "url": f"https://x/{value}"},
    }
    post("/api/w/runs", {"id": "older", **common})
    post("/api/w/runs", {"id": "one", "parent_run_id": "older", **common})
    post("/api/w/runs", {"id": "child", "parent_run_id": "one", **common})
    params = {
        value: value,
        "list": [value, [value]],
        "object": {value: {value: value}},
        "long": value * 50,
        "lines": f"{value}\n{value}",
        "long list": [value] * 30,
        "short list": ["a", "b"],
        "number": 0.1234567890123,
        "url": f"https://x.example/{value}",
        "null": None,
    }
    post("/api/w/runs/one/params", params)
    post("/api/w/runs/older/params", {**params, value: value + value, "number": 2, "list": [value]})
    for run_id in ("one", "older"):
        points = [{"metrics": {value: step / 3, f"{value}/b": "NaN"}, "step": step} for step in range(4)]
        post(f"/api/w/runs/{run_id}/metrics", points)
    note = f"# {value}\n\n{value}\n\n- {value}\n\n> {value}\n\n[{value}]({name}) ![{value}]({name}) <{value}>\n\n"
    note += f"```{value}\n{value}\n```\n\n|{name}|b|\n|-|-|\n|{name}|c|\n\n*{value}* `{value}`\n"
    post("/api/w/runs/one/note", {"note": note})
    dataset = dict.fromkeys(("role", "hash", "source"), value)
    post("/api/w/runs/one/datasets", {**dataset, "features": [value], "n_rows": 3})
    post("/api/w/runs/one/datasets", {**dataset, "source": f"https://x.example/{value}"})
    upload(f"{name}/{name}.txt", value.encode())
    for ending, content in (
        ("md", note),
        ("csv", f'a,b\n"{value}",2\n'.replace('""', "")),
        ("json", f'{{"{name}": 1}}' if '"' not in name else "[1]"),
        ("html", value),
        ("svg", f"<svg>{value}</svg>"),
        ("png", "\x89PNG"),
    ):
        upload(f"{name}.{ending}", content.encode("latin-1" if ending == "png" else "utf-8"))
    for stage in ("staging", "production"):
        model = {"name": name, "run_id": "one", "artifact": f"{name}.md", "stage": stage, "description": value}
        post("/api/w/models", model)
    post("/api/w/models", {**model, "run_id": "one", "artifact": f"{name}.csv", "stage": "none"})
    post(f"/api/w/experiments/{quote(value, safe='')}", {"description": note})
    post("/api/w/runs/older/end", {"status": "failed", "error": value})
    return name


def list_pages(name: str, value: str) -> list[str]:
    """Return the paths of all pages, with the value wherever a URL accepts one."""
    model, experiment = quote(name, safe=""), quote(value, safe="")
    compare_query = urlencode({**dict.fromkeys(("baseline", "param", "metric"), value), "best": f"least:{value}"})
    list_queries = [
        *({key: value} for key in ("experiment", "status", "name", "created_by", "parent_run_id", "q", "order_by")),
        *({key: value} for key in ("columns", "spark", "limit", "offset", "ids", "nonsense", value)),
        {"tag": f"{value}={value}"},
        {f"tag.{value}": value},
        {f"param.{value}": value},
        {"columns": "tags.url,params.list,params.object,params.long,note,error,created_by,status,duration_ms,tags"},
        {"ids": "one,older"},
        {},
    ]
    chart_queries: list[dict[str, Any]] = [
        {"key": value},
        {"key": value, "x": "wall"},
        {"key": value, "x": value},
        {"key": [value, f"{value}/b"]},
    ]
    artifacts = [f"{name}/{name}.txt", *(f"{name}.{ending}" for ending in ("md", "csv", "json", "html", "svg", "png"))]
    return [
        *(
            f"{path}?{urlencode(query)}"
            for query in list_queries
            for path in ("/runs", "/search", f"/experiments/{experiment}")
        ),
        *(f"/experiments/{experiment}?{urlencode({'metric': value, 'direction': each})}" for each in ("max", value)),
        *(f"/runs/one/charts?{urlencode(query, doseq=True)}" for query in chart_queries),
        *(f"/compare/charts?ids=one,older&{urlencode(query, doseq=True)}" for query in chart_queries),
        *(f"/runs/one/artifacts/{quote(each)}" for each in artifacts),
        *(f"/runs/one/artifacts/{quote(artifacts[1])}?part={part}" for part in ("end", experiment)),
        "/runs/one",
        "/runs/older",
        "/runs/child",
        "/runs/one?all=params&x=wall",
        f"/runs/one?all={experiment}",
        "/compare?ids=one,older",
        f"/compare?ids=one,older&all=true&{compare_query}",
        f"/compare?ids={experiment}",
        f"/diff/{model}/1/3",
        f"/diff/{model}/2/3",
        f"/diff/{model}/{experiment}/2",
        "/experiments",
        f"/experiments?offset={experiment}",
        "/models",
        f"/models/{model}",
        f"/models/{experiment}",
        f"/runs/{experiment}",
        f"/{experiment}",
        f"/docs/{experiment}",
        "/docs",
        f"/login?{urlencode({'next': value})}",
    ]


def collect_parts(client: FlaskClient, name: str, value: str) -> set[tuple[str, str]]:
    """Return the tags and attributes of all pages; each is parsed strictly, and may have no unexpected links."""
    parts = set()
    for path in list_pages(name, value):
        answer = client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code < 500, (path, answer.text)
        if answer.status_code == 303:
            continue
        assert answer.mimetype == "text/html", path
        try:
            page = StrictPage(answer.text)
        except NotStrict as fault:
            raise AssertionError(f"{path}: {fault}") from fault
        parts |= page.parts()
        assert not [each for each in page.addresses() if not GOOD_ADDRESS.match(each)], path
    return parts


@pytest.fixture(scope="module")
def harmless_parts(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """The tags and attributes of all pages when clients have sent only harmless words."""
    parts: set[tuple[str, str]] = set()
    for value in HARMLESS:
        with open_app(tmp_path_factory.mktemp("harmless") / "store") as app:
            client = app.test_client()
            parts |= collect_parts(client, fill(client, value), value)
    return parts


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_value_in_every_field_stays_text_on_every_page(
    make_app: MakeApp, harmless_parts: set[tuple[str, str]], value: str
) -> None:
    client = make_app().test_client()
    name = fill(client, value)
    assert collect_parts(client, name, value) <= harmless_parts
    model = quote(name, safe="")
    expected_texts = {
        "/runs": value,
        "/runs/one": value,
        "/runs/older": value,
        f"/experiments/{quote(value, safe='')}": value,
    }
    expected_texts |= {
        f"/models/{model}": name,
        f"/diff/{model}/2/3": name,
        f"/runs/one/artifacts/{model}/{model}.txt": name,
    }
    for path, text in {
        **expected_texts,
        "/compare?ids=one,older": value,
        "/models": name,
        "/experiments": value,
    }.items():
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert text in StrictPage(answer.text).text, path
    assert not [part for part in harmless_parts if part[1].startswith("on")]


def test_title_of_a_structured_param_is_its_json(make_app: MakeApp) -> None:
    client = make_app().test_client()
    client.post("/api/w/runs", json={"experiment": "e", "id": "r"})
    value = {"list": ["a", "<b>", 'c"', "é"], "n": [1.5, None]}
    client.post("/api/w/runs/r/params", json=value)
    titles = [attributes.get("title") for _, attributes in StrictPage(client.get("/runs/r").text).elements]
    for each in value.values():
        assert json.dumps(each, ensure_ascii=False) in titles


@pytest.mark.parametrize(
    "html",
    [
        "<p title=x>a</p>",
        "<p title='x'>a</p>",
        '<p title="<b>">a</p>',
        '<p title="&">a</p>',
        '<p title="a" title="b">a</p>',
        '<p title="a"onclick="b">a</p>',
        "<p>a",
        "<p><b>a</p></b>",
        "a</p>",
        "a & b",
        "a < b",
        "<!-- a -->",
    ],
)
def test_strict_page_refuses_everything_outside_its_grammar(html: str) -> None:
    with pytest.raises(NotStrict):
        StrictPage(html)
