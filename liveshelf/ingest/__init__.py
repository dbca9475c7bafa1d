"""Sends a shop's files to Kafka: imports and replays."""
