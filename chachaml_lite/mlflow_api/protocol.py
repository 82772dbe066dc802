"""The protocol's blueprints, and the properties of its paths that `web` and the server need."""

from __future__ import annotations

import re

from flask import Blueprint

from ..web.context import Dialect
from . import (
    artifacts,
    experiments,
    fast_path,
    inputs,
    logged_models,
    model_versions,
    registry,
    responses,
    runs,
    search,
    service,
)

PREFIX = "/api/2.0/mlflow"
BLUEPRINTS: tuple[Blueprint, ...] = (
    service.api,
    experiments.api,
    runs.api,
    inputs.api,
    search.api,
    artifacts.api,
    logged_models.api,
    registry.api,
    model_versions.api,
)

#: The requests whose bodies are files, by method and path.
UPLOADS = (("PUT", re.compile(r"/api/2\.0/mlflow-artifacts/artifacts/.")),)

DIALECT = Dialect(
    prefixes=("/api/2.0/", "/api/2.1/", "/api/3.0/", "/api/4.0/"),
    error_body=responses.error_body,
    reads=frozenset(
        f"{PREFIX}/{path}"
        for path in (
            "runs/search",
            "experiments/search",
            "logged-models/search",
            "registered-models/get-latest-versions",
        )
    ),
    answer_fast=fast_path.answer_fast,
)
