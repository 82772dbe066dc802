"""Runs that other tools have logged, read and made into runs of ours, a module a tool."""
