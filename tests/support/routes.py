"""The routes of an app by API: those of MLflow's protocol have tests, errors and a page of the manual of their own."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask
from werkzeug.routing import Rule

from chachaml_lite.mlflow_api.protocol import DIALECT


def native_rules(app: Flask) -> Iterator[Rule]:
    """Return the rules of all routes except MLflow's."""
    return (rule for rule in app.url_map.iter_rules() if not DIALECT.covers(rule.rule))


def mlflow_rules(app: Flask) -> Iterator[Rule]:
    """Return the rules of MLflow's routes."""
    return (rule for rule in app.url_map.iter_rules() if DIALECT.covers(rule.rule))
