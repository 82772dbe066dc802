"""HTTP: parses requests, calls `tracking` and renders responses."""
