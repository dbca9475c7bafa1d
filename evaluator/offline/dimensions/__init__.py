"""Dimensions of the evaluation, a file each. A module with a ``DIMENSION`` is picked up by itself."""
