"""Clients of the API, over HTTP or for a folder in this process, with the same requests and responses."""
