"""Helpers of the tests: servers, browsers, proxies, stores and the fixtures that need them."""

from __future__ import annotations

import pkgutil

import pytest

# Helpers have assertions, too, and some are plugins with fixtures: pytest has to know them before any is imported.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
