"""Contenders: everything that ranks, a file each. A module with a ``CONTENDERS`` mapping is picked up by itself."""
