"""The gate's figures: each module measures two scorers on held-out lists, with intervals; limits are thresholds'."""
