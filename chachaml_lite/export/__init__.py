"""Runs taken to another tracking server, for those who have outgrown one machine."""
