"""A server for a CI job: started by its first step, used by all steps, stopped with a report and checks."""
