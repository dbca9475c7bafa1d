"""Triggers: when to train anew, and what holds a run back."""
