"""The page of one experiment: all its runs as curves, in a scatter chart, on parallel axes, and as a table."""
