"""Experiments: who sees what, and whether it made a difference, valid at every look."""
