"""What another policy would have earned, from logs with propensities."""
