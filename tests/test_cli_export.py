"""`chachaml-lite export --to mlflow`, as a process, to a real MLflow server, read back with MLflow's client."""

from __future__ import annotations

import json
import math
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from support.calls import OCTETS, LogRun
from support.commands import cli
from support.mlflow_commands import mlflow_cli, start_command
from support.mlflow_servers import Between, Reader, between
from support.servers import PATIENCE_SECONDS, Server, free_port

from chachaml_lite.cli import main
from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import HttpClient
from chachaml_lite.commands import run_names
from chachaml_lite.commands.transfer import export as command
from chachaml_lite.export.mlflow_server import MlflowServer

pytest_plugins = "support.mlflow_servers"

MAX_DOUBLE = 1.7976931348623157e308
HOSTILE = "::error::\u202e[31m"

Export = Callable[..., Any]


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """The name of an experiment that no other test uses on the shared MLflow server."""
    return str(request.node.name)


@pytest.fixture
def export(data: Path, mlflow: Reader) -> Export:
    """A function that exports this test's store and returns the runs of its JSON output."""

    def run(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
        return run_export(code, "--tracking-uri", mlflow.url, "--data", str(data), *arguments)

    return run


def run_export(code: int, *arguments: str, **variables: str) -> list[dict[str, Any]]:
    """Run an export and return the runs of its JSON output. In this process, since importing MLflow takes a second."""
    names = (
        "CHACHAML_URL",
        "CHACHAML_DATA",
        "CHACHAML_TOKEN",
        "MLFLOW_TRACKING_URI",
    )  # MLflow sets the last one itself
    env = {**dict.fromkeys(names), **variables}
    before = signal.getsignal(signal.SIGPIPE)
    result = CliRunner().invoke(main, ["export", "--to", "mlflow", "--json", *arguments], env=env)
    signal.signal(signal.SIGPIPE, before)
    assert (result.exit_code, result.stderr) == (code, ""), result.output
    output = json.loads(result.stdout)
    assert output.keys() == {"ok", "tracking_uri", "runs"} and output["ok"] == (code == 0)
    runs: list[dict[str, Any]] = output["runs"]
    return runs


def result_by_id(runs: list[dict[str, Any]]) -> dict[str, str]:
    return {run["id"]: run["result"] for run in runs}


def drop_own_tags(tags: dict[str, str]) -> dict[str, str]:
    """Drop the tags that are the export's own bookkeeping, and MLflow's tag for the name, which is tested elsewhere."""
    own_tags = ("chachaml.artifacts.", "chachaml.points", "chachaml.made", "mlflow.runName")
    return {key: value for key, value in tags.items() if not key.startswith(own_tags)}


# -- what arrives


def test_export_copies_every_part_of_a_run(
    client: FlaskClient, log_run: LogRun, export: Export, mlflow: Reader
) -> None:
    points = [
        {"metrics": {"loss": 1, "val/größe": 0.5}, "step": 0, "timestamp": 1_000},
        {"metrics": {"loss": "NaN"}, "step": 1, "timestamp": 2_000},
        {"metrics": {"loss": "Infinity"}, "step": 1, "timestamp": 2_001},
        {"metrics": {"loss": "-Infinity"}, "step": -5, "timestamp": 2_002},
        {"metrics": {"loss": 0.25}, "step": 2**40, "timestamp": 2_003},
        {"metrics": {"loss": 0.125}, "step": 1, "timestamp": 2_004},
    ]
    run_id = log_run(
        experiment="Größe der Blüten",
        name="erster 日本",
        tags={"author": "maria", "n": 3, "ok": True},
        created_by="maria",
        params={"lr": 0.01, "layers": [32, {"act": "relu"}], "opt": "adam", "none": None, "empty": ""},
        metrics=points,
        artifacts={
            "model.pkl": b"\x00bytes",
            "checkpoints/step_50/w.pt": b"w" * 300_000,
            "empty": b"",
            "größe.txt": b"1",
        },
    )
    client.post(f"/api/w/runs/{run_id}/note", json={"note": "# Fine\n\n*really*"})
    client.post(f"/api/w/runs/{run_id}/datasets", json={"role": "train", "n_rows": 5, "source": "s3://x"})
    client.post(f"/api/w/runs/{run_id}/end", json={"status": "failed", "error": "exit code 3"})
    run = client.get(f"/api/runs/{run_id}").get_json()

    (outcome,) = export()
    theirs = mlflow.run("Größe der Blüten")
    assert (theirs.info.run_name, theirs.info.status) == ("erster 日本", "FAILED")
    assert (theirs.info.start_time, theirs.info.end_time) == (run["start_time"], run["end_time"])
    assert theirs.info.user_id == "maria"
    assert theirs.data.params == {
        "lr": "0.01",
        "layers": '[32, {"act": "relu"}]',
        "opt": "adam",
        "none": "null",
        "empty": "",
    }
    assert drop_own_tags(theirs.data.tags) == {
        "author": "maria",
        "n": "3",
        "ok": "true",
        "mlflow.user": "maria",
        "mlflow.note.content": "# Fine\n\n*really*",
        "chachaml.error": "exit code 3",
        "chachaml.run_id": run_id,
    }
    assert mlflow.points(theirs, "val/größe") == [(0, 0.5, 1_000)]
    loss = mlflow.points(theirs, "loss")
    assert math.isnan(next(value for step, value, at in loss if at == 2_000))
    assert [point for point in loss if point[2] != 2_000] == [
        (-5, -MAX_DOUBLE, 2_002),  # MLflow's SQL store replaces an infinity by this
        (0, 1.0, 1_000),
        (1, 0.125, 2_004),
        (1, MAX_DOUBLE, 2_001),
        (2**40, 0.25, 2_003),
    ]
    (dataset,) = theirs.inputs.dataset_inputs
    assert (dataset.dataset.name, json.loads(dataset.dataset.source)) == ("s3://x", {"uri": "s3://x"})
    assert json.loads(dataset.dataset.profile) == {"num_rows": 5}
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "train")]
    assert mlflow.artifacts(theirs) == {
        "model.pkl": b"\x00bytes",
        "checkpoints/step_50/w.pt": b"w" * 300_000,
        "empty": b"",
        "größe.txt": b"1",
    }
    assert outcome == {
        "id": run_id,
        "experiment": "Größe der Blüten",
        "result": "exported",
        "mlflow_run_id": theirs.info.run_id,
        "url": f"{mlflow.url}/#/experiments/{theirs.info.experiment_id}/runs/{theirs.info.run_id}",
        "points": 7,
        "artifacts": 4,
        "changed": [],
        "error": None,
    }


def test_value_invalid_in_mlflow_is_changed_reported_and_kept_in_a_file(
    log_run: LogRun, export: Export, mlflow: Reader, experiment: str
) -> None:
    run_id = log_run(
        experiment=experiment,
        name=HOSTILE,
        params={"what (x)": 1, "long": "x" * 7000},
        tags={"mlflow.parentRunId": "nobody", HOSTILE: HOSTILE},
        metrics=[{"acc%": 0.5, "a//b": 2, "step": 1}, {"metrics": {"early": 1}, "timestamp": -5}],
        artifacts={"a/50%#1.txt": b"bytes"},
        end="completed",
    )
    (outcome,) = export()
    theirs = mlflow.run(experiment)
    assert theirs.info.run_name == HOSTILE
    assert sorted(value[:3] for value in theirs.data.params.values()) == ["1", "xxx"]
    assert theirs.data.params["long"] == "x" * 5999 + "…"
    assert sorted(theirs.data.metrics.values()) == [0.5, 1.0, 2.0]
    assert mlflow.points(theirs, "early") == [(0, 1.0, 0)]
    assert "mlflow.parentRunId" not in theirs.data.tags
    assert HOSTILE in theirs.data.tags.values()
    artifacts = mlflow.artifacts(theirs)
    original = json.loads(artifacts.pop("chachaml-run.json"))
    ((name, content),) = artifacts.items()
    assert re.fullmatch(r"a/50__1\.\w{8}\.txt", name) and content == b"bytes"
    assert original["run"]["params"]["long"] == "x" * 7000
    assert original["run"]["tags"][HOSTILE] == HOSTILE
    assert {change.partition(" is ")[0] for change in original["changed"]} == {
        "param 'what (x)'",
        "param 'long'",
        "tag 'mlflow.parentRunId'",
        f"tag {HOSTILE!r}",
        "metric 'acc%'",
        "metric 'a//b'",
        "artifact 'a/50%#1.txt'",
    }
    assert theirs.data.tags["chachaml.changed"].splitlines() == original["changed"]
    assert outcome["changed"][:-1] == original["changed"]
    assert outcome["changed"][-1] == theirs.data.tags["chachaml.points_changed"]
    assert "1 of the points have times before 1970" in outcome["changed"][-1]
    assert result_by_id(export()) == {run_id: "unchanged"}


def test_children_are_exported_under_their_parents(
    log_run: LogRun, export: Export, mlflow: Reader, experiment: str
) -> None:
    log_run(experiment=experiment, id="grandchild", parent_run_id="child")
    log_run(experiment=experiment, id="child", parent_run_id="parent")
    log_run(experiment=experiment, id="lonely", parent_run_id="elsewhere")
    log_run(experiment=f"{experiment} above", id="parent")
    export("child", "lonely")
    by_id = {run.data.tags["chachaml.run_id"]: run for run in mlflow.runs(experiment)}
    assert {run.data.tags.get("mlflow.parentRunId") for run in by_id.values()} == {None}
    assert by_id["child"].data.tags["chachaml.parent_run_id"] == "parent"
    assert result_by_id(export()) == {
        "grandchild": "exported",
        "child": "updated",
        "lonely": "unchanged",
        "parent": "exported",
    }
    by_id = {run.data.tags["chachaml.run_id"]: run for run in mlflow.runs(experiment)}
    parent = mlflow.run(f"{experiment} above")
    assert by_id["child"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert by_id["grandchild"].data.tags["mlflow.parentRunId"] == by_id["child"].info.run_id
    assert "mlflow.parentRunId" not in by_id["lonely"].data.tags


def test_export_from_a_server_by_id_or_by_query(serve: Callable[..., Server], mlflow: Reader, experiment: str) -> None:
    server = serve("--token", "secret")
    with HttpClient(server.url, "secret") as client:
        for run_id in ("one", "two", "three"):
            client.post("/api/w/runs", {"experiment": experiment, "id": run_id})
            client.post(f"/api/w/runs/{run_id}/params", {"n": len(run_id)})
            client.ask(
                "POST", f"/api/w/runs/{run_id}/artifacts", [("name", "a")], body=b"1", content_type=OCTETS
            ).json()
            client.post(f"/api/w/runs/{run_id}/end", {"status": "completed"})

    def export_from_server(*arguments: str) -> dict[str, str]:
        env = {"CHACHAML_URL": server.url, "CHACHAML_TOKEN": "secret", "MLFLOW_TRACKING_URI": mlflow.url}
        return result_by_id(run_export(0, *arguments, **env))

    assert export_from_server("-e", experiment, "-q", "params.n = 5") == {"three": "exported"}
    assert export_from_server("one", "one") == {"one": "exported"}
    assert export_from_server(f"latest:{experiment}") == {"three": "unchanged"}
    assert export_from_server("-e", "nothing") == {}
    assert export_from_server() == {"one": "unchanged", "two": "exported", "three": "unchanged"}
    for run in mlflow.runs(experiment):
        assert mlflow.artifacts(run) == {"a": b"1"}


def test_run_list_is_read_page_by_page_with_parents_before_children(
    log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [log_run(id=f"r{number}", parent_run_id="r4" if number == 0 else None) for number in range(5)]
    monkeypatch.setattr(run_names, "_PAGE_RUNS", 2)
    with FolderClient(data) as client:
        ids_in_order = [run["id"] for run in command._match_runs(client, None, None)]
    assert (len(ids_in_order), set(ids_in_order)) == (5, set(ids))
    assert ids_in_order.index("r4") < ids_in_order.index("r0"), "a parent is listed before its child"


# -- a second export


def test_second_export_sends_nothing(
    log_run: LogRun, data: Path, export: Export, mlflow: Reader, experiment: str
) -> None:
    points = [{"loss": step / 7, "acc": 0.5, "step": step % 300} for step in range(700)]
    run_id = log_run(experiment=experiment, params={"lr": 1}, metrics=points, artifacts={"m": b"m"}, end="completed")
    (first,) = export()
    assert first["points"] == 1400
    before, theirs = mlflow.writes(), mlflow.run(experiment)
    history = mlflow.points(theirs, "loss")
    assert [value for _, value, _ in sorted(history, key=lambda point: (point[1], point[0]))] == pytest.approx(
        [step / 7 for step in range(700)]
    )
    (second,) = export()
    assert (second["result"], second["points"], second["artifacts"]) == ("unchanged", 0, 0)
    assert mlflow.writes() == before
    assert [run.info.run_id for run in mlflow.runs(experiment)] == [first["mlflow_run_id"]]
    result = cli("export", "--to", "mlflow", "--tracking-uri", mlflow.url, "--data", str(data), run_id)
    assert (result.stdout, result.stderr) == ("1 run: 1 unchanged\n", "")


def test_export_of_a_grown_run_sends_only_the_new_parts(
    client: FlaskClient, log_run: LogRun, export: Export, mlflow: Reader, experiment: str
) -> None:
    run_id = log_run(
        experiment=experiment,
        params={"lr": 1},
        tags={"stage": "a"},
        metrics=[{"metrics": {"loss": step}, "step": step, "timestamp": step} for step in range(5)],
        artifacts={"a": b"one", "b": b"two"},
    )
    assert result_by_id(export()) == {run_id: "exported"}
    assert mlflow.run(experiment).info.status == "RUNNING"
    base = f"/api/w/runs/{run_id}"
    client.post(f"{base}/params", json={"epochs": 3})
    # after the other points, between them, at an existing step, and of a new metric
    for key, step in (("loss", 9), ("loss", -3), ("loss", 2), ("acc", 0)):
        client.post(f"{base}/metrics", json={"metrics": {key: 0.5}, "step": step, "timestamp": 100 + step})
    client.post(f"{base}/artifacts?name=a&overwrite=true", data=b"won", content_type=OCTETS)
    client.post(f"{base}/artifacts?name=c/d", data=b"new", content_type=OCTETS)
    client.post(f"{base}/tags", json={"stage": "b"})
    client.post(f"{base}/datasets", json={"role": "test"})
    client.post(f"{base}/end", json={"status": "completed"})
    (outcome,) = export()
    assert (outcome["result"], outcome["points"], outcome["artifacts"]) == ("updated", 4, 2)
    theirs = mlflow.run(experiment)
    assert (theirs.info.status, theirs.data.params) == ("FINISHED", {"lr": "1", "epochs": "3"})
    assert theirs.data.tags["stage"] == "b"
    assert mlflow.points(theirs, "acc") == [(0, 0.5, 100)]
    assert mlflow.points(theirs, "loss") == sorted(
        [(step, float(step), step) for step in range(5)] + [(9, 0.5, 109), (-3, 0.5, 97), (2, 0.5, 102)]
    )
    assert mlflow.artifacts(theirs) == {"a": b"won", "b": b"two", "c/d": b"new"}
    assert len(theirs.inputs.dataset_inputs) == 1
    # and back to its first state
    client.post(f"{base}/note", json={"note": "done"})
    assert result_by_id(export()) == {run_id: "updated"}
    assert result_by_id(export()) == {run_id: "unchanged"}


def test_points_logged_during_an_export_come_with_the_next_one(
    client: FlaskClient, log_run: LogRun, data: Path, mlflow: Reader, experiment: str
) -> None:
    run_id = log_run(experiment=experiment, params={"lr": 1}, metrics=[{"loss": 1, "step": 1}, {"loss": 2, "step": 2}])

    def log_more(path: str, body: Any) -> bool:
        if path.endswith("log-batch") and body.get("params"):
            for entry in ({"acc": 0.5}, {"loss": 3, "step": 3}):
                assert client.post(f"/api/w/runs/{run_id}/metrics", json=entry).status_code == 200
        return False

    with between(mlflow.url, log_more, passes_on=True) as front:
        (outcome,) = run_export(0, "--tracking-uri", front.url, "--data", str(data))
    assert outcome["points"] == 2
    (outcome,) = run_export(0, "--tracking-uri", mlflow.url, "--data", str(data))
    assert (outcome["result"], outcome["points"]) == ("updated", 2)
    theirs = mlflow.run(experiment)
    assert [point[:2] for point in mlflow.points(theirs, "loss")] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert [point[:2] for point in mlflow.points(theirs, "acc")] == [(0, 0.5)]


def nth_batch(number: int) -> Callable[[str, Any], bool]:
    count = 0

    def stops(path: str, body: Any) -> bool:
        nonlocal count
        count += path.endswith("log-batch") and bool(body.get("metrics"))
        return count == number

    return stops


def to_artifact(path: str, body: Any) -> bool:
    return path.endswith("/second")


def to_create(path: str, body: Any) -> bool:
    return path.endswith("runs/create")


def to_end(path: str, body: Any) -> bool:
    return path.endswith("runs/update")


#: More than fit into one request to MLflow.
POINTS = 1100


@pytest.mark.parametrize("passes_on", [True, False], ids=["arrived", "lost"])
@pytest.mark.parametrize(
    "stops",
    [lambda: to_create, lambda: nth_batch(2), lambda: to_artifact, lambda: to_end],
    ids=["create", "points", "artifact", "end"],
)
def test_killed_export_is_completed_by_the_next_one(
    log_run: LogRun,
    data: Path,
    export: Export,
    mlflow: Reader,
    experiment: str,
    stops: Callable[[], Callable[[str, Any], bool]],
    passes_on: bool,
) -> None:
    points = [{"metrics": {"loss": step / 7}, "step": step // 2, "timestamp": step} for step in range(POINTS)]
    files = {"first": b"1", "second": b"2", "third": b"3"}
    run_id = log_run(experiment=experiment, params={"lr": 1}, metrics=points, artifacts=files, end="completed")
    with between(mlflow.url, stops(), passes_on=passes_on) as front:
        kill_once_reached(front, data)
    before = [run.info.status for run in mlflow.runs(experiment)]
    is_created = stops() is not to_create or passes_on
    assert before == [("FINISHED" if stops() is to_end and passes_on else "RUNNING")] * is_created
    assert result_by_id(export())[run_id] in ("updated" if is_created else "exported", "unchanged")
    theirs = mlflow.run(experiment)
    assert mlflow.points(theirs, "loss") == [(step // 2, step / 7, step) for step in range(POINTS)]
    assert mlflow.artifacts(theirs) == files
    assert (theirs.info.status, theirs.data.params) == ("FINISHED", {"lr": "1"})
    assert result_by_id(export()) == {run_id: "unchanged"}


def test_run_is_not_created_twice_if_the_response_is_lost(
    log_run: LogRun, data: Path, export: Export, mlflow: Reader, experiment: str
) -> None:
    run_id = log_run(experiment=experiment, metrics={"loss": 1}, end="completed")
    with between(mlflow.url, to_create, passes_on=True, drops=True) as front:
        (outcome,) = run_export(
            1, "--tracking-uri", front.url, "--data", str(data), MLFLOW_HTTP_REQUEST_MAX_RETRIES="3"
        )
    assert (outcome["result"], outcome["points"]) == ("failed", 0)
    assert result_by_id(export()) == {run_id: "updated"}
    assert mlflow.run(experiment).info.status == "FINISHED"


def test_bookkeeping_tag_edited_in_mlflow_is_reported_as_an_error(
    log_run: LogRun, export: Export, mlflow: Reader, experiment: str
) -> None:
    log_run(experiment=experiment, metrics={"loss": 1})
    (outcome,) = export()
    mlflow.client.set_tag(outcome["mlflow_run_id"], "chachaml.made", "long ago")
    mlflow.client.set_tag(outcome["mlflow_run_id"], "chachaml.points", "many")
    (outcome,) = export(code=1)
    assert "its tag chachaml.points in MLflow was changed, to 'many'" in outcome["error"]


def kill_once_reached(front: Between, data: Path, number: signal.Signals = signal.SIGKILL) -> tuple[str, str]:
    words = ("export", "--to", "mlflow", "--tracking-uri", front.url, "--data", str(data))
    with start_command(*words, env={"TMPDIR": str(data)}) as process:
        assert front.reached.wait(PATIENCE_SECONDS)
        process.send_signal(number)
        result = process.complete()
    assert result.returncode == -number, result
    return result.stdout, result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_signal_ends_the_export_with_one_line_and_no_temporary_files(
    log_run: LogRun, data: Path, mlflow: Reader, experiment: str, number: signal.Signals
) -> None:
    log_run(experiment=experiment, artifacts={"second": b"bytes"})
    with between(mlflow.url, to_artifact, passes_on=False) as front:
        assert kill_once_reached(front, data, number) == (
            "",
            "chachaml-lite: stopped; the same command continues from here\n",
        )
    assert not list(data.glob("chachaml-*"))


# -- what can't be exported


def test_failed_run_is_named_and_the_others_are_exported(
    log_run: LogRun, data: Path, tmp_path: Path, export: Export, mlflow: Reader, experiment: str
) -> None:
    log_run(experiment=experiment, id="same", end="completed")
    log_run(experiment=experiment, id="torn", artifacts={"a": b"bytes"})
    log_run(experiment=experiment, id="gone")
    log_run(experiment=f"{experiment} trash", id="trash")
    export("same", "gone", "trash")
    trash = mlflow.client.get_experiment_by_name(f"{experiment} trash")
    mlflow.client.delete_experiment(trash.experiment_id)
    (deleted_run,) = [run for run in mlflow.runs(experiment) if run.data.tags["chachaml.run_id"] == "gone"]
    mlflow.client.delete_run(deleted_run.info.run_id)
    (data / "runs/torn/blobs/a").write_bytes(b"BYTES")
    meta = data / "runs/same/meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "start_time": 5}))
    log_run(experiment=experiment, id="fine", metrics={"loss": 1})
    runs = export(code=1)
    assert result_by_id(runs) == {
        "same": "failed",
        "torn": "failed",
        "gone": "deleted",
        "trash": "failed",
        "fine": "exported",
    }
    errors = {run["id"]: run["error"] for run in runs}
    assert "another run with this id" in errors["same"]
    assert "not those that were uploaded" in errors["torn"]
    assert re.search(r"trash; restore it there \(mlflow experiments restore -x \d+\)", errors["trash"])
    assert "torn" not in [name for run in mlflow.runs(experiment) for name in mlflow.artifacts(run)]
    result = mlflow_cli("export", "--to", "mlflow", "--tracking-uri", mlflow.url, "--data", str(data), code=1)
    assert re.search(r"^failed +same: MLflow has another run with this id", result.stdout, re.MULTILINE)
    assert result.stdout.endswith("5 runs: 3 failed, 1 deleted, 1 unchanged\n")


def test_concurrent_exports_create_each_run_once(
    log_run: LogRun, data: Path, export: Export, mlflow: Reader, experiment: str
) -> None:
    ids = [log_run(experiment=experiment, metrics={"loss": number}, end="completed") for number in range(4)]
    words = ["export", "--to", "mlflow", "--tracking-uri", mlflow.url, "--data", str(data), "-e", experiment]
    with start_command(*words) as first, start_command(*words) as second:
        both = [first.complete(), second.complete()]
    assert [each.returncode for each in both] == [0, 0], both
    runs = mlflow.runs(experiment)
    assert sorted(run.data.tags["chachaml.run_id"] for run in runs) == sorted(ids)
    assert all(len(mlflow.client.get_metric_history(run.info.run_id, "loss")) == 1 for run in runs)
    assert set(result_by_id(export("-e", experiment)).values()) == {"unchanged"}


def test_experiment_created_meanwhile_by_another_export_is_used(
    log_run: LogRun, export: Export, mlflow: Reader, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_run(experiment=experiment, end="completed")
    create = MlflowServer.create_experiment

    def create_late(server: MlflowServer, name: str) -> str:
        create(server, name)  # the other export's
        return create(server, name)

    monkeypatch.setattr(MlflowServer, "create_experiment", create_late)
    assert set(result_by_id(export("-e", experiment)).values()) == {"exported"}
    assert len(mlflow.runs(experiment)) == 1


def test_run_created_meanwhile_by_another_export_is_used_and_the_duplicate_deleted(
    log_run: LogRun, export: Export, mlflow: Reader, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = log_run(experiment=experiment, end="completed")
    create = MlflowServer.create

    def create_late(server: MlflowServer, *args: Any) -> Any:
        create(server, args[0], args[1], args[2], {**args[3], "chachaml.made": "1"})  # the other export's
        return create(server, *args)

    monkeypatch.setattr(MlflowServer, "create", create_late)
    export("-e", experiment)
    (run,) = mlflow.runs(experiment)
    assert (run.data.tags["chachaml.run_id"], run.data.tags["chachaml.made"]) == (run_id, "1")
    assert run.info.status == "FINISHED"


def test_damaged_run_is_reported_and_the_exit_code_is_1(
    log_run: LogRun, data: Path, mlflow: Reader, experiment: str
) -> None:
    for name in ("good", "bad"):
        log_run(experiment=experiment, id=name)
    (data / "runs/bad/meta.json").write_text("{")
    result = mlflow_cli("export", "--to", "mlflow", "--tracking-uri", mlflow.url, "--data", str(data), code=1)
    assert "1 run in runs/ can't be read and is left out; run `chachaml-lite verify`" in result.stderr
    assert "1 run: 1 exported" in result.stdout


def test_older_copy_of_a_run_is_an_error(log_run: LogRun, data: Path, export: Export, experiment: str) -> None:
    log_run(experiment=experiment, id="r", metrics=[{"loss": step, "step": step} for step in range(3)])
    export()
    path = data / "runs/r/metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    (outcome,) = export(code=1)
    assert "this is an older copy of it" in outcome["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("export", "--to"),
        ("export --to wandb --tracking-uri http://x", "'mlflow'"),
        ("export --to mlflow", "--tracking-uri"),
        ("export --to mlflow --tracking-uri sqlite:///x.db", "takes the URL of a server, such as http://HOST:5000"),
        ("export --to mlflow --tracking-uri http://me:secret@x", "MLFLOW_TRACKING_USERNAME"),
        ("export --to mlflow --tracking-uri http://x/?token=secret", "MLFLOW_TRACKING_USERNAME"),
        ("export --to mlflow --tracking-uri http://x -e iris a", "use either RUN"),
        ("export --to mlflow --tracking-uri http://x nosuch", "no such run"),
        ("export --to mlflow --tracking-uri http://x -q metrics.", "--query': character 1"),
    ],
)
def test_usage_error_is_exit_code_2(client: FlaskClient, data: Path, arguments: str, message: str) -> None:
    result = cli(*arguments.split(), code=2, env={"CHACHAML_DATA": str(data)})
    assert result.stdout == ""
    assert message in result.stderr


def test_missing_mlflow_client_error_names_the_package(client: FlaskClient, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mlflow.py").write_text("raise ModuleNotFoundError(\"No module named 'mlflow'\")\n")
    env = {"PYTHONPATH": str(tmp_path), "CHACHAML_DATA": str(data)}
    result = cli("export", "--to", "mlflow", "--tracking-uri", "http://localhost:1", code=2, env=env)
    assert result.stdout == ""
    assert re.fullmatch(r"chachaml-lite: .*pip install 'chachaml-lite\[mlflow\]'\n", result.stderr)
    assert "no runs here" in cli("runs", env=env).stdout


def test_mlflow_skinny_is_enough(log_run: LogRun, data: Path, mlflow: Reader, tmp_path: Path, experiment: str) -> None:
    # The packages that mlflow requires and mlflow-skinny doesn't.
    for name in ("pandas", "numpy", "sqlalchemy", "alembic", "pyarrow", "scipy", "sklearn", "matplotlib", "graphene"):
        (tmp_path / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        )
    run_id = log_run(experiment=experiment, params={"a": 1}, metrics={"loss": 1}, artifacts={"a/b": b"1"}, end="failed")
    words = ("export", "--to", "mlflow", "--tracking-uri", mlflow.url, "--data", str(data))
    result = cli(*words, env={"PYTHONPATH": str(tmp_path)})
    assert result.stdout.startswith(f"exported  {run_id}: 1 point and 1 artifact, {mlflow.url}/#/experiments/")
    assert (result.stdout.splitlines()[1:], result.stderr) == (["1 run: 1 exported"], "")


def test_unreachable_server_is_exit_code_3_immediately(
    serve: Callable[..., Server], client: FlaskClient, mlflow: Reader, data: Path
) -> None:
    nobody = f"http://localhost:{free_port()}"
    result = mlflow_cli("export", "--to", "mlflow", "--tracking-uri", nobody, "--data", str(data), code=3)
    assert (result.stdout, result.stderr) == (
        "",
        f"chachaml-lite: no MLflow server answers at {nobody} (Connection refused)\n",
    )
    result = mlflow_cli("export", "--to", "mlflow", "--tracking-uri", mlflow.url, "--url", nobody, code=3)
    assert result.stderr.startswith("chachaml-lite: no server responds at ")


def test_server_without_mlflows_api_is_exit_code_3(serve: Callable[..., Server]) -> None:
    server = serve("--no-mlflow")
    result = mlflow_cli("export", "--to", "mlflow", "--tracking-uri", server.url, "--url", server.url, code=3)
    assert result.stdout == ""
    assert re.fullmatch(r"chachaml-lite: no MLflow server answers at .*\n", result.stderr)


def test_unauthorized_export_is_exit_code_2(client: FlaskClient, data: Path, mlflow: Reader) -> None:
    with between(mlflow.url, lambda path, body: False, passes_on=True, status=401) as front:
        result = mlflow_cli("export", "--to", "mlflow", "--tracking-uri", front.url, "--data", str(data), code=2)
    assert result.stdout == ""
    assert re.fullmatch(r"chachaml-lite: .* refuses access: .*MLFLOW_TRACKING_USERNAME .*\n", result.stderr)


def test_server_lost_midway_is_exit_code_3_with_the_progress(
    log_run: LogRun, data: Path, mlflow: Reader, experiment: str
) -> None:
    for run_id in ("one", "two"):
        log_run(experiment=experiment, id=run_id, metrics={"loss": 1}, end="completed")
    words = ("export", "--to", "mlflow", "--data", str(data), "--tracking-uri")
    with between(mlflow.url, nth_batch(2), passes_on=False) as front:
        process = start_command(*words, front.url)
        assert front.reached.wait(PATIENCE_SECONDS)
    result = process.complete()
    assert result.returncode == 3, result
    assert result.stdout.splitlines()[-1] == "1 run: 1 exported"
    assert re.fullmatch(
        rf"chachaml-lite: no MLflow server answers at {front.url} \(.*\); "
        "1 of 2 runs are done, the same command continues from there\n",
        result.stderr,
    )


def test_terminal_escapes_in_names_are_printed_escaped(log_run: LogRun, data: Path, mlflow: Reader) -> None:
    log_run(experiment=HOSTILE, name=HOSTILE, params={HOSTILE: 1}, artifacts={f"{HOSTILE}?": b"1"})
    for extra in ([], ["--json"]):
        result = mlflow_cli("export", "--to", "mlflow", "--tracking-uri", mlflow.url, "--data", str(data), *extra)
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|^ *::", result.stdout + result.stderr, re.MULTILINE
        ), extra
