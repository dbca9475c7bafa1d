"""Resource cost: the time of calls, energy, operations, and bytes held."""
