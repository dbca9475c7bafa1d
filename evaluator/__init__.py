"""Is it any good? What shelves led to, and what is to be learned from it. Knows models and streams, no front door."""
