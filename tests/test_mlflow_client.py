"""MLflow's own client against this server and against MLflow's: what must agree does."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from support.mlflow_tracking import Tracking

pytest_plugins = ["support.mlflow_tracking"]
pytestmark = pytest.mark.timeout(600)

#: Texts that numbers are mistaken for, and texts that are more than one word.
TEXTS = [
    *("0.01", "100", "1.0", "1e-05", "-3", "0", "9007199254740993", "9223372036854775807", "9223372036854775808"),
    *("007", "1e-5", "-0", "-0.0", "1.", ".5", "+1", "1_000", "0x10", "nan", "NaN", "inf", "Infinity", "1e400", "1e22"),
    *("True", "true", "None", "null", "[1, 2]", '{"a": 1}', "two words", "größe", "'", '"', "a\nb", " 1", "1 ", "٣"),
]


# -- experiments


def test_experiment_life(tracking: Tracking) -> None:
    client = tracking.client
    made = tracking.new_experiment("life")
    name = client.get_experiment(made).name
    assert re.fullmatch(r"[0-9]{1,20}", made)
    assert client.get_experiment_by_name(name).experiment_id == made
    assert client.get_experiment(made).artifact_location.endswith(f"/{made}")
    assert tracking.refused(client.create_experiment, name) == "RESOURCE_ALREADY_EXISTS"
    client.set_experiment_tag(made, "team", "a")
    client.set_experiment_tag(made, "mlflow.note.content", "*About*")
    assert client.get_experiment(made).tags == {"team": "a", "mlflow.note.content": "*About*"}
    client.delete_experiment_tag(made, "team")
    assert client.get_experiment(made).tags == {"mlflow.note.content": "*About*"}
    assert tracking.refused(client.delete_experiment_tag, made, "team") == "RESOURCE_DOES_NOT_EXIST"
    run = client.create_run(made).info.run_id
    client.delete_experiment(made)
    assert client.get_experiment_by_name(name).lifecycle_stage == "deleted"
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    assert tracking.refused(client.create_experiment, name) == "RESOURCE_ALREADY_EXISTS"
    assert client.search_runs([made]) == []
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"
    assert client.get_run(run).info.lifecycle_stage == "active"


def test_experiment_unknown(tracking: Tracking) -> None:
    client = tracking.client
    assert client.get_experiment_by_name("no such experiment") is None
    assert tracking.refused(client.get_experiment, "123456789") == "RESOURCE_DOES_NOT_EXIST"
    assert tracking.refused(client.create_run, "123456789") == "RESOURCE_DOES_NOT_EXIST"
    default = client.get_experiment("0")
    assert (default.name, client.get_experiment_by_name("Default").experiment_id) == ("Default", "0")
    assert tracking.refused(client.create_experiment, "Default") == "RESOURCE_ALREADY_EXISTS"


def test_experiment_search(tracking: Tracking) -> None:
    client = tracking.client
    made = [tracking.new_experiment("searched") for _ in range(5)]
    for number, each in enumerate(made):
        client.set_experiment_tag(each, "number", str(number))
        client.set_experiment_tag(each, "of search", "yes")
    client.delete_experiment(made[4])
    of_test = "tags.`of search` = 'yes'"

    def found(text: str = "", view: int = 1, order_by: list[str] | None = None, limit: int = 100) -> list[int]:
        where = of_test + (f" AND {text}" if text else "")
        page = client.search_experiments(view, limit, where, order_by or ["name ASC"])
        ids = [each.experiment_id for each in page]
        while page.token:
            page = client.search_experiments(view, limit, where, order_by or ["name ASC"], page.token)
            ids += [each.experiment_id for each in page]
        return [made.index(each) for each in ids]

    names = [client.get_experiment(each).name for each in made]
    assert found() == [0, 1, 2, 3]
    assert found(limit=3) == [0, 1, 2, 3]
    assert found(view=2) == [4]
    assert found(view=3, order_by=["name DESC"]) == [4, 3, 2, 1, 0]
    assert found(f"name = '{names[1]}'") == [1]
    assert found(f"attribute.name != '{names[1]}'") == [0, 2, 3]
    assert found("name LIKE 'searched-%'") == [0, 1, 2, 3]
    assert found("name LIKE 'SEARCHED-%'") in ([], [0, 1, 2, 3])
    assert found("name ILIKE 'SEARCHED-%'") == [0, 1, 2, 3]
    assert found("tags.number = '2'") == [2]
    assert found("tags.number != '2'") == [0, 1, 3]
    assert found("creation_time > 0") == [0, 1, 2, 3]
    assert found("creation_time < 1") == []
    assert tracking.refused(client.search_experiments, filter_string="nonsense = 'x'") == "INVALID_PARAMETER_VALUE"
    assert tracking.refused(client.search_experiments, filter_string="name = 'x' OR name = 'y'") == (
        "INVALID_PARAMETER_VALUE"
    )


# -- runs


def test_run_life(tracking: Tracking) -> None:
    client = tracking.client
    experiment = tracking.new_experiment()
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
    ended = client.get_run(info.run_id).info
    assert (ended.status, ended.end_time) == ("FAILED", 5000)
    client.delete_run(info.run_id)
    assert client.get_run(info.run_id).info.lifecycle_stage == "deleted"
    for call, arguments in (
        (client.log_metric, ("m", 1.0)),
        (client.log_param, ("p", "1")),
        (client.set_tag, ("t", "1")),
    ):
        assert tracking.refused(call, info.run_id, *arguments) == "INVALID_PARAMETER_VALUE"
    assert client.search_runs([experiment]) == []
    assert [each.info.run_id for each in client.search_runs([experiment], run_view_type=2)] == [info.run_id]
    client.restore_run(info.run_id)
    assert client.get_run(info.run_id).info.lifecycle_stage == "active"
    assert tracking.refused(client.get_run, "no-such-run") == "RESOURCE_DOES_NOT_EXIST"


def test_run_statuses_and_resume(tracking: Tracking) -> None:
    client = tracking.client
    run = tracking.new_run()
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


def test_run_names_and_users(tracking: Tracking) -> None:
    client = tracking.client
    experiment = tracking.new_experiment()
    named = client.create_run(experiment, tags={"mlflow.runName": "by tag", "mlflow.user": "maria"})
    assert (named.info.run_name, named.data.tags["mlflow.user"]) == ("by tag", "maria")
    assert tracking.refused(client.create_run, experiment, tags={"mlflow.runName": "a"}, run_name="b") == (
        "INVALID_PARAMETER_VALUE"
    )
    child = client.create_run(experiment, tags={"mlflow.parentRunId": named.info.run_id})
    assert child.data.tags["mlflow.parentRunId"] == named.info.run_id
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{named.info.run_id}'")
    assert [each.info.run_id for each in found] == [child.info.run_id]


def test_param_texts_come_back(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.new_run()
    sent = {f"p{number}": text for number, text in enumerate(TEXTS)}
    for key, text in sent.items():
        client.log_param(run, key, text)
    assert client.get_run(run).data.params == sent
    experiment = client.get_run(run).info.experiment_id
    for key, text in sent.items():
        client.log_param(run, key, text)  # the same again
        if '"' not in text:
            assert len(client.search_runs([experiment], f'params.{key} = "{text}"')) == 1, text
    assert tracking.refused(client.log_param, run, "p2", "1") == "INVALID_PARAMETER_VALUE"
    assert tracking.refused(client.log_param, run, "p0", "0.010") == "INVALID_PARAMETER_VALUE"
    assert client.get_run(run).data.params == sent


def test_batch_is_all_or_nothing(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.new_run()
    entities = tracking.mlflow.entities
    client.log_param(run, "lr", "0.1")
    batch = {
        "metrics": [entities.Metric("loss", 0.5, 1000, 1)],
        "params": [entities.Param("new", "1"), entities.Param("lr", "0.2")],
        "tags": [entities.RunTag("t", "1")],
    }
    assert tracking.refused(client.log_batch, run, **batch) == "INVALID_PARAMETER_VALUE"
    data = client.get_run(run).data
    assert (data.params, data.metrics, data.tags.get("t")) == ({"lr": "0.1"}, {}, None)
    twice = [entities.Param("x", "1"), entities.Param("x", "2")]
    assert tracking.refused(client.log_batch, run, params=twice) == "INVALID_PARAMETER_VALUE"
    batch["params"] = [entities.Param("new", "1"), entities.Param("lr", "0.1")]
    client.log_batch(run, **batch)
    data = client.get_run(run).data
    assert (data.params, data.metrics, data.tags["t"]) == ({"lr": "0.1", "new": "1"}, {"loss": 0.5}, "1")


def test_history_by_time_step_and_pages(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.new_run()
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


def test_nonfinite_values(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.new_run()
    for key, value in (("nan", math.nan), ("inf", math.inf), ("minus", -math.inf)):
        client.log_metric(run, key, value)
    metrics = client.get_run(run).data.metrics
    assert math.isnan(metrics["nan"])
    if tracking.is_ours:  # MLflow's SQL stores hold the greatest double
        assert (metrics["inf"], metrics["minus"]) == (math.inf, -math.inf)
    experiment = client.get_run(run).info.experiment_id
    assert len(client.search_runs([experiment], "metrics.inf > 1e300")) == 1
    assert len(client.search_runs([experiment], "metrics.minus < 0")) == 1
    assert len(client.search_runs([experiment], "metrics.nan < 1")) == 0


def test_tag_life(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.new_run()
    client.set_tag(run, "empty", "")
    client.set_tag(run, "long", "x" * 5000)
    client.set_tag(run, "size", "größe")
    client.set_tag(run, "size", "changed")
    tags = client.get_run(run).data.tags
    assert (tags["empty"], len(tags["long"]), tags["size"]) == ("", 5000, "changed")
    client.delete_tag(run, "size")
    assert "size" not in client.get_run(run).data.tags
    assert tracking.refused(client.delete_tag, run, "size") == "RESOURCE_DOES_NOT_EXIST"


def test_fluent_nested_runs_and_resume(tracking: Tracking, tmp_path: Path) -> None:
    mlflow = tracking.mlflow
    mlflow.set_tracking_uri(tracking.url)
    mlflow.set_experiment(experiment_id=tracking.new_experiment("fluent"))
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
    found = mlflow.search_runs(order_by=["start_time ASC"])
    assert list(found["tags.mlflow.runName"]) == ["parent", "child 0", "child 1", "fails"]
    assert list(found["status"]) == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]
    assert list(found["tags.mlflow.parentRunId"])[1:3] == [parent.info.run_id] * 2
    assert found["params.lr"][0] == "0.01"
    assert found["metrics.more"][0] == 7
    assert found["tags.mlflow.note.content"][0] == "of two"


# -- datasets


def test_data_set_logged_once(tracking: Tracking) -> None:
    client, run = tracking.client, tracking.new_run()
    entities = tracking.mlflow.entities
    schema = '{"mlflow_colspec": [{"type": "double", "name": "x"}, {"type": "long", "name": "y"}]}'
    dataset = entities.Dataset("iris", "d1", "local", '{"uri": "iris.csv"}', schema, '{"num_rows": 150}')
    used = entities.DatasetInput(dataset, [entities.InputTag("mlflow.data.context", "training")])
    client.log_inputs(run, [used])
    client.log_inputs(run, [used])
    (found,) = client.get_run(run).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest, found.dataset.source_type) == ("iris", "d1", "local")
    assert (found.dataset.schema, found.dataset.profile) == (schema, '{"num_rows": 150}')
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]
    experiment = client.get_run(run).info.experiment_id
    for text, count in (
        ("dataset.name = 'iris'", 1),
        ("dataset.digest IN ('d0', 'd1')", 1),
        ("dataset.context LIKE 'train%'", 1),
        ("dataset.name = 'wine'", 0),
    ):
        assert len(client.search_runs([experiment], text)) == count, text


# -- artifacts


def test_artifact_folders_names_and_sizes(tracking: Tracking, tmp_path: Path) -> None:
    client, run = tracking.client, tracking.new_run()
    files = {"empty.bin": b"", "a b.txt": b"text", "größe 数.txt": b"\xff\x00", "sub/deep/x.json": b"{}", "sub/y": b"y"}
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    client.log_artifacts(run, str(tmp_path))
    client.log_artifacts(run, str(tmp_path / "sub"), "other")

    def listed(path: str | None = None) -> dict[str, Any]:
        return {each.path: (each.is_dir, each.file_size) for each in client.list_artifacts(run, path)}

    nothing = 0 if tracking.is_ours else None  # MLflow's server leaves a size of 0 out
    sizes = {"a b.txt": (False, 4), "empty.bin": (False, nothing), "größe 数.txt": (False, 2)}
    assert listed() == {**sizes, "other": (True, None), "sub": (True, None)}
    assert listed("sub") == {"sub/deep": (True, None), "sub/y": (False, 1)}
    assert listed("sub/deep") == {"sub/deep/x.json": (False, 2)}
    assert listed("a b.txt") == {}
    assert listed("none") == {}
    (tmp_path / "a b.txt").write_bytes(b"longer text")
    client.log_artifact(run, str(tmp_path / "a b.txt"))
    for name in files:
        assert Path(client.download_artifacts(run, name)).read_bytes() == (tmp_path / name).read_bytes(), name
    whole = Path(client.download_artifacts(run, ""))
    assert (whole / "other/deep/x.json").read_bytes() == b"{}"


def test_artifacts_deleted(tracking: Tracking, tmp_path: Path) -> None:
    client, run = tracking.client, tracking.new_run()
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
