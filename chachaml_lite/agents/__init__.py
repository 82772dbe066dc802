"""Tools for agents: the API over the Model Context Protocol."""
