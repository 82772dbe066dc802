"""MLflow's protocol: its clients log into this store and read from it. A translation above `web`, without rules."""
