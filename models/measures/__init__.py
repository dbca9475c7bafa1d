"""Measures of rankings, probabilities and shelves: each has one definition and one name, offline, in the gate and live."""
