"""The page of one run: its params, metrics, artifacts, note and children."""
