"""MLflow's protocol, for clients that log to this store and read from it: a translation above `web`, with no rules."""
