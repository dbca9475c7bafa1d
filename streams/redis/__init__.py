"""Redis: connections, keys, scripts, retries, and the store."""
