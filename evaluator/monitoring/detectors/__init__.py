"""Drift detectors: one small class a file, all with ``update()`` and ``get()``, each with a stated false-alarm rate."""
