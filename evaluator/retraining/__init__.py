"""Retraining: why to train now, the trainer's process, its runs, and what a run makes of examples."""
