"""Labelled examples on disk: time-ordered segments to train and judge on, and a sample of all history to rehearse."""
