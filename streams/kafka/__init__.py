"""Kafka: the consumer, the producer, topics, dead letters, and the one Faust app."""
