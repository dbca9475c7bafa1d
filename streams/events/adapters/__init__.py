"""Adapters for the files that shops already have: files in, our events and items or refusals out."""
