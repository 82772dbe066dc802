"""The files: the only package that opens one. Bytes and plain JSON values; it has not heard of a run's rules."""
