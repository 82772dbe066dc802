"""MLflow's own client against this server and against MLflow's, which must behave alike."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from support.mlflow_tracking import Tracking

pytest_plugins = ["support.mlflow_tracking"]
pytestmark = pytest.mark.timeout(600)

#: Texts that look like numbers, keywords or JSON, and texts with spaces and quotes.
TEXTS = [
    *("0.01", "100", "1.0", "1e-05", "-3", "0", "9007199254740993", "9223372036854775807", "9223372036854775808"),
    *("007", "1e-5", "-0", "-0.0", "1.", ".5", "+1", "1_000", "0x10", "nan", "NaN", "inf", "Infinity", "1e400", "1e22"),
    *("True", "true", "None", "null", "[1, 2]", '{"a": 1}', "two words", "größe", "'", '"', "a\nb", " 1", "1 ", "٣"),
]


# -- experiments


def test_experiment_is_created_tagged_deleted_and_restored(tracking: Tracking) -> None:
    client = tracking.client
    experiment_id = tracking.create_experiment("life")
    name = client.get_experiment(experiment_id).name
    assert re.fullmatch(r"[0-9]{1,20}", experiment_id)
    assert client.get_experiment_by_name(name).experiment_id == experiment_id
    assert client.get_experiment(experiment_id).artifact_location.endswith(f"/{experiment_id}")
    assert tracking.error_code(client.create_experiment, name) == "RESOURCE_ALREADY_EXISTS"
    client.set_experiment_tag(experiment_id, "team", "a")
    client.set_experiment_tag(experiment_id, "mlflow.note.content", "*About*")
    assert client.get_experiment(experiment_id).tags == {"team": "a", "mlflow.note.content": "*About*"}
    client.delete_experiment_tag(experiment_id, "team")
    assert client.get_experiment(experiment_id).tags == {"mlflow.note.content": "*About*"}
    assert tracking.error_code(client.delete_experiment_tag, experiment_id, "team") == "RESOURCE_DOES_NOT_EXIST"
    run = client.create_run(experiment_id).info.run_id
    client.delete_experiment(experiment_id)
    assert client.get_experiment_by_name(name).lifecycle_stage == "deleted"
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    assert tracking.error_code(client.create_experiment, name) == "RESOURCE_ALREADY_EXISTS"
    assert client.search_runs([experiment_id]) == []
    client.restore_experiment(experiment_id)
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"
    assert client.get_run(run).info.lifecycle_stage == "active"


def test_unknown_experiment_is_an_error_and_default_exists(tracking: Tracking) -> None:
    client = tracking.client
    assert client.get_experiment_by_name("no such experiment") is None
    assert tracking.error_code(client.get_experiment, "123456789") == "RESOURCE_DOES_NOT_EXIST"
    assert tracking.error_code(client.create_run, "123456789") == "RESOURCE_DOES_NOT_EXIST"
    default = client.get_experiment("0")
    assert (default.name, client.get_experiment_by_name("Default").experiment_id) == ("Default", "0")
    assert tracking.error_code(client.create_experiment, "Default") == "RESOURCE_ALREADY_EXISTS"


def test_search_experiments(tracking: Tracking) -> None:
    client = tracking.client
    experiment_ids = [tracking.create_experiment("searched") for _ in range(5)]
    for number, each in enumerate(experiment_ids):
        client.set_experiment_tag(each, "number", str(number))
        client.set_experiment_tag(each, "of search", "yes")
    client.delete_experiment(experiment_ids[4])
    of_test = "tags.`of search` = 'yes'"

    def search(text: str = "", view: int = 1, order_by: list[str] | None = None, limit: int = 100) -> list[int]:
        where = of_test + (f" AND {text}" if text else "")
        page = client.search_experiments(view, limit, where, order_by or ["name ASC"])
        ids = [each.experiment_id for each in page]
        while page.token:
            page = client.search_experiments(view, limit, where, order_by or ["name ASC"], page.token)
            ids += [each.experiment_id for each in page]
        return [experiment_ids.index(each) for each in ids]

    names = [client.get_experiment(each).name for each in experiment_ids]
    assert search() == [0, 1, 2, 3]
    assert search(limit=3) == [0, 1, 2, 3]
    assert search(view=2) == [4]
    assert search(view=3, order_by=["name DESC"]) == [4, 3, 2, 1, 0]
    assert search(f"name = '{names[1]}'") == [1]
    assert search(f"attribute.name != '{names[1]}'") == [0, 2, 3]
    assert search("name LIKE 'searched-%'") == [0, 1, 2, 3]
    assert search("name LIKE 'SEARCHED-%'") in ([], [0, 1, 2, 3])
    assert search("name ILIKE 'SEARCHED-%'") == [0, 1, 2, 3]
    assert search("tags.number = '2'") == [2]
    assert search("tags.number != '2'") == [0, 1, 3]
    assert search("creation_time > 0") == [0, 1, 2, 3]
    assert search("creation_time < 1") == []
    assert tracking.error_code(client.search_experiments, filter_string="nonsense = 'x'") == "INVALID_PARAMETER_VALUE"
    assert tracking.error_code(client.search_experiments, filter_string="name = 'x' OR name = 'y'") == (
        "INVALID_PARAMETER_VALUE"
    )


# -- runs


def test_run_is_created_renamed_ended_deleted_and_restored(tracking: Tracking) -> None:
    client = tracking.client
    experiment = tracking.create_experiment()
    run = client.create_run(experiment, start_time=1000, tags={"a": "1", "mlflow.note.content": "n"}, run_name="first")
    info = run.info
    assert (info.experiment_id, info.run_name, info.status, info.start_time) == (experiment, "first", "RUNNING", 1000)
    assert (info.end_time, info.lifecycle_stage) == (None, "active")
    assert re.fullmatch(rf"mlflow-artifacts:/{experiment}/{info.run_id}/artifacts", info.artifact_uri)
    assert run.data.tags == {"a": "1", "mlflow.note.content": "n", "mlflow.runName": "first"}
    client.update_run(info.run_id, name="second")
    assert client.get_run(info.run_id).info.run_name == "second"
    assert client.get_run(info.run_id).data.tags["mlflow.runName"] == "second"
    client.set_tag(info.run_id, "mlflow.runName", "third")
    assert client.get_run(info.run_id).info.run_name == "third"
    client.set_terminated(info.run_id, "FAILED", 5000)
    info_at_end = client.get_run(info.run_id).info
    assert (info_at_end.status, info_at_end.end_time) == ("FAILED", 5000)
    client.delete_run(info.run_id)
    assert client.get_run(info.run_id).info.lifecycle_stage == "deleted"
    for call, arguments in (
        (client.log_metric, ("m", 1.0)),
        (client.log_param, ("p", "1")),
        (client.set_tag, ("t", "1")),
    ):
        assert tracking.error_code(call, info.run_id, *arguments) == "INVALID_PARAMETER_VALUE"
    assert client.search_runs([experiment]) == []
    assert [each.info.run_id for each in client.search_runs([experiment], run_view_type=2)] == [info.run_id]
    client.restore_run(info.run_id)
    assert client.get_run(info.run_id).info.lifecycle_stage == "active"
    assert tracking.error_code(client.get_run, "no-such-run") == "RESOURCE_DOES_NOT_EXIST"


def test_run_takes_every_status_and_writes_after_its_end(tracking: Tracking) -> None:
    client = tracking.client
    run = tracking.create_run()
    for status in ("SCHEDULED", "RUNNING", "FINISHED", "RUNNING", "KILLED", "FAILED", "FINISHED"):
        client.update_run(run, status=status)
        assert client.get_run(run).info.status == status
    client.set_terminated(run, "KILLED")
    assert client.get_run(run).info.end_time > 0
    client.log_metric(run, "after", 1.0)  # to an ended run, as autologging does
    client.log_param(run, "late", "x")
    client.set_tag(run, "late", "y")
    data = client.get_run(run).data
    assert (data.metrics, data.params["late"], data.tags["late"]) == ({"after": 1.0}, "x", "y")
    assert client.get_run(run).info.status == "KILLED"


def test_run_name_user_and_parent_from_tags(tracking: Tracking) -> None:
    client = tracking.client
    experiment = tracking.create_experiment()
    parent = client.create_run(experiment, tags={"mlflow.runName": "by tag", "mlflow.user": "maria"})
    assert (parent.info.run_name, parent.data.tags["mlflow.user"]) == ("by tag", "maria")
    assert tracking.error_code(client.create_run, experiment, tags={"mlflow.runName": "a"}, run_name="b") == (
        "INVALID_PARAMETER_VALUE"
    )
    child = client.create_run(experiment, tags={"mlflow.parentRunId": parent.info.run_id})
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    runs = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert [each.info.run_id for each in runs] == [child.info.run_id]


def test_params_keep_their_texts(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.create_run()
    params = {f"p{number}": text for number, text in enumerate(TEXTS)}
    for key, text in params.items():
        client.log_param(run, key, text)
    assert client.get_run(run).data.params == params
    experiment = client.get_run(run).info.experiment_id
    for key, text in params.items():
        client.log_param(run, key, text)  # the same value again
        if '"' not in text:
            assert len(client.search_runs([experiment], f'params.{key} = "{text}"')) == 1, text
    assert tracking.error_code(client.log_param, run, "p2", "1") == "INVALID_PARAMETER_VALUE"
    assert tracking.error_code(client.log_param, run, "p0", "0.010") == "INVALID_PARAMETER_VALUE"
    assert client.get_run(run).data.params == params


def test_batch_is_all_or_nothing(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.create_run()
    entities = tracking.mlflow.entities
    client.log_param(run, "lr", "0.1")
    batch = {
        "metrics": [entities.Metric("loss", 0.5, 1000, 1)],
        "params": [entities.Param("new", "1"), entities.Param("lr", "0.2")],
        "tags": [entities.RunTag("t", "1")],
    }
    assert tracking.error_code(client.log_batch, run, **batch) == "INVALID_PARAMETER_VALUE"
    data = client.get_run(run).data
    assert (data.params, data.metrics, data.tags.get("t")) == ({"lr": "0.1"}, {}, None)
    twice = [entities.Param("x", "1"), entities.Param("x", "2")]
    assert tracking.error_code(client.log_batch, run, params=twice) == "INVALID_PARAMETER_VALUE"
    batch["params"] = [entities.Param("new", "1"), entities.Param("lr", "0.1")]
    client.log_batch(run, **batch)
    data = client.get_run(run).data
    assert (data.params, data.metrics, data.tags["t"]) == ({"lr": "0.1", "new": "1"}, {"loss": 0.5}, "1")


def test_metric_history_is_sorted_by_time_and_step_and_paged(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.create_run()
    for value, timestamp, step in ((1.0, 30, 0), (2.0, 10, 5), (3.0, 10, 2), (4.0, 20, 1)):
        client.log_metric(run, "m", value, timestamp, step)
    points = [(each.timestamp, each.step, each.value) for each in client.get_metric_history(run, "m")]
    assert points == [(10, 2, 3.0), (10, 5, 2.0), (20, 1, 4.0), (30, 0, 1.0)]
    assert client.get_run(run).data.metrics == {"m": 2.0}, "the value at the greatest step"
    assert client.get_metric_history(run, "none") == []
    entities = tracking.mlflow.entities
    for start in range(0, 2500, 1000):
        steps = range(start, min(2500, start + 1000))
        client.log_batch(run, metrics=[entities.Metric("long", float(step), step, step) for step in steps])
    assert [each.value for each in client.get_metric_history(run, "long")] == [float(step) for step in range(2500)]


def test_nonfinite_metrics_are_stored_and_searched(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.create_run()
    for key, value in (("nan", math.nan), ("inf", math.inf), ("minus", -math.inf)):
        client.log_metric(run, key, value)
    metrics = client.get_run(run).data.metrics
    assert math.isnan(metrics["nan"])
    if tracking.is_native:  # MLflow's SQL stores replace an infinity by the largest double
        assert (metrics["inf"], metrics["minus"]) == (math.inf, -math.inf)
    experiment = client.get_run(run).info.experiment_id
    assert len(client.search_runs([experiment], "metrics.inf > 1e300")) == 1
    assert len(client.search_runs([experiment], "metrics.minus < 0")) == 1
    assert len(client.search_runs([experiment], "metrics.nan < 1")) == 0


def test_tag_is_set_changed_and_deleted(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.create_run()
    client.set_tag(run, "empty", "")
    client.set_tag(run, "long", "x" * 5000)
    client.set_tag(run, "size", "größe")
    client.set_tag(run, "size", "changed")
    tags = client.get_run(run).data.tags
    assert (tags["empty"], len(tags["long"]), tags["size"]) == ("", 5000, "changed")
    client.delete_tag(run, "size")
    assert "size" not in client.get_run(run).data.tags
    assert tracking.error_code(client.delete_tag, run, "size") == "RESOURCE_DOES_NOT_EXIST"


def test_fluent_api_nests_resumes_and_fails_runs(tracking: Tracking, tmp_path: Path) -> None:
    mlflow = tracking.mlflow
    mlflow.set_tracking_uri(tracking.url)
    mlflow.set_experiment(experiment_id=tracking.create_experiment("fluent"))
    with mlflow.start_run(run_name="parent", description="of two") as parent:
        mlflow.log_params({"lr": 0.01, "layers": 3, "on": True})
        for number in range(2):
            with mlflow.start_run(run_name=f"child {number}", nested=True):
                mlflow.log_metric("loss", 1 / (number + 1), step=number)
    with mlflow.start_run(run_id=parent.info.run_id):
        assert tracking.client.get_run(parent.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("more", 7)
    with pytest.raises(ValueError, match="broken"), mlflow.start_run(run_name="fails"):
        raise ValueError("broken")
    runs = mlflow.search_runs(order_by=["start_time ASC"])
    assert list(runs["tags.mlflow.runName"]) == ["parent", "child 0", "child 1", "fails"]
    assert list(runs["status"]) == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]
    assert list(runs["tags.mlflow.parentRunId"])[1:3] == [parent.info.run_id] * 2
    assert runs["params.lr"][0] == "0.01"
    assert runs["metrics.more"][0] == 7
    assert runs["tags.mlflow.note.content"][0] == "of two"


# -- datasets


def test_dataset_logged_twice_is_stored_once(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.create_run()
    entities = tracking.mlflow.entities
    schema = '{"mlflow_colspec": [{"type": "double", "name": "x"}, {"type": "long", "name": "y"}]}'
    dataset = entities.Dataset("iris", "d1", "local", '{"uri": "iris.csv"}', schema, '{"num_rows": 150}')
    dataset_input = entities.DatasetInput(dataset, [entities.InputTag("mlflow.data.context", "training")])
    client.log_inputs(run, [dataset_input])
    client.log_inputs(run, [dataset_input])
    (logged_input,) = client.get_run(run).inputs.dataset_inputs
    assert (logged_input.dataset.name, logged_input.dataset.digest, logged_input.dataset.source_type) == (
        "iris",
        "d1",
        "local",
    )
    assert (logged_input.dataset.schema, logged_input.dataset.profile) == (schema, '{"num_rows": 150}')
    assert [(tag.key, tag.value) for tag in logged_input.tags] == [("mlflow.data.context", "training")]
    experiment = client.get_run(run).info.experiment_id
    for text, count in (
        ("dataset.name = 'iris'", 1),
        ("dataset.digest IN ('d0', 'd1')", 1),
        ("dataset.context LIKE 'train%'", 1),
        ("dataset.name = 'wine'", 0),
    ):
        assert len(client.search_runs([experiment], text)) == count, text


# -- artifacts


def test_artifacts_are_listed_by_folder_with_sizes_and_downloaded(tracking: Tracking, tmp_path: Path) -> None:
    client, run = tracking.client, tracking.create_run()
    files = {"empty.bin": b"", "a b.txt": b"text", "größe 数.txt": b"\xff\x00", "sub/deep/x.json": b"{}", "sub/y": b"y"}
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    client.log_artifacts(run, str(tmp_path))
    client.log_artifacts(run, str(tmp_path / "sub"), "other")

    def list_artifacts(path: str | None = None) -> dict[str, Any]:
        return {each.path: (each.is_dir, each.file_size) for each in client.list_artifacts(run, path)}

    nothing = 0 if tracking.is_native else None  # MLflow's server omits a size of 0
    sizes = {"a b.txt": (False, 4), "empty.bin": (False, nothing), "größe 数.txt": (False, 2)}
    assert list_artifacts() == {**sizes, "other": (True, None), "sub": (True, None)}
    assert list_artifacts("sub") == {"sub/deep": (True, None), "sub/y": (False, 1)}
    assert list_artifacts("sub/deep") == {"sub/deep/x.json": (False, 2)}
    assert list_artifacts("a b.txt") == {}
    assert list_artifacts("none") == {}
    (tmp_path / "a b.txt").write_bytes(b"longer text")
    client.log_artifact(run, str(tmp_path / "a b.txt"))
    for name in files:
        assert Path(client.download_artifacts(run, name)).read_bytes() == (tmp_path / name).read_bytes(), name
    folder = Path(client.download_artifacts(run, ""))
    assert (folder / "other/deep/x.json").read_bytes() == b"{}"


def test_artifacts_are_deleted_from_an_ended_run(tracking: Tracking, tmp_path: Path) -> None:
    client, run = tracking.client, tracking.create_run()
    repository = tracking.mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(
        client.get_run(run).info.artifact_uri, tracking.url
    )
    (tmp_path / "keep.txt").write_text("k")
    (tmp_path / "drop.txt").write_text("d")
    for folder in (None, "old", "old/deep"):
        client.log_artifacts(run, str(tmp_path), folder)
    client.set_terminated(run)
    repository.delete_artifacts("drop.txt")
    repository.delete_artifacts("old/deep")
    assert {each.path for each in client.list_artifacts(run)} == {"keep.txt", "old"}
    assert {each.path for each in client.list_artifacts(run, "old")} == {"old/drop.txt", "old/keep.txt"}
    client.log_artifact(run, str(tmp_path / "drop.txt"))
    assert {each.path for each in client.list_artifacts(run)} == {"drop.txt", "keep.txt", "old"}
