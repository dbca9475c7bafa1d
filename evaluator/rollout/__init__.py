"""Rollout: a challenger in shadow, then before a share of the shoppers, then in charge of all, or gone."""
