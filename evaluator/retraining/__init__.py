"""Retraining: reasons to train, the trainer's process, its runs, and the training dataset of a run."""
