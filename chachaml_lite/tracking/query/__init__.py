"""Queries for runs: conditions on their fields, a grammar, orders and pages."""
