"""Fairness of rankings: groups of items, their exposure and merit, and texts in which names are swapped."""
