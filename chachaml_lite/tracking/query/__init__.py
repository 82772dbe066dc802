"""Queries for runs: fields, conditions, the query grammar, orders and pages."""
