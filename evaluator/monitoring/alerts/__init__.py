"""Alerts: what fires, what is resolved, each told once."""
