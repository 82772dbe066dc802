"""The routes of an app that are its own: those of MLflow's protocol have tests, errors and a manual of their own."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask
from werkzeug.routing import Rule

from chachaml_lite.mlflow_api.protocol import DIALECT


def native_rules(app: Flask) -> Iterator[Rule]:
    """The rules of all routes but MLflow's."""
    return (rule for rule in app.url_map.iter_rules() if not DIALECT.covers(rule.rule))


def mlflow_rules(app: Flask) -> Iterator[Rule]:
    """The rules of MLflow's routes."""
    return (rule for rule in app.url_map.iter_rules() if DIALECT.covers(rule.rule))
