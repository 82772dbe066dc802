"""TensorBoard's event files: each folder with event files below a log folder is a run, named by its path.

They are read by TensorBoard's own EventAccumulator (the extra `tensorboard`), one folder at a time.

| TensorBoard | here |
|---|---|
| scalars | points, with their steps and wall times |
| hparams | params |
| texts | artifacts `text/TAG/step_N.md`, linked from the note |
| images | artifacts `images/TAG/step_N.png`, or .jpg, .gif, .webp; `step_N_2.png` for the second image of a step |
| histograms, audio, graphs, meshes, ... | omitted, and reported |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from ..tracking.series.summary import number_to_json
from .foreign_run import ForeignRun

#: If the last event of a folder is younger, its training is assumed to be in progress, until a later import.
STILL_RUNNING_SECONDS = 600
#: Characters of the folder's path in a run's id. The rest of the id is a checksum.
_SLUG_CHARACTERS = 60
_KINDS = ("histograms", "distributions", "audio", "graph", "meta_graph", "run_metadata")
_HPARAMS_START, _HPARAMS_END = "_hparams_/session_start_info", "_hparams_/session_end_info"
_SUFFIXES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


class NotInstalled(Exception):
    """TensorBoard isn't installed; the text says what to do."""


def find_folders(log_folder: str) -> list[str]:
    """Return the folders with event files, including the log folder itself, sorted by path. Raises NotInstalled."""
    _accumulator()
    from tensorboard.backend.event_processing import io_wrapper

    return sorted(io_wrapper.GetLogdirSubdirectories(log_folder))


def read_run(folder: str, path: str, experiment: str, now: float) -> ForeignRun:
    """Read the run in a folder. `path` is relative to the log folder, `now` is in s since 1970. Raises NotInstalled."""
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
        omitted_tags = tags.get(kind) or []
        if omitted_tags and kind != "distributions":  # distributions are another view of the histograms
            run.omissions.append(f"{kind}: {', '.join(omitted_tags)}" if isinstance(omitted_tags, list) else kind)
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
    # 0 stands for all events. For the omitted kinds, one is enough to know that they exist.
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
    """Return an id that a second import repeats: it depends on path, experiment and the time of the first event."""
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", path).strip("-")[-_SLUG_CHARACTERS:].strip("-")
    digest = hashlib.sha256(f"{experiment}\n{path}\n{first!r}".encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"tb-{slug}-{digest}" if slug else f"tb-{digest}"


def _meta(experiment: str, path: str, first: float, last: float, now: float) -> dict[str, Any]:
    is_running = now - last < STILL_RUNNING_SECONDS
    return {
        "experiment": experiment,
        "name": path,
        "status": "running" if is_running else "completed",
        "start_time": _ms(first),
        "end_time": None if is_running else _ms(last),
        "error": None,
        "tags": {"source": "tensorboard"},
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _add_scalars(run: ForeignRun, tag: str, events: Iterable[tuple[float, int, float]]) -> None:
    run.add_points(tag, [(tag, float(value), step, _ms(wall_time)) for wall_time, step, value in events])


def _add_images(run: ForeignRun, tag: str, images: Iterable[tuple[float, int, list[bytes]]]) -> None:
    for wall_time, step, contents in images:
        for number, content in enumerate(contents, 1):
            suffix = next((suffix for start, suffix in _SUFFIXES if content.startswith(start)), "png")
            nth = "" if number == 1 else f"_{number}"
            run.add_artifact(f"images/{tag}/step_{step}{nth}.{suffix}", content, _ms(wall_time))


def _add_tensors(run: ForeignRun, tag: str, events: Any, texts: list[str]) -> None:
    """Add the scalars, images and texts that TensorFlow 2 writes as tensors; the plugin's name tells the kind."""
    from tensorboard.util.tensor_util import make_ndarray

    plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
    values = [(each.wall_time, each.step, make_ndarray(each.tensor_proto)) for each in events.Tensors(tag)]
    if plugin == "scalars":
        _add_scalars(run, tag, ((wall_time, step, value.item()) for wall_time, step, value in values))
    elif plugin == "images":
        # The first two values are width and height, as text.
        _add_images(
            run, tag, [(wall_time, step, [bytes(each) for each in value.flat[2:]]) for wall_time, step, value in values]
        )
    elif plugin == "text":
        name = tag.removesuffix("/text_summary")
        for wall_time, step, value in values:
            content = b"\n\n".join(bytes(each) for each in value.flat)
            run.add_artifact(f"text/{name}/step_{step}.md", content, _ms(wall_time))
        first = f"{name}/step_{values[0][1]}.md" if values else ""
        if f"text/{first}" in run.artifacts:
            texts.append(first)
    else:
        run.omissions.append(f"{plugin or 'tensor'}: {tag}")


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
    """Return a hyperparameter as JSON: an integral number as an integer, NaN and infinities as text."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = float(value.number_value)
        return int(number) if number.is_integer() and abs(number) <= 2**53 else number_to_json(number)
    return value.bool_value if kind == "bool_value" else value.string_value if kind == "string_value" else None
