"""Kafka in, Redis out: events, topics, catalogue, shopper state, candidates, policy, the worker and the shelf."""
