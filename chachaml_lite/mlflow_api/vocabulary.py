"""MLflow's words for what is here, and ours for what MLflow has: tables both ways, as pure functions."""

from __future__ import annotations
