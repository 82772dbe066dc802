"""The HTTP layer: parses requests, calls `tracking` and renders responses."""
