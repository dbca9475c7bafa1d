"""Kafka in, Redis out: the worker, and the rooms it is made of."""
