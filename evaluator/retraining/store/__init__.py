"""Labelled examples on disk: segments by time for training and gate, and a sample of all history for rehearsal."""
