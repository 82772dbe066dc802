"""The object `mlflow` in meta.json of a run of which there are two copies: what MLflow's clients need known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MLFLOW = "mlflow"
#: What is true from some moment on, and never false again.
FLAGS = ("models", "holds_model")


def merged_mlflow(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The object of both copies: a flag that either has, and of the rest what both have; the copies' meta.json."""
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
