"""TensorBoard's event files: every folder with some below a log folder is a run, named by its path.

They are read by TensorBoard's own EventAccumulator (the extra `tensorboard`), all of a folder at once.

| TensorBoard | here |
|---|---|
| scalars | points, with their steps and wall times |
| hparams | params |
| texts | artifacts `text/TAG/step_N.md`, to which the note links |
| images | artifacts `images/TAG/step_N.png`, or what their bytes are; `step_N_2.png` for the second of a step |
| histograms, audio, graphs, meshes, ... | left out, and named |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from ..tracking.series.summary import number_to_json
from .foreign_run import ForeignRun

#: A folder whose last event is younger is taken for a training that goes on: its run is running until a later import.
STILL_RUNNING_SECONDS = 600
#: Of a run's id: what of the folder's path is in it. The rest is a checksum.
_SLUG_CHARACTERS = 60
_KINDS = ("histograms", "distributions", "audio", "graph", "meta_graph", "run_metadata")
_HPARAMS_START, _HPARAMS_END = "_hparams_/session_start_info", "_hparams_/session_end_info"
_SUFFIXES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


class NotInstalled(Exception):
    """TensorBoard isn't installed; the text says what to do."""


def find_folders(log_folder: str) -> list[str]:
    """The folders with event files, the log folder itself included, by path. Raises NotInstalled."""
    _accumulator()
    from tensorboard.backend.event_processing import io_wrapper

    return sorted(io_wrapper.GetLogdirSubdirectories(log_folder))


def read_run(folder: str, path: str, experiment: str, now: float) -> ForeignRun:
    """The run in a folder; `path`: the folder's, from the log folder on; `now`: s since 1970. Raises NotInstalled."""
    events = _load(folder)
    tags = events.Tags()
    first, last = _span(events, tags)
    run = ForeignRun(_run_id(experiment, path, first), _meta(experiment, path, first, last, now))
    for tag in tags["scalars"]:
        _add_scalars(run, tag, ((each.wall_time, each.step, each.value) for each in events.Scalars(tag)))
    for tag in tags["images"]:
        images = [(each.wall_time, each.step, [each.encoded_image_string]) for each in events.Images(tag)]
        _add_images(run, tag, images)
    texts: list[str] = []
    for tag in tags["tensors"]:
        _add_tensors(run, tag, events, texts)
    _add_hparams(run, events)
    for kind in _KINDS:
        held = tags.get(kind) or []
        if held and kind != "distributions":  # which are histograms, shown in another way
            run.left_out.append(f"{kind}: {', '.join(held)}" if isinstance(held, list) else kind)
    if texts:
        run.meta["note"] = "".join(f"- [{name}](<text/{name}>)\n" for name in sorted(texts))
    return run


def _accumulator() -> Any:
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError as fault:
        raise NotInstalled(
            "TensorBoard is not installed; pip install 'chachaml-lite[tensorboard]', or pip install tensorboard"
        ) from fault
    return event_accumulator


def _load(folder: str) -> Any:
    module = _accumulator()
    # 0: all of them. Of what is left out one is enough to know that it is there.
    sizes = {module.SCALARS: 0, module.IMAGES: 0, module.TENSORS: 0, module.HISTOGRAMS: 1, module.AUDIO: 1}
    sizes[module.COMPRESSED_HISTOGRAMS] = 1
    events = module.EventAccumulator(folder, size_guidance=sizes)
    events.Reload()
    return events


def _span(events: Any, tags: dict[str, Any]) -> tuple[float, float]:
    """Return the times of the first and the last event, in seconds since 1970."""
    first = float(events.FirstEventTimestamp())
    readers = ((events.Scalars, "scalars"), (events.Images, "images"), (events.Tensors, "tensors"))
    times = [each.wall_time for read, kind in readers for tag in tags[kind] for each in read(tag)]
    return min([first, *times]), max([first, *times])


def _run_id(experiment: str, path: str, first: float) -> str:
    """An id that a second import makes again: from the path, the experiment and the time of the first event."""
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", path).strip("-")[-_SLUG_CHARACTERS:].strip("-")
    digest = hashlib.sha256(f"{experiment}\n{path}\n{first!r}".encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"tb-{slug}-{digest}" if slug else f"tb-{digest}"


def _meta(experiment: str, path: str, first: float, last: float, now: float) -> dict[str, Any]:
    goes_on = now - last < STILL_RUNNING_SECONDS
    return {
        "experiment": experiment,
        "name": path,
        "status": "running" if goes_on else "completed",
        "start_time": _ms(first),
        "end_time": None if goes_on else _ms(last),
        "error": None,
        "tags": {"source": "tensorboard"},
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _add_scalars(run: ForeignRun, tag: str, events: Iterable[tuple[float, int, float]]) -> None:
    run.add_points(tag, [(tag, float(value), step, _ms(written)) for written, step, value in events])


def _add_images(run: ForeignRun, tag: str, images: Iterable[tuple[float, int, list[bytes]]]) -> None:
    for written, step, contents in images:
        for number, content in enumerate(contents, 1):
            suffix = next((suffix for start, suffix in _SUFFIXES if content.startswith(start)), "png")
            nth = "" if number == 1 else f"_{number}"
            run.add_artifact(f"images/{tag}/step_{step}{nth}.{suffix}", content, _ms(written))


def _add_tensors(run: ForeignRun, tag: str, events: Any, texts: list[str]) -> None:
    """Add what TensorFlow 2 writes as tensors: scalars, images, texts, told apart by their plugin's name."""
    from tensorboard.util.tensor_util import make_ndarray

    plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
    values = [(each.wall_time, each.step, make_ndarray(each.tensor_proto)) for each in events.Tensors(tag)]
    if plugin == "scalars":
        _add_scalars(run, tag, ((written, step, value.item()) for written, step, value in values))
    elif plugin == "images":
        # The first two are width and height, as text.
        _add_images(
            run, tag, [(written, step, [bytes(each) for each in value.flat[2:]]) for written, step, value in values]
        )
    elif plugin == "text":
        name = tag.removesuffix("/text_summary")
        for written, step, value in values:
            content = b"\n\n".join(bytes(each) for each in value.flat)
            run.add_artifact(f"text/{name}/step_{step}.md", content, _ms(written))
        first = f"{name}/step_{values[0][1]}.md" if values else ""
        if f"text/{first}" in run.artifacts:
            texts.append(first)
    else:
        run.left_out.append(f"{plugin or 'tensor'}: {tag}")


def _add_hparams(run: ForeignRun, events: Any) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    def data(tag: str) -> Any:
        return HParamsPluginData.FromString(events.SummaryMetadata(tag).plugin_data.content)

    if _HPARAMS_START in events.summary_metadata:
        for key, value in sorted(data(_HPARAMS_START).session_start_info.hparams.items()):
            run.add_param(key, _param(value))
    if _HPARAMS_END in events.summary_metadata:
        from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE

        if data(_HPARAMS_END).session_end_info.status == STATUS_FAILURE and run.meta["status"] == "completed":
            run.meta["status"] = "failed"


def _param(value: Any) -> Any:
    """A hyperparameter as JSON has it: a whole number is an integer; one that is not finite is spelled."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = float(value.number_value)
        return int(number) if number.is_integer() and abs(number) <= 2**53 else number_to_json(number)
    return value.bool_value if kind == "bool_value" else value.string_value if kind == "string_value" else None
