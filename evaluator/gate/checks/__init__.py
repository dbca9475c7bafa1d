"""The gate's checks: each takes two scorers and held-out examples, and gives figures with intervals and limits."""
