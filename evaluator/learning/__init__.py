"""Learning: the trainer's process, its runs, and what a run makes of examples."""
