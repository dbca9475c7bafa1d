"""Which model serves: loading versions, slots, switching, canaries."""
