"""The query grammar: parsing, matching runs, and the errors for queries that can't be parsed."""

from __future__ import annotations

import math
import re
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chachaml_lite.errors import InvalidInput
from chachaml_lite.tracking.index.run_entry import Run
from chachaml_lite.tracking.query import conditions
from chachaml_lite.tracking.query.conditions import All, Comparison, Condition, Either, Not, Texts
from chachaml_lite.tracking.query.fields import Field, parse_field
from chachaml_lite.tracking.query.grammar import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES, BadQuery, parse_query
from chachaml_lite.tracking.query.times import length_ms, time_ms

NOW = 1_800_000_030_500  # half a minute into a minute, and a little more
MINUTE = 1_800_000_000_000


def make_run(**parts: Any) -> Run:
    """A run for conditions, without a store."""
    metrics = {key: SimpleNamespace(last=value) for key, value in parts.pop("metrics", {}).items()}
    start, end = parts.get("start_time", 0), parts.get("end_time")
    stand_in = SimpleNamespace(
        id=parts.get("id", "one"),
        meta={"experiment": "iris", "status": "running", "start_time": start, **parts},
        params=parts.pop("params", {}),
        summary=metrics,
        artifacts=parts.pop("artifacts", {}),
        last_write_time=parts.get("last_write_time", 0),
        duration_ms=None if end is None else end - start,
    )
    return cast(Run, stand_in)


def holds(query: str, **parts: Any) -> bool:
    return parse_query(query, NOW).test(Texts())(make_run(**parts))


def to_lists(condition: Condition) -> Any:
    """Convert a condition to nested lists."""
    if isinstance(condition, Comparison):
        texts = [value.text for value in condition.values]
        return [condition.field.kind, condition.field.name, condition.op, *texts]
    if isinstance(condition, Not):
        return ["not", to_lists(condition.condition)]
    assert isinstance(condition, (All, Either))
    return ["and" if isinstance(condition, All) else "or", *map(to_lists, condition.conditions)]


def metric(key: str, op: str = ">", value: str = "1") -> list[str]:
    return ["metrics", key, op, value]


PARSE_CASES: list[tuple[str, Any]] = [
    ("metrics.acc > 1", metric("acc")),
    ("metrics.acc>1", metric("acc")),
    (" \tmetrics.acc\n>\u00a01 ", metric("acc")),
    ("metric.acc gt 1", metric("acc")),
    ("metrics.val/loss > 1", metric("val/loss")),
    ("metrics.a.b > 1", metric("a.b")),
    ('metrics."a b" > 1', metric("a b")),
    ("metrics.'recall@iou>0.5' > 1", metric("recall@iou>0.5")),
    (r'metrics."a \"b\" \\ \n" > 1', metric(r"a \"b\" \ \n".replace('\\"', '"'))),
    ("metrics.größe > 1", metric("größe")),
    ("metrics.and > 1", metric("and")),
    ("metrics.acc <= -1e-3", metric("acc", "<=", "-1e-3")),
    ("metrics.acc == .5", metric("acc", "==", ".5")),
    ("metrics.acc != NaN", metric("acc", "!=", "NaN")),
    ("metrics.acc in (1, 2,3)", ["metrics", "acc", "in", "1", "2", "3"]),
    ('name ~ "base"', ["run", "name", "~", "base"]),
    ("name !~ base", ["run", "name", "!~", "base"]),
    ("name = 'it is \"so\"'", ["run", "name", "=", 'it is "so"']),
    ('name = "and"', ["run", "name", "=", "and"]),
    ('name = ""', ["run", "name", "=", ""]),
    ("status not in (failed)", ["run", "status", "not in", "failed"]),
    ("duration > 10min", ["run", "duration_ms", ">", "10min"]),
    ("tags.os = linux", ["tags", "os", "=", "linux"]),
    ("tag.os = linux", ["tags", "os", "=", "linux"]),
    ("param.a_b = c-d/e:f", ["params", "a_b", "=", "c-d/e:f"]),
    ("id = a and id = b or id = c", ["or", ["and", *[["run", "id", "=", x] for x in "ab"]], ["run", "id", "=", "c"]]),
    ("id = a AND (id = b Or id = c)", ["and", ["run", "id", "=", "a"], ["or", *[["run", "id", "=", x] for x in "bc"]]]),
    ("not id = a and id = b", ["and", ["not", ["run", "id", "=", "a"]], ["run", "id", "=", "b"]]),
    ("not (id = a)", ["not", ["run", "id", "=", "a"]]),
    ("not not id = a", ["run", "id", "=", "a"]),
    ("((id = a))", ["run", "id", "=", "a"]),
]


@pytest.mark.parametrize(("text", "expected"), PARSE_CASES, ids=[text for text, _ in PARSE_CASES])
def test_query_is_parsed_as(text: str, expected: Any) -> None:
    assert to_lists(parse_query(text, NOW)) == expected


#: The run that the queries of the next table are applied to.
PARTS: dict[str, Any] = {
    "id": "20261123-x",
    "experiment": "iris",
    "name": "Baseline Größe",
    "status": "completed",
    "start_time": MINUTE - 3_600_000,
    "end_time": MINUTE - 3_500_000,
    "last_write_time": MINUTE,
    "tags": {"os": "linux", "n": 3, "best": True, "text": "0.50"},
    "params": {
        "lr": 0.01,
        "text": "0.01",
        "seed": 2**63 + 1,
        "layers": [1, 2],
        "none": None,
        "opt": "adam",
        "on": False,
    },
    "metrics": {"acc": 0.9, "nan": math.nan, "inf": math.inf, "count": 5},
    "artifacts": {"model.pkl": ()},
}

MATCH_CASES = {
    # metrics: the latest value, as a number
    "metrics.acc > 0.89": True,
    "metrics.acc > 0.9": False,
    "metrics.acc >= .9": True,
    "metrics.acc = 9e-1": True,
    "metrics.acc != 0.9": False,
    "metrics.count = 5.0": True,
    "metrics.count in (4, 5)": True,
    "metrics.count not in (4, 5)": False,
    "metrics.inf > 1e308": True,
    "metrics.inf = Infinity": True,
    "metrics.inf < -Infinity": False,
    # a NaN satisfies nothing but !=
    "metrics.nan = NaN": False,
    "metrics.nan != NaN": True,
    "metrics.nan != 1": True,
    "metrics.nan <= 1": False,
    "metrics.nan > 1": False,
    "metrics.nan not in (NaN, 1)": True,
    # a missing value satisfies nothing; not inverts that
    "metrics.no = 1": False,
    "metrics.no != 1": False,
    "not metrics.no = 1": True,
    "metrics.no not in (1)": False,
    "params.no !~ a": False,
    "tags.no != a": False,
    "created_by != maria": False,
    "not created_by = maria": True,
    "error = a or error != a": False,
    # params and tags: = as ?param.KEY= finds them
    "params.lr = 0.01": True,
    "params.lr = 1e-2": True,
    'params.lr = "0.01"': True,
    "params.lr != 0.01": False,
    "params.text = 0.01": True,
    "params.text = 0.010": False,
    "params.seed = 9223372036854775809": True,
    "params.seed = 9223372036854775808": False,
    "params.layers = '[1, 2]'": True,
    "params.none = null": True,
    "params.none != 1": True,
    "params.on = false": True,
    "params.on = 0": False,
    "params.on < 1": False,
    "tags.best = true": True,
    "tags.n in (2, 3)": True,
    "tags.os not in (linux, mac)": False,
    "tags.os not in (mac)": True,
    # order: numbers compare with numbers and numeric text; text with text
    "params.lr <= 0.01": True,
    "params.lr < 0.01": False,
    "params.text <= 0.01": True,
    "tags.text > 0.4": True,
    'params.lr > "0"': False,
    "params.opt > adal": True,
    "params.opt > adan": False,
    "params.opt > 1": False,
    "params.none < 1": False,
    # contains, ignoring case
    "name ~ base": True,
    'name ~ "LINE GRÖSSE"': True,
    'name ~ "line größe"': True,
    'name ~ "line GRÖßE"': True,
    "name !~ base": False,
    "name !~ other": True,
    'name ~ ""': True,
    "params.layers ~ 2": True,
    "params.lr ~ 0.0": True,
    "status ~ compl": True,
    # own fields
    "experiment = iris": True,
    "experiment = Iris": False,
    "status in (completed, failed)": True,
    "status != completed": False,
    "id < 2027": True,
    "artifacts = 1": True,
    "artifacts > 1": False,
    "duration = 100s": True,
    "duration < 2min": True,
    "duration_ms >= 1.5h": False,
    # times
    "start_time = -1h": True,
    "start_time > -61min": True,
    "start_time < -1d": False,
    "last_write_time >= -0s": True,
    'start_time > "2026-01-01"': True,
    "start_time < 2027": False,
    "start_time < 2027-01-15T07:00:00.001Z": True,
    "start_time < 2027-01-15T07:00:00Z": False,
    "start_time = 2027-01-15T09:00+02:00": True,
    'start_time = "2027-01-15 07:00"': True,
    "start_time = 1799996400000": True,
    # combined
    "metrics.acc > 0.5 and params.lr < 1 and name ~ base": True,
    "metrics.acc > 0.5 and params.lr > 1": False,
    "metrics.acc > 1 or params.lr < 1": True,
    "not (metrics.acc > 1 or params.lr > 1)": True,
}


@pytest.mark.parametrize(("query", "expected"), MATCH_CASES.items())
def test_query_matches_the_run(query: str, expected: bool) -> None:
    assert holds(query, **{**PARTS, "params": dict(PARTS["params"])}) is expected


ERROR_CASES = [
    # the part that can't be parsed, between » and «, and a part of the reason
    ("»«", "empty"),
    ("   »«", "empty"),
    ("»accuracy« > 0.9", "metrics.accuracy"),
    ("»acc.x« > 0.9", "not a field"),
    ("»metrics.« > 0.9", "empty"),
    ('»metrics.""« > 0.9', "empty"),
    ('»metrics."a\tb"« > 0.9', "control character"),
    (f"»metrics.{'a' * 251}« > 1", "251 characters"),
    ("metrics.acc »«", "operator"),
    ("metrics.acc »0.9«", "operator"),
    ("metrics.acc »is« 0.9", "operator"),
    ("metrics.acc »not« ~ 0.9", "operator"),
    ("metrics.acc >»«", "expected a value"),
    ("metrics.acc > »and« id = a", "expected a value"),
    ("metrics.acc > »>« 0.9", "expected a value"),
    ("metrics.acc > »high«", "number"),
    ("metrics.acc > »1e400«", "number"),
    ("metrics.acc > »1_0«", "number"),
    ("metrics.acc > »٣«", "number"),
    ('metrics.acc > »"0.9"«', "without quotes"),
    ("metrics.acc »~« 0", "is for text"),
    ("start_time »~« 2026", "is for text"),
    ("metrics.acc > 0.9 »metrics«", "and, or"),
    ("metrics.m > »1e« 5", "number"),
    ("metrics.acc > 0.9 and »«", "condition"),
    ("»and« metrics.acc > 0.9", "condition"),
    ('»"acc"« > 0.9', "condition"),
    ("»0.9« < metrics.acc", "not a field"),
    ("(id = a»«", "expected )"),
    ("(id = a »id« = b)", "expected )"),
    ("id = a»)«", "closes nothing"),
    ("id = »(« a)", "expected a value"),
    ("»)«", "condition"),
    ("(»)«", "condition"),
    ("id in »a«", "expected ("),
    ("id in (»)«", "expected a value"),
    ("id in (a»«", "expected )"),
    ("id in (a,»)«", "expected a value"),
    ("id in (a »b«)", "expected )"),
    ("status = »done«", "running, completed, failed"),
    ("status in (failed, »done«)", "running, completed, failed"),
    ("start_time > »yesterday«", "-24h"),
    ("start_time > »2026-13-01«", "-24h"),
    ("start_time > »0000-01-01«", "-24h"),
    ("start_time > »24h«", "-24h"),
    ("duration > »60«", "unit"),
    ("duration > »-60s«", "unit"),
    ("artifacts > »many«", "number"),
    ('name = »"«base', "no end"),
    ("name = it»'«s", "no end"),
    ("name = »\u201c«base\u201d", "straight"),
    ("id = a »&&« id = b", "and, or"),
    ("»!« id = a", "not"),
    ("id = a»,« ", "and, or"),
    ("name ~ a\nand »\u202eid« = b", "not a field"),
]


@pytest.mark.parametrize(("marked_query", "reason"), ERROR_CASES)
def test_error_points_at_the_part_that_cannot_be_parsed(marked_query: str, reason: str) -> None:
    before, _, rest = marked_query.partition("»")
    wrong, _, after = rest.partition("«")
    with pytest.raises(BadQuery) as excinfo:
        parse_query(before + wrong + after, NOW)
    error = excinfo.value
    assert (error.start, error.text[error.start : error.stop]) == (len(before), wrong)
    assert reason in error.reason
    assert error.detail.startswith(f"q, character {error.start + 1}: ")
    assert "\n" not in error.detail and "\u202e" not in error.detail
    assert isinstance(error, InvalidInput)


def test_detail_marks_the_place_in_one_line_with_a_little_context() -> None:
    with pytest.raises(BadQuery) as excinfo:
        parse_query("metrics.acc > high and name ~ base", NOW)
    assert excinfo.value.detail == (
        "q, character 15: metrics.acc is compared with a number without quotes, or NaN, Infinity, -Infinity; "
        "marked »« in: metrics.acc > »high« and name ~ base"
    )
    with pytest.raises(BadQuery) as excinfo:
        parse_query("id = a or " * 50 + "accuracy > 1" + " or id = a" * 50, NOW)
    assert excinfo.value.start == 500
    assert len(excinfo.value.detail) < 500
    context = excinfo.value.detail.partition(" in: ")[2]
    assert re.fullmatch(r"….{40}»accuracy«.{40}…", context)


# -- bounds


def test_query_length_depth_and_number_of_values_are_limited() -> None:
    """The depth is limited so that parsing and matching never overflow the stack, wherever they are called."""
    assert holds("(" * MAX_DEPTH + "id = one" + ")" * MAX_DEPTH)
    assert holds("not (" * MAX_DEPTH + "id = one" + ")" * MAX_DEPTH) is (MAX_DEPTH % 2 == 0)
    assert holds("not " * 900 + "id = one")
    assert not holds(f"id in ({','.join('a' * MAX_VALUES)})")
    assert holds(" or ".join(["id = a"] * (MAX_VALUES - 1) + ["id = one"]))
    for text, at in (
        ("(" * (MAX_DEPTH + 1) + "id = one" + ")" * (MAX_DEPTH + 1), MAX_DEPTH),
        ("(" * MAX_CHARACTERS, MAX_DEPTH),
        (f"id in ({','.join('a' * (MAX_VALUES + 1))})", 0),
        ("x" * (MAX_CHARACTERS + 1), MAX_CHARACTERS),
        ("(" * 1_000_000, MAX_CHARACTERS),
    ):
        with pytest.raises(BadQuery) as excinfo:
            parse_query(text, NOW)
        assert excinfo.value.start == at
        assert "at most" in excinfo.value.reason


@pytest.mark.parametrize(
    "unit", ['"', "'", '"\\', "((", "not ", "a.", "metrics.", "id = a and ", " ", "1", ",", "=", "\\"]
)
def test_repetitive_query_is_parsed_quickly(unit: str) -> None:
    text = (unit * MAX_CHARACTERS)[:MAX_CHARACTERS]
    began = time.process_time()
    with pytest.raises(BadQuery):
        parse_query(text, NOW)
    assert time.process_time() - began < 5  # a backtracking pattern would take hours


# -- arbitrary text

PIECES = st.sampled_from(
    [
        *"()<>=!~,\"'\\ .",
        "metrics.a",
        "params.b",
        "tags.",
        "name",
        "status",
        "start_time",
        "duration",
        "and",
        "or",
        "not",
    ]
    + ["in", "0.5", "NaN", "-24h", "10min", "failed", "2026-01-01", "le", "é", "\u2028", "\x00", "“"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES).map("".join)))
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_any_text_is_a_condition_or_a_bad_query_within_the_text(text: str) -> None:
    try:
        condition = parse_query(text, NOW)
    except BadQuery as error:
        assert 0 <= error.start <= error.stop <= len(text) and error.reason
        assert "\n" not in error.detail
        return
    assert condition.test(Texts())(make_run(metrics={"a": 1.0}, params={"b": "x"})) in (True, False)


NAMES = st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=12)


@given(NAMES)
@example('a"b')
@example('"a"')
@example("\\")
@example("a,b")
@example("«x»")
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_field_of_any_name_is_parsed_back_from_its_text(name: str) -> None:
    for kind in ("metrics", "params", "tags"):
        field = Field(kind, name)
        assert parse_field(str(field)) == field
        condition = parse_query(f"{field}!=1", NOW)
        assert isinstance(condition, Comparison) and condition.field == field


# any tree of comparisons, checked against Python's own and, or, not
LEAVES = st.tuples(st.sampled_from("abc"), st.sampled_from(["<", "<=", "=", "!=", ">=", ">"]), st.integers(0, 2))
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)
VALUES = {"a": 1, "b": math.nan}


def to_query(tree: Any) -> str:
    if tree[0] == "not":
        return f"not ({to_query(tree[1])})"
    if tree[0] in ("and", "or"):
        return f" {tree[0]} ".join(f"({to_query(each)})" for each in tree[1])
    return f"metrics.{tree[0]} {tree[1]} {tree[2]}"


def evaluate(tree: Any) -> bool:
    if tree[0] == "not":
        return not evaluate(tree[1])
    if tree[0] == "and":
        return all(map(evaluate, tree[1]))
    if tree[0] == "or":
        return any(map(evaluate, tree[1]))
    key, op, bound = tree
    if key not in VALUES:
        return False
    value = VALUES[key]
    results = {"<": value < bound, "<=": value <= bound, "=": value == bound, "!=": value != bound}
    return bool({**results, ">=": value >= bound, ">": value > bound}[op])


@given(TREES)
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_conditions_combine_like_and_or_and_not_of_python(tree: Any) -> None:
    assert holds(to_query(tree), metrics=VALUES) is evaluate(tree)


# -- times and lengths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970", 0),  # four digits are a year
        ("2027", 1_798_761_600_000),
        ("2027-01", 1_798_761_600_000),
        ("2027-01-15", 1_799_971_200_000),
        ("2027-01-15T08:00:30.5", NOW),
        ("2027-01-15t08:00:30.5004z", NOW),
        ("2027-01-15T10:00:30.5+0200", NOW),
        ("2027-01-15T02:30:30.5-05:30", NOW),
        ("-1min", MINUTE - 60_000),
        ("-1.5h", MINUTE - 5_400_000),
        ("-2w", MINUTE - 14 * 86_400_000),
        ("-0s", MINUTE),
        ("10000", 10_000),
        ("2027-02-29", None),
        ("2027-01-15T24:00", None),
        ("2027-01-15T08:00+99:00", 1_800_000_000_000 - 99 * 3_600_000),
        ("2027-1-5", None),
        ("20270", 20_270),
        ("-5", None),
        ("5h", None),
        ("", None),
        ("9" * 19, None),
        ("٢٠٢٧", None),
    ],
)
def test_time(text: str, expected: int | None) -> None:
    assert time_ms(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", 0), ("90s", 90_000), ("1.5h", 5_400_000), ("10min", 600_000), ("2d", 172_800_000), ("1w", 604_800_000)]
    + [
        ("500ms", 500),
        ("60", None),
        ("s", None),
        ("1 s", None),
        ("-1s", None),
        ("1e3s", None),
        ("1m", None),
        ("", None),
    ],
)
def test_length_of_time(text: str, expected: float | None) -> None:
    assert length_ms(text) == expected


@pytest.mark.parametrize("condition", ['note ~ "x"', 'params.p ~ "x"', 'params.p = "x"'])
def test_text_of_a_field_is_built_once_per_run_for_all_conditions(
    monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    values: list[object] = []
    monkeypatch.setattr(conditions, "text_of", lambda value: values.append(value) or "a line")  # type: ignore[func-returns-value]
    test = parse_query(" or ".join([condition] * 100), NOW).test(Texts())
    notes = ["one", "two", "three"]
    for note in notes:
        assert test(make_run(note=note, params={"p": [note]})) is False
    assert len(values) == len(notes)


@pytest.mark.parametrize(
    "query", ["metrics.`val loss` < 1", "params.`lr` = 1", "`name` = x", "name = `x`", "tags.a`b = 1"]
)
def test_backticks_get_a_hint_about_quotes(query: str) -> None:
    with pytest.raises(BadQuery) as excinfo:
        parse_query(query, NOW)
    assert "not backticks" in excinfo.value.reason
    assert excinfo.value.start == query.index("`")


def test_key_with_a_backtick_is_written_in_quotes() -> None:
    field = parse_field("params.a`b")
    assert str(field) == 'params."a`b"'
    assert parse_query(f"{field} = 1", NOW).test(Texts())(make_run(params={"a`b": 1}))
