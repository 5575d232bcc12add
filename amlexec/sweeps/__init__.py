"""SWEEP: execute the points of a search space as runs, several at a time, and continue after a stop."""
