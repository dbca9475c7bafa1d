"""From what is known to a shelf: candidates, context, arms, scoring and policy."""
