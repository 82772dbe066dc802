"""The object `mlflow` in meta.json of a run of which there are two copies: what MLflow's clients need known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MLFLOW = "mlflow"
#: What is true from some moment on, and never false again.
FLAGS = ("models", "holds_model")


def merged_mlflow(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """The object of both copies: a flag that either has, and of the rest what both have; the copies' meta.json."""
    mine, sent = here.get(MLFLOW), there.get(MLFLOW)
    mine, sent = (mine if isinstance(mine, dict) else {}), (sent if isinstance(sent, dict) else {})
    common = {key: value for key, value in mine.items() if key in sent and sent[key] == value}
    return {**common, **{flag: True for flag in FLAGS if mine.get(flag) is True or sent.get(flag) is True}}
