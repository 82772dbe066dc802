"""A server of a CI job's own: started by its first step, logged to by all, ended with a report and checks."""
