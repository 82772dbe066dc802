"""The page of one experiment: its runs seen together, as curves, against each other, and as a table."""
