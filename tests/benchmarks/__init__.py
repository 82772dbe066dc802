"""The cost of the service, as ratios to floors measured in the same run: `make bench`. Prints, never asserts."""
