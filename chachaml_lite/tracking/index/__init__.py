"""What is on disk, kept in memory and believed while its files are as they were."""
