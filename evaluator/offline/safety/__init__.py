"""Safety: classifiers of harmful content, a file each, and what may leave in a report.

A module with a ``CLASSIFIERS`` mapping is picked up by itself.
"""
