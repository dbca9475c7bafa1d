"""What is measured while it runs: pure classes that take events and a clock, each with ``update`` and ``get``."""
