"""Tools for agents, by the Model Context Protocol: the API as a model can use it."""
