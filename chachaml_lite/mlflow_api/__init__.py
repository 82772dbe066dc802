"""MLflow's protocol, translated for clients that use this store: a layer above `web`, without rules of its own."""
