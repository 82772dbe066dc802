"""Export of runs to another tracking server, for users who have outgrown one machine."""
