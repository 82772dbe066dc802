"""Asking a chachaml-lite API: over HTTP, or that of a folder, in this process. The same requests, the same answers."""
