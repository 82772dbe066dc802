"""The tracking rules, one module per noun: runs, params, metrics, artifacts, models. No Flask and no file paths."""
