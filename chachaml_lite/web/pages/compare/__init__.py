"""The comparison of runs: its table, its charts, and the differences between two runs."""
