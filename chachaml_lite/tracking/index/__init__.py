"""The in-memory index of the files on disk; each entry is valid while its file is unchanged."""
