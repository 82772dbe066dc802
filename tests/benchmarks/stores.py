"""Stores of many runs, written as files in the layout of the contract: 10,000 runs over HTTP would take minutes.

A few runs are logged over HTTP and ended; each run of a store is a copy of one of them under another id, with its own
times and params. The copy of metrics.jsonl keeps its mtime, so the summary.json that the server wrote for the original
is valid for each copy too, whatever it contains: this relies on the promise that run folders can be copied.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.servers import Server

from . import wire

TEMPLATES = 100
EXPERIMENTS = 10
_PARAMS = 20
_METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "lr")
_POINTS = 100
#: 2025-01-01, and then one run a minute.
_FIRST_START_MS = 1_735_689_600_000
_BETWEEN_MS = 60_000


@dataclass(frozen=True)
class Template:
    """The files of one ended run."""

    meta: dict[str, Any]
    params: dict[str, Any]
    metrics: bytes
    metrics_mtime_ns: int
    summary: bytes | None


def log_templates(server: Server) -> list[Template]:
    """Log `TEMPLATES` runs over HTTP, of 5 metrics with 100 points each and 20 params, and read their files."""
    templates = []
    with wire.Connection(server.url) as connection:
        for number in range(TEMPLATES):
            run_id = connection.ask_json(wire.post("/api/w/runs", {"experiment": "made", "name": f"run-{number}"}))[
                "id"
            ]
            base = f"/api/w/runs/{run_id}"
            connection.ask(wire.post(f"{base}/params", {f"param_{index:02}": index for index in range(_PARAMS)}))
            connection.ask(wire.post(f"{base}/metrics", [_build_metrics(number, step) for step in range(_POINTS)]))
            connection.ask(wire.post(f"{base}/end", {"status": "completed" if number % 10 else "failed"}))
            templates.append(_read_template(server.data / "runs" / run_id))
    return templates


def _build_metrics(number: int, step: int) -> dict[str, float]:
    """Return the metrics of one step. The last accuracies of the templates are spread evenly over 0 to 1."""
    progress = (step + 1) / _POINTS
    accuracy = number / TEMPLATES * progress
    wave = 0.01 * math.sin(step + number)
    loss = 2 / (1 + 5 * progress) + wave
    return {
        "step": step,
        **dict(zip(_METRICS, (loss, accuracy, loss * 1.1, accuracy * 0.9, 0.01 * progress), strict=True)),
    }


def _read_template(folder: Path) -> Template:
    metrics, summary = folder / "metrics.jsonl", folder / "summary.json"
    return Template(
        json.loads((folder / "meta.json").read_bytes()),
        json.loads((folder / "params.json").read_bytes()),
        metrics.read_bytes(),
        metrics.stat().st_mtime_ns,
        summary.read_bytes() if summary.exists() else None,
    )


@dataclass(frozen=True)
class TemplateStore:
    """A store of `runs` ended runs in `path`, in `EXPERIMENTS` experiments named exp-0, exp-1, ..."""

    path: Path
    runs: int
    templates: list[Template]

    @classmethod
    def create(cls, path: Path, runs: int, templates: list[Template]) -> TemplateStore:
        """Write the files of a store without summaries."""
        (path / "runs").mkdir(parents=True)
        for number in range(runs):
            template = templates[number % len(templates)]
            run_id, start_time = get_run_id_and_start(number)
            folder = f"{path}/runs/{run_id}"
            os.mkdir(folder)
            run_ms = template.meta["end_time"] - template.meta["start_time"]
            meta = {
                **template.meta,
                "id": run_id,
                "experiment": f"exp-{number // len(templates) % EXPERIMENTS}",
                "name": f"run-{number}",
                "start_time": start_time,
                "end_time": start_time + run_ms,
            }
            _write(f"{folder}/meta.json", (json.dumps(meta, indent=2) + "\n").encode())
            params = {**template.params, "param_00": number / 1000, "param_01": f"value-{number % 7}"}
            _write(f"{folder}/params.json", (json.dumps(params, indent=2) + "\n").encode())
            _write(f"{folder}/metrics.jsonl", template.metrics)
            os.utime(f"{folder}/metrics.jsonl", ns=(template.metrics_mtime_ns, template.metrics_mtime_ns))
        return cls(path, runs, templates)

    def count_summaries(self) -> int:
        """Return the number of runs with a summary.json."""
        return sum(1 for _ in self.path.glob("runs/*/summary.json"))

    def add_summaries(self) -> bool:
        """Write the missing summary.json files. Return False if the server doesn't write summaries."""
        for number in range(self.runs):
            summary = self.templates[number % len(self.templates)].summary
            path = f"{self.path}/runs/{get_run_id_and_start(number)[0]}/summary.json"
            if summary is None:
                return False
            if not os.path.exists(path):
                _write(path, summary)
        return True


def get_run_id_and_start(number: int) -> tuple[str, int]:
    """Return the id and start time of a run by its number; greater numbers are newer."""
    return f"made-{number:07}", _FIRST_START_MS + number * _BETWEEN_MS


def write_long_series(folder: Path, template: Template, points: int, key: str = "loss") -> Path:
    """Write the folder of an ended run with one series of so many points. Return the path of its metrics.jsonl."""
    folder.mkdir(parents=True)
    _write(f"{folder}/meta.json", json.dumps({**template.meta, "id": folder.name}).encode())
    path = folder / "metrics.jsonl"
    with path.open("w") as file:
        for start in range(0, points, 10_000):
            file.writelines(
                f'{{"key":"{key}","value":{compute_loss(step)},"step":{step},"timestamp":{_FIRST_START_MS + step}}}\n'
                for step in range(start, min(start + 10_000, points))
            )
    return path


def compute_loss(step: int) -> float:
    """Return a loss that decreases and oscillates, with as many digits as a training loop prints."""
    return 2 / (1 + step / 1000) + 0.05 * math.sin(step * 0.7)


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
