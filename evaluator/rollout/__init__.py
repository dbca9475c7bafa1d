"""Rollout: a challenger runs in shadow, then serves a share of the shoppers, then is promoted or removed."""
