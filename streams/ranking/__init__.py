"""Makes shelves: candidates, context, arms, scoring and policy."""
