"""What travels: events, items and shelves, their schemas, decoding, and adapters for what shops already have."""
