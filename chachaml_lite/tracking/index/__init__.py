"""The index in memory of what is on disk, believed while the files are unchanged."""
