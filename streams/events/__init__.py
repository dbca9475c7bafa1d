"""Events, items and shelves: their schemas, decoding, and adapters for the files that shops already have."""
