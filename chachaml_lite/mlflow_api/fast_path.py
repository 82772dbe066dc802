"""The fast path of log-metric, which MLflow's clients send thousands of times: handled before Flask is called."""

from __future__ import annotations

from typing import Any

from .. import strict_json
from ..errors import InvalidInput
from ..tracking import metrics
from ..web import metrics_fast_path, request_body
from ..web.context import Services
from .points import parse_point
from .requests import Fields

_PATH = "/api/2.0/mlflow/runs/log-metric"
_TYPES = frozenset({request_body.JSON})
_EMPTY_RESPONSE = b"{}\n"


def answer_fast(environ: dict[str, Any], services: Services) -> bytes | None:
    """Log the point of a request and return the response's body, or None if Flask is to handle the request."""
    if environ["PATH_INFO"] != _PATH:
        return None

    def log(body: bytes, _: str) -> bytes | None:
        try:
            value = strict_json.loads(body)
        except strict_json.NotJson as fault:
            raise InvalidInput(str(fault)) from fault
        if not isinstance(value, dict) or "model_id" in value:
            return None
        fields = Fields(value)
        metrics.add_points(services.tracker, fields.text("run_id"), [parse_point(fields)], even_ended=True)
        return _EMPTY_RESPONSE

    return metrics_fast_path.answer_post(environ, services, _TYPES, log)
