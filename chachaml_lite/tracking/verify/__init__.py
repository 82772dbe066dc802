"""Verification of every byte of a store, and its repair."""
