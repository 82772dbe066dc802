"""Logged models and the registry with MLflow's own client, on this server and on MLflow's, which must behave alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.mlflow_tracking import Tracking

pytest_plugins = ["support.mlflow_tracking"]
#: MLflow warns about its own stages and its use of SQLAlchemy.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

#: The tag by which a test finds its own models and versions among all.
TEST_TAG = "of"


def log_model(tracking: Tracking, experiment: str, run_id: str | None, folder: Path, name: str = "iris") -> Any:
    """Log a model with two files."""
    client = tracking.client
    model = client.create_logged_model(
        experiment, name, run_id, tags={"t": "x"}, params={"depth": "3"}, model_type="tree"
    )
    files = folder / model.model_id
    (files / "data").mkdir(parents=True)
    (files / "MLmodel").write_bytes(b"flavors: {}")
    (files / "data" / "größe.bin").write_bytes(name.encode())
    client.log_model_artifacts(model.model_id, str(files))
    return client.finalize_logged_model(model.model_id, "READY")


@pytest.fixture
def names(request: pytest.FixtureRequest) -> list[str]:
    """Names of registered models that no other test uses."""
    return [f"{request.node.originalname} {letter}" for letter in ("a", "B", "c")]


def register(tracking: Tracking, name: str, model: Any, run_id: str | None = None, **fields: Any) -> Any:
    return tracking.client.create_model_version(
        name, f"models:/{model.model_id}", run_id, model_id=model.model_id, **fields
    )


def test_logged_model_is_created_tagged_evaluated_and_deleted(tracking: Tracking, tmp_path: Path) -> None:
    client = tracking.client
    experiment = tracking.create_experiment()
    run = client.create_run(experiment).info.run_id
    pending_model = client.create_logged_model(experiment, "iris", run, params={str(n): "v" for n in range(250)})
    assert (str(pending_model.status), pending_model.source_run_id, pending_model.experiment_id) == (
        "PENDING",
        run,
        experiment,
    )
    assert pending_model.artifact_location.endswith(f"/{experiment}/models/{pending_model.model_id}/artifacts")
    assert client.get_logged_model(pending_model.model_id).params == {str(n): "v" for n in range(250)}
    model = log_model(tracking, experiment, run, tmp_path)
    assert (str(model.status), model.model_type, model.tags, model.params) == (
        "READY",
        "tree",
        {"t": "x"},
        {"depth": "3"},
    )
    client.set_logged_model_tags(model.model_id, {"a": "b", "t": "y"})
    client.delete_logged_model_tag(model.model_id, "a")
    assert client.get_logged_model(model.model_id).tags == {"t": "y"}
    assert tracking.error_code(client.delete_logged_model_tag, model.model_id, "a") == "RESOURCE_DOES_NOT_EXIST"
    client.log_metric(run, "acc", 0.5, 10, 1, model_id=model.model_id)
    client.log_metric(run, "acc", 0.75, 20, 2, model_id=model.model_id)
    metrics = client.get_logged_model(model.model_id).metrics
    assert sorted((each.key, each.value, each.step, each.run_id) for each in metrics) == [
        ("acc", 0.5, 1, run),
        ("acc", 0.75, 2, run),
    ]
    assert client.get_run(run).data.metrics == {"acc": 0.75}
    artifacts = client.list_logged_model_artifacts(model.model_id)
    assert [(each.path, each.is_dir, each.file_size) for each in artifacts] == [
        ("MLmodel", False, 11),
        ("data", True, None),
    ]
    uri = model.artifact_location
    folder = Path(tracking.mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=tracking.url))
    assert (folder / "data" / "größe.bin").read_bytes() == b"iris"
    client.delete_logged_model(model.model_id)
    assert tracking.error_code(client.get_logged_model, model.model_id) == "RESOURCE_DOES_NOT_EXIST"


def test_logged_models_are_inputs_and_outputs_of_runs(tracking: Tracking, tmp_path: Path) -> None:
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    client = tracking.client
    experiment = tracking.create_experiment()
    run = client.create_run(experiment).info.run_id
    model = log_model(tracking, experiment, run, tmp_path)
    client.log_outputs(run, [LoggedModelOutput(model.model_id, 3)])
    user = client.create_run(experiment).info.run_id
    client.log_inputs(user, models=[LoggedModelInput(model.model_id)])
    outputs = client.get_run(run).outputs.model_outputs
    assert [(each.model_id, each.step) for each in outputs] == [(model.model_id, 3)]
    assert [each.model_id for each in client.get_run(user).inputs.model_inputs] == [model.model_id]


@pytest.mark.parametrize("name", ["a/b", "a:b", "a.b", "a%b", 'a"b', "a'b"])
def test_logged_model_with_an_invalid_name_is_refused(tracking: Tracking, name: str) -> None:
    client = tracking.client
    experiment = tracking.create_experiment()
    assert tracking.error_code(client.create_logged_model, experiment, name) == "INVALID_PARAMETER_VALUE"


def test_search_logged_models(tracking: Tracking, tmp_path: Path) -> None:
    client = tracking.client
    experiment = tracking.create_experiment()
    run = client.create_run(experiment).info.run_id
    models = [log_model(tracking, experiment, run, tmp_path, f"m{number}") for number in range(4)]
    for number, model in enumerate(models[:3]):
        client.log_metric(run, "acc", number / 2, 10 + number, 1, model_id=model.model_id)
    client.set_logged_model_tags(models[0].model_id, {"best one": "yes"})

    def search(filter_string: str, **order: Any) -> list[str]:
        orders = [order] if order else [{"field_name": "name", "ascending": True}]
        page = client.search_logged_models([experiment], filter_string, order_by=orders)
        return [each.name for each in page]

    cases = {
        "": ["m0", "m1", "m2", "m3"],
        "name = 'm1'": ["m1"],
        "name != 'm1' AND name LIKE 'm%'": ["m0", "m2", "m3"],
        "name ILIKE 'M_'": ["m0", "m1", "m2", "m3"],
        "name IN ('m0', 'm3')": ["m0", "m3"],
        f"model_id = '{models[2].model_id}'": ["m2"],
        f"source_run_id = '{run}' AND model_type = 'tree'": ["m0", "m1", "m2", "m3"],
        "params.depth = '3' AND name = 'm3'": ["m3"],
        "params.depth = '4'": [],
        "tags.`best one` = 'yes'": ["m0"],
        "metrics.acc > 0.1": ["m1", "m2"],
        "metrics.acc >= 0.5 AND metrics.acc < 1": ["m1"],
        "metrics.none > 0": [],
    }
    assert {text: search(text) for text in cases} == cases
    assert search("", field_name="metrics.acc", ascending=False) == ["m2", "m1", "m0", "m3"]
    assert search("", field_name="metrics.acc", ascending=True) == ["m0", "m1", "m2", "m3"]
    assert search("", field_name="creation_time", ascending=True)[0] == "m0"
    page = client.search_logged_models([experiment], max_results=3)
    rest = client.search_logged_models([experiment], max_results=3, page_token=page.token)
    assert (len(page), len(rest), rest.token) == (3, 1, None)
    for text in ("name", "name = 'a' OR name = 'b'"):
        assert tracking.error_code(client.search_logged_models, [experiment], text) == "INVALID_PARAMETER_VALUE", text


def test_registered_model_is_created_tagged_renamed_and_deleted(tracking: Tracking, names: list[str]) -> None:
    client = tracking.client
    name, other, new_name = names
    model = client.create_registered_model(name, {"a": "b"}, "about it")
    assert (model.name, model.description, model.tags, model.aliases) == (name, "about it", {"a": "b"}, {})
    assert tracking.error_code(client.create_registered_model, name) == "RESOURCE_ALREADY_EXISTS"
    client.set_registered_model_tag(name, "c", "")
    client.delete_registered_model_tag(name, "a")
    client.delete_registered_model_tag(name, "a")
    assert client.get_registered_model(name).tags == {"c": ""}
    client.update_registered_model(name, "other words")
    assert client.get_registered_model(name).description == "other words"
    client.create_registered_model(other)
    assert tracking.error_code(client.rename_registered_model, name, other) == "RESOURCE_ALREADY_EXISTS"
    client.rename_registered_model(name, new_name)
    assert tracking.error_code(client.get_registered_model, name) == "RESOURCE_DOES_NOT_EXIST"
    assert client.get_registered_model(new_name).description == "other words"
    client.delete_registered_model(new_name)
    for call in (client.get_registered_model, client.delete_registered_model):
        assert tracking.error_code(call, new_name) == "RESOURCE_DOES_NOT_EXIST"
    for bad in ("", "a/b"):
        assert tracking.error_code(client.create_registered_model, bad) == "INVALID_PARAMETER_VALUE"


def test_model_versions_have_tags_aliases_and_stages(tracking: Tracking, names: list[str], tmp_path: Path) -> None:
    client = tracking.client
    experiment, name = tracking.create_experiment(), names[0]
    run = client.create_run(experiment).info.run_id
    model = log_model(tracking, experiment, run, tmp_path)
    client.create_registered_model(name)
    first = register(tracking, name, model, run, tags={"t": "x"}, description="first")
    assert (str(first.version), first.run_id, first.status, first.current_stage) == ("1", run, "READY", "None")
    assert (first.description, first.tags, first.source) == ("first", {"t": "x"}, f"models:/{model.model_id}")
    for _ in range(3):
        register(tracking, name, model, run)
    assert tracking.error_code(register, tracking, "no such model", model) == "RESOURCE_DOES_NOT_EXIST"
    client.update_model_version(name, "1", "other words")
    client.set_model_version_tag(name, "1", "u", "ü")
    client.delete_model_version_tag(name, "1", "t")
    version = client.get_model_version(name, "1")
    assert (version.description, version.tags) == ("other words", {"u": "ü"})
    for alias, number in (("champion", "1"), ("Champion-2", "2"), ("champion", "3")):
        client.set_registered_model_alias(name, alias, number)
    assert {key: str(value) for key, value in client.get_registered_model(name).aliases.items()} == {
        "champion": "3",
        "Champion-2": "2",
    }
    assert client.get_model_version(name, "3").aliases == ["champion"]
    assert str(client.get_model_version_by_alias(name, "champion").version) == "3"
    assert str(client.get_model_version_by_alias(name, "latest").version) == "4"
    client.delete_registered_model_alias(name, "champion")
    client.delete_registered_model_alias(name, "champion")
    for alias in ("champion", "none"):
        assert tracking.error_code(client.get_model_version_by_alias, name, alias) == "INVALID_PARAMETER_VALUE"
    for alias in ("latest", "v1", "not one", *(["1"] if tracking.is_native else [])):
        assert tracking.error_code(client.set_registered_model_alias, name, alias, "1") == "INVALID_PARAMETER_VALUE", (
            alias
        )
    assert tracking.error_code(client.set_registered_model_alias, name, "x", "9") == "RESOURCE_DOES_NOT_EXIST"
    client.transition_model_version_stage(name, "1", "production")
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    client.transition_model_version_stage(name, "3", "Staging")
    stages = [
        each.current_stage for each in client.search_model_versions(f"name='{name}'", order_by=["version_number"])
    ]
    assert stages == ["Archived", "Production", "Staging", "None"]
    latest = client.get_latest_versions(name, ["Production", "Staging"])
    assert sorted(str(each.version) for each in latest) == ["2", "3"]
    assert tracking.error_code(client.transition_model_version_stage, name, "1", "live") == "INVALID_PARAMETER_VALUE"
    client.delete_model_version(name, "4")
    assert tracking.error_code(client.get_model_version, name, "4") == "RESOURCE_DOES_NOT_EXIST"
    uri = client.get_model_version_download_uri(name, "1")
    folder = Path(tracking.mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=tracking.url))
    assert (folder / "MLmodel").read_bytes() == b"flavors: {}"


def test_search_registered_models_and_versions(tracking: Tracking, names: list[str], tmp_path: Path) -> None:
    client = tracking.client
    experiment = tracking.create_experiment()
    run = client.create_run(experiment).info.run_id
    model = log_model(tracking, experiment, run, tmp_path)
    for number, name in enumerate(names):
        client.create_registered_model(name, {TEST_TAG: "registry searched", "n": str(number)})
        register(tracking, name, model, run, tags={TEST_TAG: "registry searched"})
    register(tracking, names[0], model, run, tags={TEST_TAG: "registry searched", "second": "yes"})
    mine = f"tags.{TEST_TAG} = 'registry searched'"

    def search_models(text: str, order: list[str] | None = None) -> list[str]:
        results = client.search_registered_models(f"{mine}{text}", order_by=order)
        return [each.name.rpartition(" ")[2] for each in results]

    assert search_models("") == ["B", "a", "c"]
    assert search_models("", ["name DESC"]) == ["c", "a", "B"]
    assert search_models(" AND tags.n = '1'") == ["B"]
    assert search_models(" AND name LIKE '%versions c'") == ["c"]
    assert search_models(" AND name ILIKE '%VERSIONS b'") == ["B"]
    assert search_models(f" AND name = '{names[0]}'") == ["a"]

    def search_versions(text: str) -> list[str]:
        results = client.search_model_versions(f"{mine}{text}", order_by=["name ASC", "version_number DESC"])
        return [f"{each.name.rpartition(' ')[2]} {each.version}" for each in results]

    assert search_versions("") == ["B 1", "a 2", "a 1", "c 1"]
    assert search_versions(f" AND run_id = '{run}' AND version_number > 1") == ["a 2"]
    assert search_versions(f" AND run_id IN ('{run}', 'x') AND name = '{names[2]}'") == ["c 1"]
    assert search_versions(" AND tags.second = 'yes'") == ["a 2"]
    assert search_versions(f" AND source_path = 'models:/{model.model_id}' AND name LIKE '%B'") == ["B 1"]
    page = client.search_registered_models(mine, max_results=2)
    rest = client.search_registered_models(mine, max_results=2, page_token=page.token)
    assert (len(page), len(rest), rest.token or None) == (2, 1, None)
    for text in ("name =", "size = 'x'", "name = 'a' OR name = 'b'"):
        assert tracking.error_code(client.search_registered_models, text) == "INVALID_PARAMETER_VALUE", text


@pytest.mark.parametrize("source", ["/etc/passwd", "file:///etc", "models:/m-0123456789abcdef0123456789abcdef"])
def test_model_version_with_an_unknown_source_is_refused(tracking: Tracking, names: list[str], source: str) -> None:
    client = tracking.client
    name = f"{names[0]} {source[:4].strip('/')}"
    client.create_registered_model(name)
    model_id = source.removeprefix("models:/") if source.startswith("models:/") else None
    code = tracking.error_code(client.create_model_version, name, source, model_id=model_id)
    assert code == "INVALID_PARAMETER_VALUE" or not tracking.is_native
    assert client.search_model_versions(f"name='{name}'") == []
