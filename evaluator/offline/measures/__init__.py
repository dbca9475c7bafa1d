"""Measures of ranked lists. A module with a ``MEASURES`` tuple is picked up by itself."""
