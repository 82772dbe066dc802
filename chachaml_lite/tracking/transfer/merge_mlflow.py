"""Merge of the object `mlflow` in meta.json of two copies of a run, which holds data of MLflow's clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MLFLOW = "mlflow"
#: Values that may become true, and never false again.
FLAGS = ("models", "holds_model")


def merge_mlflow(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object for two copies' meta.json: flags that either copy has, and other values that both have."""
    our_values, their_values = ours.get(MLFLOW), theirs.get(MLFLOW)
    our_values, their_values = (
        (our_values if isinstance(our_values, dict) else {}),
        (their_values if isinstance(their_values, dict) else {}),
    )
    common = {key: value for key, value in our_values.items() if key in their_values and their_values[key] == value}
    return {
        **common,
        **{flag: True for flag in FLAGS if our_values.get(flag) is True or their_values.get(flag) is True},
    }
