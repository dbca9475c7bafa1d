"""Alerts: which fire, which are resolved, and how they are sent."""
