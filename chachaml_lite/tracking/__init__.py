"""The rules, a file per noun: what a run, a param, a metric, an artifact, a model may be. No flask, no paths."""
