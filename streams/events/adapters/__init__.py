"""What shops already have, in its own shape, turned into our events and items: files in, values or refusals out."""
