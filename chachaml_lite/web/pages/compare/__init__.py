"""The comparison of runs: its table, its charts, and the difference between two runs."""
