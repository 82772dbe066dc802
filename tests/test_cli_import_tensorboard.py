"""`chachaml-lite import --from tensorboard`: event files written by tensorboardX and TensorBoard."""

from __future__ import annotations

import io
import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
import requests
from support.commands import cli
from support.servers import Server
from support.snapshots import snapshot
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary import Writer
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto
from tensorboardX import SummaryWriter

START = 1_700_000_000.0
STEPS = range(5)


@contextmanager
def open_writer(folder: Path, start: float = START) -> Iterator[Any]:
    """A tensorboardX writer whose file begins at the time `start`."""
    writer = SummaryWriter(str(folder), filename_suffix=f".{start}")
    yield writer
    writer.close()
    for path in folder.rglob(f"*tfevents*.{start}"):
        # The first event has the time of the file's creation; replace it by the start of the training.
        path.write_bytes(set_first_event_time(path.read_bytes(), start))


def set_first_event_time(content: bytes, start: float) -> bytes:
    """Set the time of the first record of an event file, which is the version."""
    stream = io.BytesIO()
    length = int.from_bytes(content[:8], "little")
    event = Event.FromString(content[12 : 12 + length])
    event.wall_time = start
    write_record(stream, event.SerializeToString())
    return stream.getvalue() + content[12 + length + 4 :]


def write_record(stream: io.BytesIO, payload: bytes) -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    size = len(payload).to_bytes(8, "little")
    for part in (size, payload):
        stream.write(part + masked_crc32c(part).to_bytes(4, "little"))


def build_png() -> bytes:
    """Build a PNG of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    head = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@pytest.fixture
def log_folder(tmp_path: Path) -> Path:
    """A log folder with two old trainings, one of them in a subfolder."""
    folder = tmp_path / "logs"
    with open_writer(folder / "lr=0.1") as events:
        for step in STEPS:
            events.add_scalar("loss/train", 1 / (step + 1), step, walltime=START + step)
        events.add_scalar("diverged", float("nan"), 3, walltime=START + 3)
        events.add_scalar("diverged", float("-inf"), 4, walltime=START + 4)
        events.add_text("remarks", "it **works**", 2, walltime=START + 2)
        events.add_image("samples/dog", numpy.zeros((3, 4, 4)), 4, walltime=START + 4)
        events.add_histogram("weights", numpy.arange(10.0), 1, walltime=START + 1)
    with open_writer(folder / "sweep" / "a b") as events:
        events.add_scalar("loss/train", 0.25, 7, walltime=START + 60)
        events.add_hparams({"lr": 0.5, "layers": 3, "opt": "adam", "nesterov": True}, {}, name=".")
    return folder


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Callable[..., Server], data: Path) -> list[str]:
    """The target of an import: a server's store, or the same folder without a server."""
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def import_json(log_folder: Path, *options: str, code: int = 0) -> Any:
    """Import and return the JSON output."""
    return json.loads(cli("import", "--from", "tensorboard", str(log_folder), *options, "--json", code=code).stdout)


def fetch_run(run_id: str, place: list[str]) -> Any:
    return json.loads(cli("show", run_id, *place, "--json").stdout)


def fetch_runs_by_name(place: list[str]) -> dict[str, Any]:
    runs = json.loads(cli("runs", *place, "--json").stdout)
    return {run["name"]: fetch_run(run["id"], place) for run in runs}


def test_folder_with_event_files_is_imported_as_a_run_named_by_its_path(
    log_folder: Path, place: list[str], data: Path
) -> None:
    assert len(import_json(log_folder, *place)["imported"]) == 2
    runs = fetch_runs_by_name(place)
    assert runs.keys() == {"lr=0.1", "sweep/a b"}
    run = runs["lr=0.1"]
    assert (run["experiment"], run["status"], run["tags"]) == ("logs", "completed", {"source": "tensorboard"})
    assert (run["start_time"], run["end_time"]) == (START * 1000, (START + 4) * 1000)
    lines = (data / "runs" / run["id"] / "metrics.jsonl").read_text().splitlines()
    points = [json.loads(line) for line in lines]
    assert [(p["step"], p["timestamp"]) for p in points if p["key"] == "loss/train"] == [
        (step, (START + step) * 1000) for step in STEPS
    ]
    assert [p["value"] for p in points if p["key"] == "diverged"] == ["NaN", "-Infinity"]
    assert [p["value"] for p in points if p["key"] == "loss/train"][1:3] == [0.5, pytest.approx(1 / 3)]
    assert runs["sweep/a b"]["params"] == {"lr": 0.5, "layers": 3, "opt": "adam", "nesterov": True}


def test_text_and_images_are_imported_as_artifacts(log_folder: Path, serve: Callable[..., Server], data: Path) -> None:
    server = serve()
    import_json(log_folder, "--url", server.url)
    run = fetch_runs_by_name(["--url", server.url])["lr=0.1"]
    names = {artifact["name"] for artifact in run["artifacts"]}
    assert names == {"text/remarks/step_2.md", "images/samples/dog/step_4.png"}
    blobs = data / "runs" / run["id"] / "blobs"
    assert (blobs / "text/remarks/step_2.md").read_text() == "it **works**"
    assert (blobs / "images/samples/dog/step_4.png").read_bytes().startswith(b"\x89PNG")
    page = requests.get(f"{server.url}/runs/{run['id']}", timeout=60).text
    assert f'href="/runs/{run["id"]}/artifacts/text/remarks/step_2.md"' in page


def test_unsupported_data_is_named_in_the_output(log_folder: Path, data: Path) -> None:
    result = cli("import", "--from", "tensorboard", str(log_folder), "--data", str(data))
    assert "left out: histograms: weights" in result.stderr
    (texts,) = import_json(log_folder, "--data", str(data))["left_out"].values()
    assert texts == ["histograms: weights"]


def test_second_import_changes_nothing(log_folder: Path, place: list[str], data: Path) -> None:
    first = import_json(log_folder, *place)["imported"]
    before = snapshot(data / "runs")
    again = import_json(log_folder, *place)
    assert again["imported"] == again["updated"] == []
    assert sorted(again["unchanged"]) == sorted(first)
    assert snapshot(data / "runs") == before


def test_later_import_adds_the_new_points_of_a_training(tmp_path: Path, place: list[str]) -> None:
    log_folder, now = tmp_path / "logs", time.time() - 60
    with open_writer(log_folder, now) as events:
        events.add_scalar("loss", 1.0, 0, walltime=now)
    (run_id,) = import_json(log_folder, *place)["imported"]
    assert fetch_run(run_id, place)["status"] == "running"
    with open_writer(log_folder, now + 1) as events:  # like a training that was restarted in its folder
        events.add_scalar("loss", 0.5, 1, walltime=now + 10)
    assert import_json(log_folder, *place)["updated"] == [run_id]
    run = fetch_run(run_id, place)
    assert (run["name"], run["metrics"], run["metric_summary"]["loss"]["count"]) == ("logs", {"loss": 0.5}, 2)


def test_scalars_and_images_written_as_tensors_are_imported(tmp_path: Path, data: Path) -> None:
    """The format of TensorFlow 2 and Keras."""
    log_folder = tmp_path / "logs"
    scalars = Writer(str(log_folder))
    scalars.add_scalar("epoch_loss", 0.5, 3)
    scalars.close()
    images = EventFileWriter(str(log_folder), filename_suffix=".images")
    summary = Summary()
    value = summary.value.add(tag="drawn", tensor=make_tensor_proto([b"1", b"1", build_png(), build_png()]))
    value.metadata.plugin_data.plugin_name = "images"
    images.add_event(Event(wall_time=time.time(), step=3, summary=summary))
    images.close()
    (run_id,) = import_json(log_folder, "--data", str(data))["imported"]
    run = fetch_run(run_id, ["--data", str(data)])
    assert run["metrics"] == {"epoch_loss": 0.5}
    assert {artifact["name"] for artifact in run["artifacts"]} == {
        "images/drawn/step_3.png",
        "images/drawn/step_3_2.png",
    }


def test_truncated_event_file_is_imported_up_to_the_damage(log_folder: Path, data: Path) -> None:
    (path,) = (log_folder / "lr=0.1").glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-7])
    assert len(import_json(log_folder, "--data", str(data))["imported"]) == 2
    assert fetch_runs_by_name(["--data", str(data)])["lr=0.1"]["metric_summary"]["loss/train"]["count"] == len(STEPS)


def test_experiment_option_sets_the_experiment(log_folder: Path, data: Path) -> None:
    import_json(log_folder, "--data", str(data), "-e", "übung")
    assert {run["experiment"] for run in fetch_runs_by_name(["--data", str(data)]).values()} == {"übung"}


def test_folder_without_event_files_is_a_usage_error(tmp_path: Path, data: Path) -> None:
    result = cli("import", "--from", "tensorboard", str(tmp_path), "--data", str(data), code=2)
    assert "has no TensorBoard event files" in result.stderr
    assert not data.exists()


@pytest.mark.parametrize("options", [("--from", "tensorboard", "a", "b"), ("-e", "iris", "a")])
def test_incompatible_options_are_a_usage_error(tmp_path: Path, options: tuple[str, ...]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert "Error: " in cli("import", *options, cwd=tmp_path, code=2).stderr


def test_missing_tensorboard_error_names_the_package(log_folder: Path, data: Path, tmp_path: Path) -> None:
    package = tmp_path / "hidden" / "tensorboard"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('as if it were not there')")
    result = cli(
        "import",
        "--from",
        "tensorboard",
        str(log_folder),
        "--data",
        str(data),
        code=2,
        env={"PYTHONPATH": str(package.parent)},
    )
    assert "pip install 'chachaml-lite[tensorboard]'" in result.stderr
