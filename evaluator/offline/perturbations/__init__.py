"""Perturbations, a file or more each. A module with a ``PERTURBATIONS`` tuple is picked up by itself."""
