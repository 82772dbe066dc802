"""The mapping of runs to MLflow: statuses, values, tags and datasets, and names checked against MLflow's own rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mlflow_servers import mlflow_module

from chachaml_lite.errors import InvalidInput
from chachaml_lite.export.mapping import (
    MAX_KEY,
    MAX_PARAM_VALUE,
    MAX_TAG_VALUE,
    MlflowRun,
    map_artifact_name,
    map_key,
    map_run,
)
from chachaml_lite.mlflow_api.vocabulary import STATUSES, text_of
from chachaml_lite.tracking.names import check_artifact_name, check_name
from chachaml_lite.tracking.runs import ENDINGS

RUN: dict[str, Any] = {
    "id": "r1",
    "experiment": "iris",
    "name": None,
    "status": "completed",
    "start_time": 1000,
    "end_time": 2000,
    "error": None,
    "tags": {},
    "parent_run_id": None,
    "created_by": None,
    "params": {},
    "metric_summary": {},
    "artifacts": [],
    "datasets": [],
    "note": None,
}


def map_fields(**fields: Any) -> MlflowRun:
    return map_run({**RUN, **fields})


def test_every_status_has_an_mlflow_status() -> None:
    assert STATUSES.keys() == {"running", *ENDINGS}
    assert [map_fields(status=status).status for status in STATUSES] == ["RUNNING", "FINISHED", "FAILED"]
    assert map_fields(status="failed", error="killed").status == "KILLED"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("adam", "adam"),
        ("", ""),
        ("0.1", "0.1"),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ([1, {"a": "größe"}], '[1, {"a": "größe"}]'),
    ],
)
def test_value_is_plain_text(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ({}, {}),
        ({"note": "# Fine"}, {"mlflow.note.content": "# Fine"}),
        ({"created_by": "maria"}, {"mlflow.user": "maria"}),
        ({"error": "exit code 1"}, {"chachaml.error": "exit code 1"}),
        ({"parent_run_id": "p"}, {"chachaml.parent_run_id": "p"}),
        ({"tags": {"os": "linux", "n": 1, "ok": True}}, {"os": "linux", "n": "1", "ok": "true"}),
    ],
)
def test_other_fields_become_tags(fields: dict[str, Any], tags: dict[str, str]) -> None:
    assert map_fields(**fields).tags == tags
    assert map_fields(**fields).changes == []


def test_run_without_a_name_is_named_by_its_id() -> None:
    assert (map_fields().name, map_fields(name="first").name) == ("r1", "first")


def test_tag_with_a_reserved_name_is_renamed() -> None:
    mlflow_run = map_fields(tags={"mlflow.parentRunId": "x", "chachaml.points": "9"}, note="n")
    assert set(mlflow_run.tags.values()) == {"x", "9", "n"}
    assert {"mlflow.parentRunId", "chachaml.points"}.isdisjoint(mlflow_run.tags)
    assert len(mlflow_run.changes) == 2


@pytest.mark.parametrize(
    "name", ["loss", "val/loss", "Größe", "損失", "lr 2", "a:b", "a.b-c_d", "a" * MAX_KEY, ".a", "a..b"]
)
def test_name_valid_in_mlflow_is_unchanged(name: str) -> None:
    assert map_key(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [("loss (train)", "loss _train_."), ("acc%", "acc_."), ("a//b", "a/b."), ("/a", "a."), ("../a", "_"), (".", "_.")],
)
def test_name_invalid_in_mlflow_stays_readable(name: str, start: str) -> None:
    assert map_key(name).startswith(start)


def test_distinct_names_are_mapped_to_distinct_names() -> None:
    names = ["a?", "a!", "a_", "a//b", "a/b", "/a", "a", "./a", "a/", "..", "../", "x" * 249 + "?", "x" * 249 + "!"]
    assert len({map_key(name) for name in names}) == len(names)
    names = ["a#b.txt", "a?b.txt", "a_b.txt", " a.txt", "_a.txt", "%41", "A", "x/ y", "x/_y"]
    assert len({map_artifact_name(name) for name in names}) == len(names)


def is_name(text: str) -> bool:
    try:
        return bool(check_name("param", text))
    except InvalidInput:
        return False


@settings(deadline=None)  # the first one waits for MLflow to be imported
@given(st.one_of(st.text(min_size=1, max_size=250), st.text("./ ~a?", min_size=1, max_size=12)).filter(is_name))
def test_mapped_name_is_valid_in_mlflow_for_any_name(name: str) -> None:
    rules = mlflow_module("mlflow.utils.validation")
    rules._validate_param_name(map_key(name))
    rules._validate_tag(next(iter(map_fields(tags={name: "x"}).tags)), "x")
    assert 0 < len(map_key(name)) <= MAX_KEY


@pytest.mark.parametrize("name", ["a%20b#?.txt", "größe?" * 20 + ".json", "a/b#" + "." + "x" * 200, "#" * 255, "? .gz"])
def test_mapped_artifact_name_is_a_valid_file_name_with_the_same_extension(name: str) -> None:
    other = map_artifact_name(name)
    assert check_artifact_name(other) == other
    assert all(len(part.encode()) <= 255 for part in other.split("/"))
    assert other.rpartition(".")[2] == name.rpartition(".")[2] or "." not in name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"params": {"p": "x" * 6001}}, "param 'p' is truncated: it has 6001 characters, and MLflow takes 6000"),
        ({"params": {"p": list(range(2000))}}, "param 'p' is truncated: "),
        ({"tags": {"t": "x" * 5001}}, "tag 't' is truncated: it has 5001 characters, and MLflow takes 5000"),
        ({"note": "x" * 9000}, "the note is truncated: it has 9000 characters, and MLflow takes 5000"),
        ({"error": "x" * 9000}, "the error is truncated: it has 9000 characters, and MLflow takes 5000"),
        ({"params": {"p": "a\0b"}}, "param 'p' has NUL characters, each replaced by \ufffd"),
        ({"params": {"a?": 1}}, "param 'a?' is renamed to 'a_."),
        ({"metric_summary": {"a?": {}}}, "metric 'a?' is renamed to 'a_."),
        ({"artifacts": [{"name": "a?"}]}, "artifact 'a?' is renamed to 'a_."),
        ({"datasets": [{"features": ["x" * 2_000_000]}]}, "dataset 'dataset' loses its features"),
        ({"datasets": [{"source": "x" * 501}]}, "dataset 'xxx"),
    ],
)
def test_change_of_a_value_or_name_is_reported(fields: dict[str, Any], message: str) -> None:
    mlflow_run = map_fields(**fields)
    (change,) = mlflow_run.changes
    assert change.startswith(message)
    assert all(len(value) <= MAX_PARAM_VALUE and "\0" not in value for value in mlflow_run.params.values())
    assert all(len(value) <= MAX_TAG_VALUE for value in mlflow_run.tags.values())


def test_dataset_has_a_name_a_source_and_the_rest_as_its_profile() -> None:
    dataset = {"role": "train", "n_rows": 5, "n_cols": 2, "source": "s3://x", "features": ["a"], "hash": "abc"}
    one, other = map_fields(datasets=[dataset, {"role": "test"}]).datasets
    assert (one.name, json.loads(one.source), one.context) == ("s3://x", {"uri": "s3://x"}, "train")
    assert json.loads(one.profile or "") == {"num_rows": 5, "num_cols": 2, "features": ["a"], "hash": "abc"}
    assert (other.name, other.context) == ("test", "test")
    assert one.digest != other.digest


def test_dataset_logged_by_an_mlflow_client_is_unchanged() -> None:
    dataset = {
        "name": "flowers",
        "role": "train",
        "hash": "d1",
        "source": '{"uri": "s3://x"}',
        "source_type": "s3",
        "schema": "{}",
        "profile": '{"num_rows": 5}',
        "tags": {"kind": "raw", "part": 1},
        "n_rows": 5,
    }
    (one,) = map_fields(datasets=[dataset]).datasets
    assert (one.name, one.digest, one.source_type, one.source) == ("flowers", "d1", "s3", '{"uri": "s3://x"}')
    assert (one.schema, one.profile) == ("{}", '{"num_rows": 5}')
    assert one.tags == {"kind": "raw", "part": "1", "mlflow.data.context": "train"}
    (other,) = map_fields(datasets=[{"name": "flowers", "source": "s3://x"}]).datasets
    assert (other.name, json.loads(other.source)) == ("flowers", {"uri": "s3://x"})
