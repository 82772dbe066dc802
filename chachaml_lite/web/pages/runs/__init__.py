"""The list of all runs, and the table that every list of runs uses."""
