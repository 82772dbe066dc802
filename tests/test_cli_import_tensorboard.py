"""`chachaml-lite import --from tensorboard`: event files that tensorboardX and TensorBoard wrote themselves."""

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
from support.servers import Running
from support.snapshots import files_of
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary import Writer
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto
from tensorboardX import SummaryWriter

START = 1_700_000_000.0
STEPS = range(5)


@contextmanager
def writer(folder: Path, start: float = START) -> Iterator[Any]:
    """tensorboardX's writer, whose first event is at `start`."""
    opened = SummaryWriter(str(folder), filename_suffix=f".{start}")
    yield opened
    opened.close()
    for path in folder.rglob(f"*tfevents*.{start}"):
        # The file's own first event has the time at which the file was made; a training's is that of its start.
        path.write_bytes(with_first_event_at(path.read_bytes(), start))


def with_first_event_at(content: bytes, start: float) -> bytes:
    """An event file whose first record, the version, was written at `start`."""
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


def png() -> bytes:
    """A PNG of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    head = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The log folder of two trainings that ended long ago, one of them in a folder below."""
    folder = tmp_path / "logs"
    with writer(folder / "lr=0.1") as events:
        for step in STEPS:
            events.add_scalar("loss/train", 1 / (step + 1), step, walltime=START + step)
        events.add_scalar("diverged", float("nan"), 3, walltime=START + 3)
        events.add_scalar("diverged", float("-inf"), 4, walltime=START + 4)
        events.add_text("remarks", "it **works**", 2, walltime=START + 2)
        events.add_image("samples/dog", numpy.zeros((3, 4, 4)), 4, walltime=START + 4)
        events.add_histogram("weights", numpy.arange(10.0), 1, walltime=START + 1)
    with writer(folder / "sweep" / "a b") as events:
        events.add_scalar("loss/train", 0.25, 7, walltime=START + 60)
        events.add_hparams({"lr": 0.5, "layers": 3, "opt": "adam", "nesterov": True}, {}, name=".")
    return folder


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Callable[..., Running], data: Path) -> list[str]:
    """The target of an import: a server's store, or the same folder without a server."""
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def imported(logs: Path, *options: str, code: int = 0) -> Any:
    """Return the JSON output of an import."""
    return json.loads(cli("import", "--from", "tensorboard", str(logs), *options, "--json", code=code).stdout)


def shown(run_id: str, place: list[str]) -> Any:
    return json.loads(cli("show", run_id, *place, "--json").stdout)


def by_name(place: list[str]) -> dict[str, Any]:
    listed = json.loads(cli("runs", *place, "--json").stdout)
    return {run["name"]: shown(run["id"], place) for run in listed}


def test_every_folder_with_event_files_is_a_run_named_by_its_path(logs: Path, place: list[str], data: Path) -> None:
    assert len(imported(logs, *place)["imported"]) == 2
    runs = by_name(place)
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


def test_text_and_images_are_artifacts_that_the_note_and_the_page_show(
    logs: Path, serve: Callable[..., Running], data: Path
) -> None:
    server = serve()
    imported(logs, "--url", server.url)
    run = by_name(["--url", server.url])["lr=0.1"]
    names = {artifact["name"] for artifact in run["artifacts"]}
    assert names == {"text/remarks/step_2.md", "images/samples/dog/step_4.png"}
    blobs = data / "runs" / run["id"] / "blobs"
    assert (blobs / "text/remarks/step_2.md").read_text() == "it **works**"
    assert (blobs / "images/samples/dog/step_4.png").read_bytes().startswith(b"\x89PNG")
    page = requests.get(f"{server.url}/runs/{run['id']}", timeout=60).text
    assert f'href="/runs/{run["id"]}/artifacts/text/remarks/step_2.md"' in page


def test_what_is_left_out_is_named(logs: Path, data: Path) -> None:
    done = cli("import", "--from", "tensorboard", str(logs), "--data", str(data))
    assert "left out: histograms: weights" in done.stderr
    (texts,) = imported(logs, "--data", str(data))["left_out"].values()
    assert texts == ["histograms: weights"]


def test_second_import_changes_nothing(logs: Path, place: list[str], data: Path) -> None:
    first = imported(logs, *place)["imported"]
    before = files_of(data / "runs")
    again = imported(logs, *place)
    assert again["imported"] == again["updated"] == []
    assert sorted(again["unchanged"]) == sorted(first)
    assert files_of(data / "runs") == before


def test_training_that_goes_on_is_added_to_by_the_next_import(tmp_path: Path, place: list[str]) -> None:
    logs, now = tmp_path / "logs", time.time() - 60
    with writer(logs, now) as events:
        events.add_scalar("loss", 1.0, 0, walltime=now)
    (run_id,) = imported(logs, *place)["imported"]
    assert shown(run_id, place)["status"] == "running"
    with writer(logs, now + 1) as events:  # as a training that was started again on its folder
        events.add_scalar("loss", 0.5, 1, walltime=now + 10)
    assert imported(logs, *place)["updated"] == [run_id]
    run = shown(run_id, place)
    assert (run["name"], run["metrics"], run["metric_summary"]["loss"]["count"]) == ("logs", {"loss": 0.5}, 2)


def test_scalars_and_images_that_were_written_as_tensors_are_taken(tmp_path: Path, data: Path) -> None:
    """As TensorFlow 2 and Keras write them."""
    logs = tmp_path / "logs"
    scalars = Writer(str(logs))
    scalars.add_scalar("epoch_loss", 0.5, 3)
    scalars.close()
    images = EventFileWriter(str(logs), filename_suffix=".images")
    summary = Summary()
    value = summary.value.add(tag="drawn", tensor=make_tensor_proto([b"1", b"1", png(), png()]))
    value.metadata.plugin_data.plugin_name = "images"
    images.add_event(Event(wall_time=time.time(), step=3, summary=summary))
    images.close()
    (run_id,) = imported(logs, "--data", str(data))["imported"]
    run = shown(run_id, ["--data", str(data)])
    assert run["metrics"] == {"epoch_loss": 0.5}
    assert {artifact["name"] for artifact in run["artifacts"]} == {
        "images/drawn/step_3.png",
        "images/drawn/step_3_2.png",
    }


def test_event_file_that_was_cut_off_gives_what_it_has(logs: Path, data: Path) -> None:
    (path,) = (logs / "lr=0.1").glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-7])
    assert len(imported(logs, "--data", str(data))["imported"]) == 2
    assert by_name(["--data", str(data)])["lr=0.1"]["metric_summary"]["loss/train"]["count"] == len(STEPS)


def test_experiment_can_be_named(logs: Path, data: Path) -> None:
    imported(logs, "--data", str(data), "-e", "übung")
    assert {run["experiment"] for run in by_name(["--data", str(data)]).values()} == {"übung"}


def test_folder_without_event_files_is_a_usage_error(tmp_path: Path, data: Path) -> None:
    done = cli("import", "--from", "tensorboard", str(tmp_path), "--data", str(data), code=2)
    assert "has no TensorBoard event files" in done.stderr
    assert not data.exists()


@pytest.mark.parametrize("options", [("--from", "tensorboard", "a", "b"), ("-e", "iris", "a")])
def test_options_that_do_not_fit_are_a_usage_error(tmp_path: Path, options: tuple[str, ...]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert "Error: " in cli("import", *options, cwd=tmp_path, code=2).stderr


def test_without_tensorboard_the_message_says_what_to_install(logs: Path, data: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "tensorboard"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('as if it were not there')")
    done = cli(
        "import",
        "--from",
        "tensorboard",
        str(logs),
        "--data",
        str(data),
        code=2,
        env={"PYTHONPATH": str(hidden.parent)},
    )
    assert "pip install 'chachaml-lite[tensorboard]'" in done.stderr
