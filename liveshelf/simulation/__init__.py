"""A shop's people, simulated with known truth: what they like, see and do, and how good any shelf could be."""
