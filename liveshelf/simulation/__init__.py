"""Simulated shoppers with known truth: what they like, see and do, and how good any shelf is."""
