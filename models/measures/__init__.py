"""Measures of rankings, probabilities and shelves: one definition and one name each, offline, in the gate and live."""
