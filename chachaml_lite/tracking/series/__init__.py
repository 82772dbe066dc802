"""The points of a run: formatting and parsing of lines, summaries, curves, directions of metrics."""
