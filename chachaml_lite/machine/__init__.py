"""The machine of a command: the environment before it starts, and the load while it runs."""
