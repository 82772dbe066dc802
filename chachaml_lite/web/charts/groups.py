"""Grouping of metrics that share a chart, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Words for the data that a metric was measured on, not for the quantity: `train/loss`, `loss/val`, `val_loss`.
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "eval", "evaluation", "dev", "holdout"}
_SEPARATOR = re.compile(r"[/._\- ]")


@dataclass(frozen=True)
class Group:
    """The metrics of one chart; `title` is what their names have in common."""

    title: str
    keys: tuple[str, ...]


def group_metrics(keys: Iterable[str]) -> list[Group]:
    """Group metrics by chart, in the order of each chart's first metric.

    Metrics share a chart if their names differ only in the split at the start or at the end: `train/loss`, `val/loss`
    and `loss` are one chart; so are `val_acc` and `train_acc`, and `loss/train` and `loss/test`. Any other difference
    makes another chart: `layer1/grad` and `layer2/grad`, `lr`, `gpu0`.
    """
    keys_by_label: dict[str, list[str]] = {}
    for key in keys:
        keys_by_label.setdefault(strip_prefix(key), []).append(key)
    return [Group(label if len(names) > 1 else names[0], tuple(names)) for label, names in keys_by_label.items()]


def strip_prefix(key: str) -> str:
    """Return the quantity that a metric measures: its name without the split."""
    separators = list(_SEPARATOR.finditer(key))
    if separators:
        first, last = separators[0], separators[-1]
        if key[: first.start()].lower() in _SPLITS and key[first.end() :]:
            return key[first.end() :]
        if key[last.end() :].lower() in _SPLITS and key[: last.start()]:
            return key[: last.start()]
    return key
