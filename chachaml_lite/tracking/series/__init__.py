"""The points of a run: lines written and parsed, summaries, curves, directions."""
