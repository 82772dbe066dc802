"""MLflow's search for runs: every operator on every field, compared with a model in plain Python, on both servers."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mlflow_tracking import Tracking

from chachaml_lite.errors import InvalidInput
from chachaml_lite.mlflow_api import filters

pytest_plugins = ["support.mlflow_tracking"]
pytestmark = pytest.mark.timeout(600)

#: Runs by number: params, tags, metrics, status, times. Few characters, so that comparisons are often true.
RUNS: list[dict[str, Any]] = [
    {"params": {"lr": "0.01", "net": "ResNet"}, "metrics": {"acc": 0.5, "a b": 1.0}, "status": "FINISHED"},
    {"params": {"lr": "0.010", "net": "resnet50"}, "metrics": {"acc": 0.9}, "status": "FAILED"},
    {"params": {"lr": "1e-05"}, "metrics": {"acc": -1.5}, "tags": {"team": "a", "x.y": "1"}, "status": "KILLED"},
    {"params": {"net": "a_b"}, "metrics": {"acc": 3}, "tags": {"team": "A"}, "status": "RUNNING"},
    {"params": {"net": "a%b", "lr": "10"}, "tags": {"team": "ab"}, "status": "SCHEDULED"},
    {"params": {"net": ""}, "metrics": {"acc": 0.0}, "tags": {"team": ""}, "status": "FINISHED"},
    {
        "metrics": {"acc": 1e300, "a b": -2.0},
        "tags": {"team": "two words", "key with spaces": "v"},
        "status": "FINISHED",
    },
    {"params": {"lr": "2", "net": "ab\nc"}, "metrics": {"acc": math.nan}, "tags": {"team": "b"}, "status": "FINISHED"},
]  # fmt: skip
ENDED_STATUSES = ("FINISHED", "FAILED", "KILLED")


class RunsOnServer:
    """The runs above, on a server."""

    def __init__(self, tracking: Tracking) -> None:
        self.tracking, self.client = tracking, tracking.client
        self.experiment = tracking.create_experiment("search")
        self.ids: list[str] = []
        entities = tracking.mlflow.entities
        for number, run in enumerate(RUNS):
            created_run = self.client.create_run(
                self.experiment, start_time=1000 + number, run_name=f"run {number % 3}", tags=run.get("tags")
            )
            run_id = created_run.info.run_id
            self.client.log_batch(
                run_id,
                metrics=[entities.Metric(key, value, 1000, 0) for key, value in run.get("metrics", {}).items()],
                params=[entities.Param(key, value) for key, value in run.get("params", {}).items()],
            )
            if run["status"] in ENDED_STATUSES:
                self.client.set_terminated(run_id, run["status"], 2000 + number)
            else:
                self.client.update_run(run_id, status=run["status"])
            self.ids.append(run_id)

    def search(self, text: str, order_by: list[str] | None = None) -> list[int]:
        """Search with a filter and return the numbers of the matching runs, in order."""
        runs = self.client.search_runs([self.experiment], text, order_by=order_by)
        return [self.ids.index(run.info.run_id) for run in runs]


@pytest.fixture(scope="module")
def server_runs(tracking: Tracking) -> RunsOnServer:
    return RunsOnServer(tracking)


# -- the model


def get_value(number: int, kind: str, key: str) -> Any:
    """Return a run's value of a field, as MLflow has it."""
    run = RUNS[number]
    if kind != "attributes":
        return run.get(kind, {}).get(key)
    own = {"status": run["status"], "run_name": f"run {number % 3}", "start_time": 1000 + number}
    return {**own, "end_time": 2000 + number if run["status"] in ENDED_STATUSES else None}[key]


NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


def satisfies(value: Any, op: str, operand: Any) -> bool:
    """Whether a value satisfies a comparison."""
    if op == "IS NULL":
        return value is None
    if op == "IS NOT NULL":
        return value is not None
    if value is None:
        return False
    if op in ("LIKE", "ILIKE"):
        expression = "".join(".*" if each == "%" else "." if each == "_" else re.escape(each) for each in operand)
        return re.fullmatch(expression, value, re.DOTALL | (re.IGNORECASE if op == "ILIKE" else 0)) is not None
    return NUMBERS[op](value, operand)


FIELDS = [
    *[("metrics", key) for key in ("acc", "a b", "none")],
    *[("params", key) for key in ("lr", "net", "none")],
    *[("tags", key) for key in ("team", "x.y", "key with spaces", "none")],
    *[("attributes", key) for key in ("status", "run_name", "start_time", "end_time")],
]
WORDS = {
    "metrics": ("metrics", "metric"),
    "params": ("params", "param", "parameter", "parameters"),
    "tags": ("tags", "tag"),
    "attributes": ("attributes", "attribute", "attr", "run", None),
}
TEXTS = ["", "a", "A", "ab", "a_b", "a%", "%", "_", "%b", "__", "ResNet", "resnet%", "0.01", "1e-05", "10", "two words",
         "FINISHED", "FAILED", "KILLED", "%ED", "run 1", "RUN%", "v", "1", "a%b", "%b%"]  # fmt: skip
VALUES = ["0", "0.5", "-1.5", "3", "0.9", "1e300", "1000", "1003", "2001", "-2.0", "1.0", ".5"]


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, str, str, str, Any]:
    """A comparison as text, and as arguments of the model."""
    kind, key = draw(st.sampled_from(FIELDS))
    is_number = kind == "metrics" or key in ("start_time", "end_time")
    ops = [*NUMBERS] if is_number else ["=", "!=", "LIKE", "ILIKE"]
    if kind in ("params", "tags"):
        ops += ["IS NULL", "IS NOT NULL"]
    op = draw(st.sampled_from(ops))
    word = draw(st.sampled_from(WORDS[kind]))
    name = f"`{key}`" if " " in key or "." in key else draw(st.sampled_from([key, f"`{key}`"]))
    field = name.strip("`") if word is None else f"{word}.{name}"
    op_text = draw(st.sampled_from([op, op.lower()]))
    if "NULL" in op:
        return f"{field} {op_text}", kind, key, op, None
    if is_number:
        text = draw(st.sampled_from(VALUES))
        return f"{field} {op_text} {text}", kind, key, op, float(text)
    text = draw(st.sampled_from(TEXTS))
    quote = draw(st.sampled_from("'\"")) if text else "'"
    return f"{field} {op_text} {quote}{text}{quote}", kind, key, op, text


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(comparisons(), min_size=1, max_size=3), st.sampled_from([" AND ", " and ", "  And\n"]))
def test_search_matches_the_same_runs_as_the_model(
    server_runs: RunsOnServer, examples: list[tuple[str, str, str, str, Any]], joint: str
) -> None:
    text = joint.join(each[0] for each in examples)
    expected = []
    for number in range(len(RUNS)):
        values = [(get_value(number, kind, key), op, operand) for _, kind, key, op, operand in examples]
        # MLflow's SQL stores keep a NaN as 0, so there it satisfies the same comparisons as 0.
        if not server_runs.tracking.is_native and any(
            isinstance(value, float) and value != value for value, *_ in values
        ):
            return
        if all(satisfies(*each) for each in values):
            expected.append(number)
    assert sorted(server_runs.search(text)) == expected, text


def test_search_by_id_and_list(server_runs: RunsOnServer) -> None:
    ids = server_runs.ids
    id_list = f"('{ids[1]}', '{ids[4]}')"
    assert sorted(server_runs.search(f"attributes.run_id IN {id_list}")) == [1, 4]
    assert sorted(server_runs.search(f"run_id not in {id_list}")) == [0, 2, 3, 5, 6, 7]
    assert server_runs.search(f"run_id = '{ids[2]}'") == [2]
    assert sorted(server_runs.search(f"attributes.artifact_uri LIKE '%/{ids[2]}/artifacts'")) == [2]
    assert sorted(server_runs.search("attributes.Created > 1005")) == [6, 7]
    assert sorted(server_runs.search("attributes.`Run name` = 'run 2'")) == [2, 5]


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ([], [7, 6, 5, 4, 3, 2, 1, 0]),
        (["start_time ASC"], [0, 1, 2, 3, 4, 5, 6, 7]),
        (["attributes.start_time DESC"], [7, 6, 5, 4, 3, 2, 1, 0]),
        (["metrics.acc"], [2, 5, 0, 1, 3, 6, 7, 4]),
        (["metrics.acc DESC"], [6, 3, 1, 0, 5, 2, 7, 4]),
        (["metrics.`a b` asc"], [6, 0, 7, 5, 4, 3, 2, 1]),
        (["params.lr ASC"], [0, 1, 4, 2, 7, 6, 5, 3]),
        (["params.lr DESC"], [7, 2, 4, 1, 0, 6, 5, 3]),
        (["tags.team"], [5, 3, 2, 4, 7, 6, 1, 0]),
        (["run_name", "start_time ASC"], [0, 3, 6, 1, 4, 7, 2, 5]),
        (["run_name DESC", "metrics.acc DESC"], [5, 2, 1, 7, 4, 6, 3, 0]),
        (["end_time DESC"], [7, 6, 5, 2, 1, 0, 4, 3]),
    ],
)
def test_search_order_by(server_runs: RunsOnServer, order_by: list[str], expected: list[int]) -> None:
    assert server_runs.search("", order_by) == expected


def test_search_page_by_page(server_runs: RunsOnServer) -> None:
    numbers: list[int] = []
    token = None
    sizes = []
    while True:
        page = server_runs.client.search_runs([server_runs.experiment], "", max_results=3, page_token=token)
        numbers += [server_runs.ids.index(run.info.run_id) for run in page]
        sizes.append(len(page))
        token = page.token
        if not token:
            break
    assert (numbers, sizes) == ([7, 6, 5, 4, 3, 2, 1, 0], [3, 3, 2])
    page = server_runs.client.search_runs([server_runs.experiment], "", max_results=8)
    assert (len(page), page.token) == (8, None) or not server_runs.tracking.is_native
    assert server_runs.client.search_runs([]) == []


INVALID_FILTERS = [
    "metrics.acc",
    "metrics.acc >",
    "metrics.acc > 'x'",
    "metrics.acc LIKE '1'",
    "metrics.acc IS NULL",
    "params.lr > '1'",
    "params.lr = 1",
    "params.lr IN ('1')",
    "tags.team = a",
    "status > 'RUNNING'",
    "status IS NULL",
    "start_time = 'x'",
    "run_name IN ('a')",
    "dataset.size = '1'",
    "foo.bar = 'x'",
    "bar = 'x'",
    "(metrics.acc > 1)",
    "metrics.acc > 1 OR metrics.acc < 0",
    "metrics.acc > 1 metrics.acc < 0",
    "metrics.acc > 1 AND",
    "run_id IN ()",
    "tags.team = 'unended",
    "metrics.acc == 1",
    "; drop table runs",
]


def test_invalid_filter_or_order_is_refused(server_runs: RunsOnServer) -> None:
    for text in INVALID_FILTERS:
        if server_runs.tracking.is_native or text not in ("metrics.acc > 1 AND", "metrics.acc > 1 metrics.acc < 0"):
            assert server_runs.tracking.error_code(server_runs.search, text) == "INVALID_PARAMETER_VALUE", text
    for order in ("foo.bar", "metrics.acc down", "nonsense", "dataset.name", ""):
        if server_runs.tracking.is_native:
            assert server_runs.tracking.error_code(server_runs.search, "", [order]) == "INVALID_PARAMETER_VALUE", order


@pytest.mark.parametrize("text", ["x", "a AND b", "metrics.a = 1 " + "AND metrics.a = 1 " * 1000, "'" * 100_001])
def test_malformed_or_overlong_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        filters.parse_filter(text, filters.RUNS)


@given(st.text("ab_%\n", max_size=8), st.text("abAB\n_%", max_size=12), st.booleans())
def test_like_matches_the_same_texts_as_a_regular_expression(pattern: str, text: str, ignores_case: bool) -> None:
    is_match = filters.compile_like(pattern, ignores_case=ignores_case)(text)
    assert is_match == satisfies(text, "ILIKE" if ignores_case else "LIKE", pattern)


def test_like_with_many_wildcards_is_fast() -> None:
    matches = filters.compile_like("%a" * 2000 + "b", ignores_case=True)
    assert not matches("a" * 100_000)
