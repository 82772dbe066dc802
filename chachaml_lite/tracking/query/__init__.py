"""Which runs: conditions on their fields, the grammar of queries, orders and pages."""
