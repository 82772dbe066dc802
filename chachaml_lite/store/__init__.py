"""File storage: the only package that opens files.

It handles bytes and plain JSON, and knows nothing of a run's rules.
"""
