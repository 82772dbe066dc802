"""Importers of runs that other tools have logged: one module for each tool."""
