"""Experiments: comparing arms, with tests that are valid at every look."""
